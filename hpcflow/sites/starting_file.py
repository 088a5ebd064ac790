"""The text of a first site file for a machine: what was found on it, and classes that could do for a start.

Everything that is more than a copy of what the scheduler said stands under ``unverified`` with its reason.
"""

from __future__ import annotations

import datetime
import json
import re
from pathlib import Path
from typing import Any

import msgspec

from hpcflow.errors import UserError
from hpcflow.schedulers.base import Limits
from hpcflow.sites.layers import SITE_NAME, layers
from hpcflow.sites.machine import Machine
from hpcflow.sites.quantities import duration_text
from hpcflow.sites.schema import Node, Queue
from hpcflow.sites.shipped import user

HEAD = """\
# {name}: what `hpcflow sites new` found on {host} on {day}, and yours to correct.
# What it guessed stands at the end, under `unverified`; take a line away there when you know better.
# Every key there is: `hpcflow sites show {name}`, and docs/reference/site-file.md.
"""
KINDS = {"slurm": "Slurm", "pbs": "PBS", "lsf": "LSF", "local": "no scheduler"}
SAID_BY = {
    "slurm": ("scontrol show config, sacctmgr show assoc", "sinfo", "scontrol show partition"),
    "pbs": ("qstat -B -f", "pbsnodes -a", "qstat -Q -f"),
    "lsf": ("bparams -l", "lshosts -w", "bqueues -l"),
}
"""What says limits, nodes and queues."""

GPU_FLAGS = {
    ("apptainer", "CUDA_VISIBLE_DEVICES"): "--nv",
    ("singularity", "CUDA_VISIBLE_DEVICES"): "--nv",
    ("apptainer", "ROCR_VISIBLE_DEVICES"): "--rocm",
    ("singularity", "ROCR_VISIBLE_DEVICES"): "--rocm",
    ("podman-hpc", "CUDA_VISIBLE_DEVICES"): "--gpu",
}
_PLAIN = re.compile(r"[A-Za-z0-9_./][\w.+/:-]*\Z", re.ASCII)


def place_for(name: str, campaign: Path | None) -> Path:
    """Return where the file of a new site goes: into the campaign, or the user's own sites.

    Raises
    ------
    UserError
        If the name cannot be one, or a site is called so already.
    """
    if not SITE_NAME.match(name):
        raise UserError(f"A site cannot be called {name!r}: letters, digits and . _ + - make a name, without blanks.")
    path = (campaign / "sites" if campaign else user("sites")) / f"{name}.yaml"
    there = [layer for layer in layers(name, campaign) if layer.name != "hpcflow.yaml" and layer.path.exists()]
    if there and there[-1].name != "shipped":
        raise UserError(f"{there[-1].path} is there already. Look at it with: hpcflow sites show {name}")
    if there:
        raise UserError(
            f"{name} comes with hpcflow, and all that it may need of you is an account: write `account: NAME` into "
            f"{path}. Look at it with: hpcflow sites show {name}"
        )
    return path


def starting_file(name: str, machine: Machine, today: datetime.date) -> str:
    """Return the text of a site file that loads as it is."""
    queues = machine.queues
    doubts: dict[str, str] = {}
    lines = [HEAD.format(name=name, host=machine.host, day=today).rstrip()]
    title = f"{name} ({' '.join(filter(None, [KINDS[machine.kind], machine.version]))})"
    lines += [f"title: {json.dumps(title)}", "scheduler:", f"  kind: {machine.kind}"]
    if machine.kind == "local":
        lines += ["  min_interval: 0", "  settle: 0", "  beat: 10s", "shell: /bin/bash"]
    else:
        lines += _account(machine)
        limits = _numbers(machine.limits)
        lines += [f"limits: {_flow(limits)}"] if limits else []
    if queues.nodes:
        lines += ["", "nodes:", *(f"  {_word(key)}: {_flow(_keys(node))}" for key, node in queues.nodes.items())]
    if queues.queues:
        lines += ["", "queues:"]
    for key, queue in queues.queues.items():
        shares = _shares(_node(machine, key), queue, doubts)
        lines += [f"  # {remark}" for remark in queues.remarks.get(key, ())]
        lines += [f"  {_word(key)}: {_flow(_keys(queue) | shares)}" + ("  # the default" * (key == queues.default))]
    lines += _container(machine, doubts)
    lines += ["", *_classes(machine, doubts)]
    lines += _notes(machine, doubts, today)
    return "\n".join(lines) + "\n"


