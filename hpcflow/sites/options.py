"""Options of the batch script: what a shape asks for, in the words of each scheduler.

Four mappings are merged, later ones winning key by key: the scheduler's usual options (below), those of
the site, of the queue and of the class. Null takes an option away. A value may contain

================== ======================================================================
``{queue}``        name of the queue in the site file
``{account}``      of the class, or of the site
``{cluster}``      of the queue
``{image}``        of the class's container
``{nodes}``        nodes of an element
``{slots}``        slots on a node
``{tasks}``        MPI processes on a node
``{cpus}``         CPUs of one MPI process, as the scheduler counts them
``{node_cpus}``    CPUs on a node, as the scheduler counts them
``{cores}``        cores on a node
``{gpus}``         GPUs on a node; ``{slot_gpus}``: of one slot
``{memory}``       MiB on a node
``{core_memory}``  MiB per CPU
``{total_cpus}``   on all nodes; also ``{total_gpus}``, ``{total_memory}``
``{walltime}``     in the scheduler's own format
================== ======================================================================

An option in which a word has no value (no account, no GPUs, no memory asked for) is left out. That is why
most sites need no more than a few names: ``gpus-per-node: "{gpus}"`` vanishes by itself
for a class without GPUs.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from hpcflow.errors import UserError, nearest

if TYPE_CHECKING:
    from hpcflow.sites.schema import Options, Queue, Site, TaskClass
    from hpcflow.sites.shape import Shape

Words = dict[str, str | None]
Resolved = dict[str, list[str]]
"""Each option with the values it is given, one line each; an empty text is an option without value."""

WORDS = (
    *("queue", "account", "cluster", "image", "nodes", "slots", "tasks", "cpus", "node_cpus", "cores"),
    *("gpus", "slot_gpus", "memory", "core_memory", "total_cpus", "total_gpus", "total_memory", "walltime"),
)
LAUNCHER_WORDS = (*("cores", "cpu_list", "container", "ranks", "ranks_per_node", "threads", "gpus", "memory", "nodes"),)
"""What a launcher may contain: the share of one task. ``{container}`` is the container's command line."""
_WORD = re.compile(r"\{([a-z_]+)\}")
_PLAIN = re.compile(r"[\w@%+=:,./^~-]*\Z", re.ASCII)  # needs no quotes in a directive


def resolve_options(site: Site, task_class: TaskClass, queue: Queue, shape: Shape) -> tuple[Resolved, list[str]]:
    """Return the options of a job.

    Returns
    -------
    options
        In the order in which they are written.
    missing
        Options that the site requires and that are not there.
    """
    merged: Options = {}
    for layer in (usual_options(site.scheduler.kind, shape), site.options, queue.options, task_class.options):
        merged.update(layer)
    words = option_words(site, task_class, queue, shape)
    resolved: Resolved = {}
    for name, value in merged.items():
        values = [value] if isinstance(value, str) else value or []
        filled = [text for text in (fill(v, words, f"option {name!r}") for v in values) if text is not None]
        if filled:
            resolved[name] = filled
    return resolved, [name for name in site.required if name not in resolved]


def usual_options(kind: str, shape: Shape) -> Options:
    """Return what a scheduler is asked for unless the site says otherwise."""
    spread = shape.nodes > 1
    if kind == "slurm":
        return {
            "account": "{account}",
            "clusters": "{cluster}",
            "partition": "{queue}",
            "nodes": "{nodes}",
            "ntasks-per-node": "{tasks}",
            "cpus-per-task": "{cpus}",
            "gpus-per-node": "{gpus}",
            # --exclusive gives all cores of the node, but not its memory.
            "exclusive": "" if shape.exclusive else None,
            "mem": "0" if shape.exclusive else "{memory}M",
            "time": "{walltime}",
            # The engine brings new workers itself, and a requeued job would overwrite its output.
            "no-requeue": "",
            "open-mode": "append",
        }
    if kind == "pbs":
        return {
            "A": "{account}",
            "q": "{queue}",
            "select": _chunk(shape),
            "place": "scatter:excl" if shape.exclusive else "scatter" if spread else None,
            "walltime": "{walltime}",
        }
    if kind == "lsf":
        return {
            "P": "{account}",
            "q": "{queue}",
            "n": "{total_cpus}",
            "R": _requirement(shape),
            "gpu": "num={gpus}",
            "x": "" if shape.exclusive else None,
            "W": "{walltime}",
        }
    return {}


