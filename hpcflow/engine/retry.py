"""What a person asks for by hand: release holds, try failed tasks again, give tasks up."""

from __future__ import annotations

import shlex

from hpcflow.database.results import read_records
from hpcflow.database.state import FAILED, OPEN, SUCCEEDED, ArrayState, ranges
from hpcflow.engine.collect import collect
from hpcflow.engine.engine import Engine
from hpcflow.errors import UserError


def release(engine: Engine) -> None:
    """Take back holds and what needed attention: whoever types ``resume`` has seen it.

    Not questions about changed steps: these wait for an answer, and what a replay says of them a second time lacks the
    file that had changed.
    """
    campaign = engine.state.campaign
    replayed = (engine.campaign / "hpcflow.yaml").exists()
    if campaign.cancelled or any(a.hold or a.barren for a in engine.live_arrays()):
        engine.record("released")
    for subject in list(campaign.attention):
        if not (replayed and subject.startswith("changed ")):
            engine.record("resolved", subject=subject)


def disown(engine: Engine) -> None:
    """In a copy of a campaign: the jobs belong to the original, and so does what they are computing."""
    collect(engine)
    for array in engine.live_arrays():
        for name, worker in array.workers.items():
            if not worker.goodbye and name not in array.closed:
                engine.record(
                    "close",
                    array=array.number,
                    worker=name,
                    cause="node",
                    evidence="it belongs to the campaign this one was copied from",
                    charged={},
                )
    for job in engine.state.campaign.jobs.values():
        if not job.ended:
            engine.record("ended", job=job.number, cause="belongs to the original campaign")


def failed_tasks(engine: Engine, array: ArrayState) -> list[int]:
    """The tasks of an array that were given up."""
    status = engine.state.status.get(array.number)
    if status is not None:
        return [t for t in range(array.count) if status[t] == FAILED]
    if not array.failed:
        return []
    found = read_records(engine.path(array), array, None, range(array.count))
    return [r.task for r in found if r.header["state"] != "succeeded"]


def retry_failed(engine: Engine) -> int:
    """Open given-up tasks again: in a live array at once, for a finished one in a new array of the same step.

    Returns
    -------
    count
        How many tasks are tried again.
    """
    count = 0
    for array in list(engine.state.campaign.arrays.values()):
        if not array.current or not array.failed:
            continue
        tasks = failed_tasks(engine, array)
        count += len(tasks)
        if array.done:
            engine.record("reopen", array=array.number)
        else:
            engine.record("retry", array=array.number, tasks=ranges(tasks))
    return count


def drop(engine: Engine, array: ArrayState, tasks: list[int], reason: str) -> int:
    """Give up undecided tasks.

    Returns
    -------
    count
        How many tasks were undecided and are given up now.
    """
    if array.done:
        key = shlex.quote(array.key)
        raise UserError(f"{array.key} is done: there is nothing to give up. Failed tasks: hpcflow explain {key}")
    status = engine.state.status[array.number]
    undecided = [t for t in tasks if status[t] == OPEN]
    if undecided:
        engine.record("give_up", array=array.number, tasks=ranges(undecided), reason=reason, dropped=True)
    return len(undecided)


def succeeded_tasks(engine: Engine, array: ArrayState) -> list[int]:
    """The tasks of an array that have an accepted result, in order."""
    status = engine.state.status.get(array.number)
    if status is not None:
        return [t for t in range(array.count) if status[t] == SUCCEEDED]
    failed = set(failed_tasks(engine, array))
    return [t for t in range(array.count) if t not in failed]