def _account(machine: Machine) -> list[str]:
    if len(machine.accounts) == 1:
        return [f"account: {_word(machine.accounts[0])}"]
    if machine.accounts:
        return [f"# account: one of {', '.join(machine.accounts)}"]
    return [] if machine.kind == "slurm" and not machine.silent else ["# account: if jobs need one"]


def _shares(node: Node | None, queue: Queue, doubts: dict[str, str]) -> dict[str, Any]:
    """Return the memory that slots get where nodes are shared: their share of the node."""
    if node is None or node.memory is None or queue.exclusive:
        return {}
    found = {"memory_per_core": f"{node.memory // node.cores}M"}
    if node.gpus:
        found["memory_per_gpu"] = f"{node.memory // node.gpus}M"
    for key in found:
        doubts[f"queues.*.{key}"] = "a fair share of the node; what a job gets that does not ask was not found out"
    return found


def _container(machine: Machine, doubts: dict[str, str]) -> list[str]:
    if machine.engine is None:
        return ["", "# container: no runtime was found here; it may need a module, or be on the nodes only"]
    variables = {node.gpu_variable for node in machine.queues.nodes.values() if node.gpus}
    flag = GPU_FLAGS.get((machine.engine, variables.pop())) if len(variables) == 1 else None
    doubts["container"] = f"{machine.engine} was found on {machine.host}; whether nodes have it was not tried"
    return ["", "container:", f"  engine: {machine.engine}"] + ([f"  gpu: {flag}"] if flag else [])