def exclude(options: Resolved, nodes: Sequence[str]) -> None:
    """Keep a job away from some nodes, unless the user says on which ones it is to run. For Slurm."""
    if not nodes or {"nodelist", "w", "nodefile", "F"} & set(options):
        return
    mine = [*options.pop("exclude", []), *options.pop("x", [])]
    options["exclude"] = [",".join([*mine, *nodes])]


def _chunk(shape: Shape) -> str:
    gpus = ":ngpus={gpus}" if shape.gpus else ""
    memory = ":mem={memory}mb" if shape.memory else ""
    return "{nodes}:ncpus={node_cpus}:mpiprocs={tasks}" + gpus + memory


def _requirement(shape: Shape) -> str:
    # One text: older versions and volclava take -R only once.
    memory = "rusage[mem={core_memory}MB] " if shape.memory and shape.slots else ""
    return memory + ("span[ptile={node_cpus}]" if shape.nodes > 1 else "span[hosts=1]")


def option_words(site: Site, task_class: TaskClass, queue: Queue, shape: Shape) -> Words:
    """Return what the words in braces stand for; None where there is no value."""

    def on_node(per_slot: int | None) -> int | None:
        return None if shape.slots is None or per_slot is None else shape.slots * per_slot

    def text(number: int | None) -> str | None:
        return None if number is None else str(number)

    node_cpus = on_node(shape.cores * shape.cpus_per_core)
    memory = on_node(shape.memory)
    gpus = on_node(shape.gpus) or None
    return {
        "queue": task_class.queue,
        "account": task_class.account or site.account,
        "cluster": queue.cluster,
        "image": task_class.container.image if task_class.container else None,
        "nodes": text(shape.nodes),
        "slots": text(shape.slots),
        "tasks": text(on_node(shape.ranks)),
        "cpus": text(shape.threads * shape.cpus_per_core) if shape.slots else None,
        "node_cpus": text(node_cpus),
        "cores": text(on_node(shape.cores)),
        "gpus": text(gpus),
        "slot_gpus": text(shape.gpus or None),
        "memory": text(memory),
        "core_memory": text(math.ceil(memory / node_cpus)) if memory and node_cpus else None,
        "total_cpus": text(node_cpus * shape.nodes) if node_cpus else None,
        "total_gpus": text(gpus * shape.nodes) if gpus else None,
        "total_memory": text(memory * shape.nodes) if memory else None,
        "walltime": walltime(shape.walltime, site.scheduler.kind),
    }


def unknown_words(template: str, known: Iterable[str]) -> list[str]:
    """Return one message for each word in braces that does not exist."""
    known = list(known)
    found = [name for name in _WORD.findall(template) if name not in known]
    return [f"there is no word {{{name}}}.{nearest(name, known)}" for name in found]


def fill(template: str, words: Words, where: str) -> str | None:
    """Replace words in braces; None if one of them has no value.

    Raises
    ------
    UserError
        For a word that does not exist.
    """
    for problem in unknown_words(template, words):
        raise UserError(f"{where}: {problem}")
    values = {name: words[name] for name in _WORD.findall(template)}
    if None in values.values():
        return None
    return _WORD.sub(lambda match: values[match[1]] or "", template)


def walltime(seconds: float, kind: str) -> str:
    """Return a walltime as the scheduler writes it, rounded up to what it can express."""
    if kind == "lsf":  # hours and minutes: LSF knows no seconds
        minutes = math.ceil(seconds / 60)
        return f"{minutes // 60:02d}:{minutes % 60:02d}"
    whole = math.ceil(seconds)
    clock = f"{whole // 60 % 60:02d}:{whole % 60:02d}"
    days, hours = divmod(whole // 3600, 24)
    if kind == "slurm" and days:
        return f"{days}-{hours:02d}:{clock}"
    return f"{whole // 3600:02d}:{clock}"


def directives(options: Resolved, kind: str) -> list[str]:
    """Return the lines that carry the options in a batch script."""
    return [line for name, values in options.items() for line in (_directive(name, v, kind) for v in values)]


def _directive(name: str, value: str, kind: str) -> str:
    if kind == "slurm":
        option = f"-{name}" if len(name) == 1 else f"--{name}"
        joint = " " if len(name) == 1 else "="
        return f"#SBATCH {option}{joint}{_quoted(value)}" if value else f"#SBATCH {option}"
    if kind == "pbs":
        if len(name) == 1:
            return f"#PBS -{name} {_quoted(value)}".rstrip()
        return f"#PBS -l {name}={_quoted(value)}" if value else f"#PBS -l {name}"
    return f"#BSUB -{name} {_quoted(value)}".rstrip()


def _quoted(value: str) -> str:
    """All three schedulers read quotes in directives as a shell does, without expanding anything."""
    if _PLAIN.match(value):
        return value
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
