"""How a worker cuts what its job has into slots."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from typing import NamedTuple

from hpcflow.worker.arguments import Options

VISIBILITY = (
    "CUDA_VISIBLE_DEVICES",
    "ROCR_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES",
    "GPU_DEVICE_ORDINAL",
    "ZE_AFFINITY_MASK",
)
"""Variables that hide GPUs. Two of them at once hide more than was meant."""
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class Share(NamedTuple):
    """What one slot may use."""

    number: int
    cores: int
    cpus: tuple[int, ...]
    """The cores it is bound to; empty means not bound."""
    cpu_list: str
    """The cores it may run on, for launchers that bind by themselves."""
    gpus: tuple[str, ...]
    gpu_count: int
    memory: int
    """MiB; 0 if unknown."""


def cpu_numbers(text: str) -> list[int]:
    """Read a list of cores such as ``0-7,9``."""
    numbers: list[int] = []
    for part in text.replace(" ", "").split(","):
        if part:
            first, _, last = part.partition("-")
            numbers.extend(range(int(first), int(last or first) + 1))
    return numbers


def cpu_list(numbers: Iterable[int]) -> str:
    """Write a list of cores such as ``0-7,9``."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and runs[-1][1] == number - 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def visible_gpus(variable: str, environment: Mapping[str, str], devices: Iterable[str]) -> list[str]:
    """Return the GPUs this job may use, as the visibility variable names them.

    Parameters
    ----------
    variable
        The site's visibility variable. A scheduler that sets it has the last word.
    environment
        The job's environment.
    devices
        Names in ``/dev``: without the variable, all NVIDIA devices of the machine are ours.
    """
    if variable in environment:
        names = [name.strip() for name in environment[variable].split(",")]
        return [name for name in names if name and name not in ("NoDevFiles", "-1")]
    if variable == "CUDA_VISIBLE_DEVICES":
        return sorted((m[1] for m in (re.fullmatch(r"nvidia(\d+)", d) for d in devices) if m), key=int)
    return []


def cut(options: Options, cpus: list[int], gpus: list[str], memory: int, machine: int) -> list[Share]:
    """Cut cores, GPUs and memory (MiB, 0 if unknown) into slots; ``machine`` is the number of cores that there are."""
    parts = _parts(options, cpus)
    per_slot = max(1, options.gpus)  # parts of the node that make one slot
    if options.slots:
        number = options.slots
    else:
        room = [len(parts) // per_slot if parts else len(cpus) // options.cores]
        if options.gpus and gpus and not parts:
            room.append(len(gpus) // options.gpus)
        if options.memory and memory:
            room.append(memory // options.memory)
        number = max(1, min(room))
    bound = number * options.cores <= len(cpus)
    # Cores that other jobs may use as well are not ours to divide: each of their workers would take the first ones.
    given = bool(options.scheduler_id) and len(cpus) < machine
    ours = options.whole_node or not options.slots or given or number * options.cores == len(cpus)
    mapped = bool(parts) and number * per_slot <= len(parts)
    shares = []
    for i in range(number):
        if mapped:
            mine = parts[i * per_slot : (i + 1) * per_slot]
            own = tuple(c for part, _ in mine for c in part)[: options.cores]
            names = tuple(g for _, g in mine if g)[: options.gpus]
        else:
            own = tuple(cpus[i * options.cores : (i + 1) * options.cores]) if bound else ()
            # Where slots outnumber GPUs, the site wants them shared.
            names = tuple(gpus[(i * options.gpus + k) % len(gpus)] for k in range(options.gpus) if gpus)
            names = tuple(dict.fromkeys(names))
        share = options.memory or memory // number
        bind = own if ours else ()
        shares.append(Share(i, options.cores, bind, cpu_list(own or cpus), names, options.gpus, share))
    return shares


def _parts(options: Options, cpus: list[int]) -> list[tuple[list[int], str]]:
    """Return the site's parts of a node as (cores, GPU), as far as this job may use their cores."""
    if not options.whole_node or not options.map_cores:
        return []
    gpus = options.map_gpus.split(";") if options.map_gpus else []
    parts = []
    for i, text in enumerate(options.map_cores.split(";")):
        usable = [c for c in cpu_numbers(text) if c in set(cpus)]
        parts.append((usable, gpus[i].strip() if i < len(gpus) else ""))
    return parts if all(usable for usable, _ in parts) else []


def environment(share: Share, options: Options, base: Mapping[str, str]) -> dict[str, str]:
    """Return the environment of a slot's tasks, without what differs between tasks."""
    own = dict(base)
    if share.gpus:
        for name in VISIBILITY:
            own.pop(name, None)
        own[options.gpu_variable] = ",".join(share.gpus)
    # PBS sets OMP_NUM_THREADS to all cores of the job; then it is no wish of the user.
    from_pbs = "NCPUS" in base and base["NCPUS"] == base.get("OMP_NUM_THREADS")
    for name in THREADS:
        if name not in base or (from_pbs and name == "OMP_NUM_THREADS"):
            own[name] = str(share.cores)
    own["HPCFLOW_CORES"] = str(share.cores)
    own["HPCFLOW_GPUS"] = str(share.gpu_count)
    if share.memory:
        own["HPCFLOW_MEMORY"] = str(share.memory)
    launch = options.launch.replace("{cores}", str(share.cores)).replace("{cpu_list}", share.cpu_list)
    own["HPCFLOW_LAUNCH"] = launch
    return own


def usable_cpus() -> list[int]:
    """Return the cores this process may run on."""
    return sorted(os.sched_getaffinity(0))