def _classes(machine: Machine, doubts: dict[str, str]) -> list[str]:
    if machine.kind == "local":
        return ["classes:", "  default: {walltime: 30d}"] + [
            f"  {name}: {{like: default}}" for name in ("reference", "training", "evaluation")
        ]
    cpu, gpu = choose(machine)
    node = _node(machine, cpu)
    cores = _divisor(node.cores, 32) if node else 8
    default = _in_queue(machine, cpu, 3600)
    reference = _in_queue(machine, cpu, 12 * 3600)
    reference |= {"cores": cores, "ranks": cores, "launcher": _launcher(machine.kind, node)}
    training = _in_queue(machine, gpu or cpu, 24 * 3600)
    node = _node(machine, gpu)
    training["cores"] = max(1, node.cores // node.gpus) if node and node.gpus else min(8, cores)
    if gpu:
        training["gpus"] = 1
    doubts["classes"] = "a suggestion: queues, sizes, walltimes and launcher were chosen by rules of thumb"
    lines = ["classes:", *_block("default", default), *_block("reference", reference)]
    if machine.modules:
        lines += [
            "    # Found among the modules; those that a job needs go here:",
            f"    # environment: {{modules: [{', '.join(machine.modules[:12])}]}}",
        ]
    return [*lines, *_block("training", training), "  evaluation: {like: training}"]


def _in_queue(machine: Machine, name: str | None, seconds: float) -> dict[str, Any]:
    """Return what a class says that goes to a queue for so long, or for as long as that allows."""
    queue = machine.queues.queues.get(name or "", Queue())
    walltime = duration_text(max(180.0, min(seconds, queue.max_walltime or seconds)))
    return {"queue": name, "walltime": walltime} | ({"nodes": queue.min_nodes} if queue.min_nodes > 1 else {})


def _node(machine: Machine, queue: str | None) -> Node | None:
    return machine.queues.nodes.get(machine.queues.queues.get(queue or "", Queue()).node or "")


def choose(machine: Machine) -> tuple[str | None, str | None]:
    """Return a queue for work on cores, and one for work on GPUs if there are any."""
    queues, nodes = machine.queues.queues, machine.queues.nodes

    def gpus(name: str) -> bool:
        node = nodes.get(queues[name].node or "")
        return node.gpus > 0 if node else "gpu" in name.lower()

    def worth(name: str) -> tuple[bool, bool, float]:
        queue = queues[name]
        remarks = machine.queues.remarks.get(name, [])
        is_open = not any(remark.endswith("?") for remark in remarks)
        return is_open, queue.min_nodes == 1, queue.max_walltime or float("inf")

    def best(names: list[str]) -> str | None:
        if machine.queues.default in names:
            return machine.queues.default
        return max(names, key=worth, default=None)

    with_gpus = [name for name in queues if gpus(name)]
    return best([name for name in queues if name not in with_gpus]) or best(with_gpus), best(with_gpus)


def _launcher(kind: str, node: Node | None) -> str:
    if kind != "slurm":
        return "mpirun -np {ranks}"
    # Several steps run side by side in a job only if each takes no more than its part. Where Slurm counts threads, the
    # number of CPUs is that of the job, which srun knows.
    cpus = " --cpus-per-task={threads}" if node is None or node.cpus_per_core == 1 else ""
    memory = " --mem={memory}M" if node and node.memory else ""
    return "srun --exact --nodes=1 --ntasks={ranks}" + cpus + memory


def _notes(machine: Machine, doubts: dict[str, str], today: datetime.date) -> list[str]:
    lines = []
    if machine.kind != "local":
        present = (bool(_numbers(machine.limits)), bool(machine.queues.nodes), bool(machine.queues.queues))
        said = zip(("limits", "nodes", "queues"), SAID_BY[machine.kind], present, strict=True)
        sources = {key: f"{command} on {machine.host}, {today}" for key, command, is_there in said if is_there}
        lines += ["", "sources:", *(f"  {key}: {json.dumps(text)}" for key, text in sources.items())] if sources else []
    if machine.kind == "pbs" and machine.queues.nodes:
        doubts["nodes.*.cores"] = "ncpus of PBS, which may count threads: then halve it and set cpus_per_core"
    if doubts:
        lines += ["unverified:", *(f"  {key}: {json.dumps(text)}" for key, text in sorted(doubts.items()))]
    return lines


def _numbers(limits: Limits) -> dict[str, int]:
    known = {"submit": limits.submit, "running": limits.running, "array": limits.array}
    return {key: number for key, number in known.items() if number is not None}


def _keys(struct: msgspec.Struct) -> dict[str, Any]:
    """Return the keys of a struct that are not what they are by default."""
    found: dict[str, Any] = {}
    for each in msgspec.structs.fields(struct):
        value = getattr(struct, each.name)
        if not each.name.startswith("_") and value != each.default and value not in ([], {}) and value is not None:
            found[each.encode_name] = value
    for key in [key for key, value in found.items() if isinstance(value, msgspec.Struct)]:
        found[key] = _keys(found[key])
        if not found[key]:
            del found[key]
    for key in found.keys() & {"max_walltime", "min_walltime"}:
        found[key] = duration_text(found[key])
    return found | ({"memory": f"{found['memory']}M"} if "memory" in found else {})


def _divisor(number: int, most: int) -> int:
    """Return the largest divisor that is not more than ``most``: then a whole number of slots fills a node."""
    return max(part for part in range(1, most + 1) if number % part == 0)


def _block(name: str, keys: dict[str, Any]) -> list[str]:
    return [f"  {name}:", *(f"    {key}: {_word(value)}" for key, value in keys.items() if value is not None)]


def _flow(keys: dict[str, Any]) -> str:
    return f"{{{', '.join(f'{key}: {_word(value)}' for key, value in keys.items())}}}"


def _word(value: Any) -> str:
    """Return a value as YAML that is read as the same."""
    if isinstance(value, dict):
        return _flow(value)
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return text if _PLAIN.match(text) and text.lower() != "null" and not text.endswith(":") else json.dumps(text)
