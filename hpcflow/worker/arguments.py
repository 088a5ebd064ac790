"""What a worker is told: its command line, and what its job left in the environment."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Mapping
from typing import NamedTuple


class Options(NamedTuple):
    """The settings of one worker. Times are in seconds, memory in MiB."""

    array: str
    job: str
    resources: str
    slots: int
    """0 means as many as fit."""
    cores: int
    gpus: int
    memory: int
    margin: float
    grace: float
    beat: float
    task_walltime: float
    """The bound of each task; 0 means none."""
    launch: str
    scratch: str
    map_cores: str
    map_gpus: str
    whole_node: bool
    gpu_variable: str
    slot_python: str
    tick: str
    """Shell command of a tick, for the last worker that leaves; empty for none."""
    element: int
    scheduler_id: str
    end: float
    """When the job ends, seconds since the epoch; 0 means never."""


def _slots(text: str) -> int:
    number = 0 if text == "auto" else int(text)
    if number < 0:
        raise ValueError(text)
    return number


def parser() -> argparse.ArgumentParser:
    """Return the parser of ``worker``; scripts are rendered with these options."""
    p = argparse.ArgumentParser(prog="worker", allow_abbrev=False, description="Run the tasks of one array.")
    p.add_argument("--array", required=True, help="directory of the array")
    p.add_argument("--job", required=True, help="token of the job")
    p.add_argument("--resources", required=True, help="take chunks of lists with these resources only")
    p.add_argument("--slots", type=_slots, default=0, help="tasks at a time, or 'auto'")
    p.add_argument("--cores", type=int, default=1, help="cores of each slot")
    p.add_argument("--gpus", type=int, default=0, help="GPUs of each slot")
    p.add_argument("--memory", type=int, default=0, help="MiB of each slot; 0 for an equal share")
    p.add_argument("--walltime", type=float, default=0.0, help="seconds; 0 for none")
    p.add_argument("--margin", type=float, default=60.0, help="stop tasks this long before the end")
    p.add_argument("--grace", type=float, default=30.0, help="seconds between SIGTERM and SIGKILL")
    p.add_argument("--beat", type=float, default=60.0, help="seconds between beats")
    p.add_argument("--task-walltime", type=float, default=0.0, help="bound of each task; 0 for none")
    p.add_argument("--launch", default="", help="launcher for tasks; {cores} and {cpu_list} are replaced")
    p.add_argument("--scratch", default="", help="node-local directory; default: TMPDIR or /tmp")
    p.add_argument("--map-cores", default="", help="cores of each part of a whole node: 0-7;8-15")
    p.add_argument("--map-gpus", default="", help="GPU of each part of a whole node: 0;1")
    p.add_argument("--whole-node", action="store_true", help="the job has the whole node: use the maps")
    p.add_argument("--gpu-variable", default="CUDA_VISIBLE_DEVICES", help="names the GPUs of a slot")
    p.add_argument("--slot-python", default=sys.executable, help="Python that runs Python functions")
    p.add_argument("--tick", default="", help="what the last worker runs when it leaves")
    return p


def read(argv: list[str], environment: Mapping[str, str]) -> Options:
    """Read the command line of a worker and the variables that ``job.sh`` sets."""
    a = parser().parse_args(argv)
    started = float(environment.get("HPCFLOW_STARTED") or time.time())
    end = started + a.walltime if a.walltime else 0.0
    if environment.get("HPCFLOW_END_TIME"):  # the scheduler knows better than the script
        end = float(environment["HPCFLOW_END_TIME"])
    return Options(
        array=a.array,
        job=a.job,
        resources=a.resources,
        slots=a.slots,
        cores=max(1, a.cores),
        gpus=a.gpus,
        memory=a.memory,
        # A margin longer than the job would leave no time for anything.
        margin=min(a.margin, max(0.0, (end - started) / 2)) if end else a.margin,
        grace=a.grace,
        beat=a.beat,
        task_walltime=a.task_walltime,
        launch=a.launch,
        scratch=a.scratch,
        map_cores=a.map_cores,
        map_gpus=a.map_gpus,
        whole_node=a.whole_node,
        gpu_variable=a.gpu_variable,
        slot_python=a.slot_python,
        tick=a.tick,
        element=int(environment.get("HPCFLOW_ELEMENT") or 0),
        scheduler_id=environment.get("HPCFLOW_SCHEDULER_ID", ""),
        end=end,
    )
