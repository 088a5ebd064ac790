"""The back ends that have to keep the contract, each on something that really runs jobs.

To add one, write a function that returns it for a directory, and give it a name in ``BACK_ENDS``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from standin_jobs import environment

from hpcflow.schedulers.base import Scheduler
from hpcflow.schedulers.local import Local
from hpcflow.schedulers.lsf import LSF
from hpcflow.schedulers.pbs import PBS


@dataclass(frozen=True)
class BackEnd:
    """A scheduler, and what one has to know of it to ask whether it keeps the contract."""

    scheduler: Scheduler
    index: str
    """What a script writes for its index in an array, counted from 0."""
    accounting: bool = True
    """Whether it can say how a job ended."""
    queue: bool = True
    """Whether jobs wait in a queue until there is room."""
    refused: str = ""
    """A line of a script for which it does not take a job, if there is one."""


def pbs(directory: Path) -> BackEnd:
    scheduler = PBS(environment=environment(directory, history="1"))
    return BackEnd(scheduler, "$PBS_ARRAY_INDEX", refused="#PBS -q nowhere")


def pbs_without_history(directory: Path) -> BackEnd:
    return BackEnd(PBS(environment=environment(directory)), "$PBS_ARRAY_INDEX", accounting=False)


def lsf_7(directory: Path) -> BackEnd:
    return BackEnd(LSF(environment=environment(directory)), "$((LSB_JOBINDEX - 1))", refused="#BSUB -q nowhere")


def lsf_10(directory: Path) -> BackEnd:
    return BackEnd(LSF(environment=environment(directory, lsf="10")), "$((LSB_JOBINDEX - 1))")


def local(directory: Path) -> BackEnd:
    return BackEnd(Local(cores=4, grace=5.0), "$HPCFLOW_ELEMENT", accounting=False, queue=False)


BACK_ENDS: dict[str, Callable[[Path], BackEnd]] = {
    "pbs": pbs,
    "pbs without history": pbs_without_history,
    "lsf 7": lsf_7,
    "lsf 10": lsf_10,
    "local": local,
}
