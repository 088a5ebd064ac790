"""What schedulers print about themselves, read as nodes and queues of a site file: pure functions on text.

They are meant for a first draft: a value that cannot be read is left out, and never an error.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from hpcflow.schedulers.pbs_text import user_limit
from hpcflow.sites.quantities import duration, memory
from hpcflow.sites.schema import Limits, Node, Queue

CLOSED_TO_MANY = ("AllowAccounts", "AllowGroups", "AllowQos")


_WHOLE = re.compile("(default|force)_excl")
"""How PBS says that jobs get nodes of their own; there is also ignore_excl, which means the opposite."""


class Found(NamedTuple):
    """Queues of a cluster as far as its own programs describe them."""

    nodes: dict[str, Node]
    queues: dict[str, Queue]
    remarks: dict[str, list[str]]
    """Queue, to what a person should know of it."""
    default: str | None = None
    """The queue that jobs go to if they name none."""


def slurm_queues(partitions: str, kinds: str, whole_nodes: bool) -> Found:
    """Read ``scontrol show partition`` and ``sinfo`` with the columns of ``SINFO``.

    Parameters
    ----------
    whole_nodes
        Whether this cluster gives out nothing but whole nodes (select/linear).
    """
    found = _Draft()
    for block in re.split(r"^(?=PartitionName=)", partitions, flags=re.MULTILINE):
        fields = dict(re.findall(r"(\w+)=(\S*)", block))
        name = fields.get("PartitionName", "")
        if not name or fields.get("State") != "UP" or fields.get("RootOnly") == "YES":
            continue
        if fields.get("Default") == "YES":
            found.default = name
        for key in CLOSED_TO_MANY:
            if fields.get(key, "ALL") != "ALL":
                found.remark(name, f"{key}={fields[key]}: is it open for you?")
        if fields.get("QoS", "N/A") != "N/A":
            found.remark(name, f"Limits of QOS {fields['QoS']} hold here: sacctmgr show qos {fields['QoS']}")
        found.add(
            name,
            [kind for kind in map(_slurm_kind, kinds.splitlines()) if kind and kind[0] == name],
            exclusive=whole_nodes or fields.get("OverSubscribe") == "EXCLUSIVE",
            min_nodes=max(1, _number(fields.get("MinNodes")) or 1),
            max_nodes=_number(fields.get("MaxNodes")),
            max_walltime=_seconds(fields.get("MaxTime")),
        )
    return found.done()


SINFO = "%R|%D|%c|%X|%Y|%Z|%m|%G"
"""Partition, nodes, CPUs, sockets, cores of each, threads of each, memory, generic resources."""

_Kind = tuple[str, int, Node]
"""Name of a queue, how many nodes it has of a kind, and that kind."""


def _slurm_kind(line: str) -> _Kind | None:
    fields = line.strip().split("|", 7)
    numbers = [_number(field.rstrip("+")) for field in fields[1:7]]
    if len(fields) < 8 or None in numbers:
        return None
    count, cpus, sockets, cores, threads, mebibytes = (number or 0 for number in numbers)
    # Slurm may count threads or cores as CPUs, whatever the processor has.
    per_core = threads if threads > 1 and cpus == sockets * cores * threads else 1
    gpus = re.findall(r"\bgpu(?::([^:,(]*[A-Za-z][^:,(]*))?:(\d+)", fields[7])
    return (
        fields[0],
        count,
        Node(
            cores=max(1, cpus // per_core),
            gpus=sum(int(number) for _, number in gpus),
            memory=mebibytes or None,
            cpus_per_core=per_core,
            gpu_variable=gpu_variable(" ".join(model for model, _ in gpus)),
        ),
    )


def gpu_variable(model: str) -> str:
    """Return the variable that chooses among GPUs, by what their model is called."""
    if re.search(r"\bmi\d|gfx|amd|instinct", model, re.IGNORECASE):
        return "ROCR_VISIBLE_DEVICES"
    return "ZE_AFFINITY_MASK" if re.search(r"pvc|intel|max1", model, re.IGNORECASE) else "CUDA_VISIBLE_DEVICES"


def accounts(associations: str) -> list[str]:
    """Read the first column of ``sacctmgr -nP show assoc``."""
    return sorted({line.split("|")[0] for line in associations.splitlines() if line.split("|")[0]})


def pbs_queues(queues: str, nodes: str, server: str, user: str = "") -> Found:
    """Read ``qstat -Q -f``, ``pbsnodes -a`` and ``qstat -B -f``, with the limits of a user."""
    found = _Draft()
    attributes = {name: _attributes(block) for name, block in _blocks(queues, r"^Queue: *(\S+)")}
    hosts = [_attributes(block) for _, block in _blocks(nodes, r"^(\S+)$")]
    if match := re.search(r"^\s*default_queue = (\S+)", server, re.MULTILINE):
        found.default = match[1]
    for name, fields in attributes.items():
        if fields.get("enabled") != "True" or fields.get("from_route_only") == "True":
            continue
        if any(fields.get(f"acl_{what}_enable") == "True" for what in ("user", "group")):
            found.remark(name, "Only some users or groups may submit here: are you one of them?")
        leads_to = [goal.strip() for goal in fields.get("route_destinations", "").split(",") if goal.strip()]
        if leads_to:
            found.remark(name, f"Jobs are passed on to {', '.join(leads_to)}, by their size and walltime.")
        bounds = [attributes.get(goal.partition("@")[0], {}) for goal in leads_to] or [fields]
        least = [_number(b.get("resources_min.nodect")) or 1 for b in bounds]
        most = [_number(b.get("resources_max.nodect")) for b in bounds]
        times = [_seconds(b.get("resources_max.walltime")) for b in bounds]
        there = [host for host in hosts if host.get("queue") == name or name in _words(host.get("Qlist"))]
        there = there or [host for host in hosts if "queue" not in host]
        wants_gpus = "gpu" in name.lower() or any(_number(b.get("default_chunk.ngpus")) for b in bounds)
        with_gpus = [host for host in there if _number(host.get("ngpus"))]
        kinds = [(name, 1, kind) for kind in map(_pbs_kind, with_gpus if wants_gpus and with_gpus else there) if kind]
        found.add(
            name,
            kinds,
            exclusive=bool(there) and all(_WHOLE.match(host.get("sharing", "")) for host in there),
            min_nodes=min(least),
            max_nodes=None if None in most else max(number or 0 for number in most),
            max_walltime=None if None in times else max(seconds or 0 for seconds in times),
            limits=Limits(
                submit=user_limit(fields.get("max_queued", ""), user),
                running=user_limit(fields.get("max_run", ""), user),
                array=_number(fields.get("max_array_size")),
            ),
        )
    return found.done()


def _pbs_kind(fields: dict[str, str]) -> Node | None:
    cpus = _number(fields.get("ncpus"))
    if not cpus:
        return None
    return Node(cores=cpus, gpus=_number(fields.get("ngpus")) or 0, memory=_mebibytes(fields.get("mem")))


def lsf_queues(queues: str, hosts: str) -> Found:
    """Read ``bqueues -l`` and ``lshosts -w``."""
    found = _Draft()
    rows = [line.split() for line in hosts.splitlines()[1:]]
    machines = {row[0]: kind for row in rows if (kind := _lsf_kind(row))}
    for name, block in _blocks(queues, r"^QUEUE: *(\S+)"):
        if "Open:" not in block:
            continue
        if "default queue" in block:
            found.default = name
        users = re.search(r"^USERS: *(.*)$", block, re.MULTILINE)
        if users and not users[1].startswith("all"):
            found.remark(name, f"For users {users[1].strip()[:60]}: are you one of them?")
        limits = block.partition("MAXIMUM LIMITS:")[2] or block.partition("DEFAULT LIMITS:")[0]
        minutes = re.search(r"RUNLIMIT[^\n]*\n\s*([\d.]+) min", limits)
        named = re.search(r"^HOSTS: *(.*)$", block, re.MULTILINE)
        names = named[1].split() if named else []
        there = [machines[host.partition("+")[0]] for host in names if host.partition("+")[0] in machines]
        # What GPUs a host has is not listed there, and a host without any would refuse every class that wants one.
        kinds = [] if "gpu" in name.lower() else [(name, 1, kind) for kind in there or machines.values()]
        found.add(name, kinds, max_walltime=float(minutes[1]) * 60 if minutes else None)
    return found.done()


def _lsf_kind(row: list[str]) -> Node | None:
    cpus = _number(row[4]) if len(row) > 7 and row[7] == "Yes" else None
    return Node(cores=cpus, memory=_mebibytes(row[5])) if cpus else None


def modules(listing: str) -> list[str]:
    """Return what a site file may want to load of ``module -t avail``: CP2K, MPI and container runtimes."""
    wanted = r"(?:.*/)?(?:cp2k|openmpi|mpich|impi|intel-?mpi|cray-mpich|apptainer|singularity\w*|podman-hpc)(?:/|$)"
    names = (line.strip().partition("(")[0].rstrip("/") for line in listing.splitlines())
    return sorted({name for name in names if re.match(wanted, name, re.IGNORECASE) and ":" not in name})


class _Draft:
    """Collects queues, and gives each kind of node one name."""

    def __init__(self) -> None:
        self.nodes: dict[str, Node] = {}
        self.queues: dict[str, Queue] = {}
        self.remarks: dict[str, list[str]] = {}
        self.default: str | None = None

    def remark(self, queue: str, text: str) -> None:
        self.remarks.setdefault(queue, []).append(text)

    def add(self, name: str, kinds: Iterable[_Kind], **keys: object) -> None:
        """Add a queue with the kind of node that it has most of."""
        counted: Counter[str] = Counter()
        for _, count, kind in kinds:
            counted[self._named(kind)] += count
        commonest = [kind for kind, _ in counted.most_common()]
        if commonest[1:]:
            self.remark(name, f"Its nodes differ; others are {', '.join(commonest[1:5])}.")
        node = commonest[0] if commonest else None
        self.queues[name] = msgspec.structs.replace(Queue(node=node), **keys)

    def _named(self, kind: Node) -> str:
        name = f"{kind.cores}cores" + (f"-{kind.gpus}gpus" if kind.gpus else "")
        for number in range(2, 100):
            if self.nodes.setdefault(name, kind) == kind:
                break
            name = f"{name.partition('_')[0]}_{number}"
        return name

    def done(self) -> Found:
        default = self.default if self.default in self.queues else None
        return Found(self.nodes, self.queues, self.remarks, default)


def _blocks(text: str, head: str) -> list[tuple[str, str]]:
    """Return the parts of a text that each begin with a line that names them."""
    parts = re.split(head, text, flags=re.MULTILINE)
    return list(zip(parts[1::2], parts[2::2], strict=True))


def _attributes(block: str) -> dict[str, str]:
    """Read ``name = value`` lines of PBS, whose long values go on in lines that begin with a tab."""
    pairs = re.findall(r"^\s+([\w.]+) = (.*)$", block.replace("\n\t", ""), re.MULTILINE)
    return {name.removeprefix("resources_available."): value.strip() for name, value in pairs}


def _words(text: str | None) -> list[str]:
    return (text or "").split(",")


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() else None


def _seconds(text: str | None) -> float | None:
    try:
        return duration(text or "")
    except ValueError:
        return None  # UNLIMITED, or nothing


def _mebibytes(text: str | None) -> int | None:
    try:
        return memory((text or "").upper())
    except ValueError:
        return None  # -, or nothing
