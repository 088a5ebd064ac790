"""Results that earlier arrays already have, found by identity: they are taken over and not computed again."""

from __future__ import annotations

from collections.abc import Iterator

from hpcflow.database.arrays import Earlier, task_ids
from hpcflow.database.results import read_records
from hpcflow.database.state import SUCCEEDED, ArrayState
from hpcflow.engine.engine import Engine

Found = dict[int, tuple[ArrayState, int]]
"""Per task: the array that has its result, and which of that array's tasks it is."""


def find_finished(engine: Engine, what: str, ids: list[bytes]) -> Found:
    """Tasks of which some array of the same computation has a result; the newest array counts."""
    candidates = [a for a in engine.state.campaign.arrays.values() if a.what == what and a.succeeded]
    if not candidates:
        return {}
    wanted = {identity: task for task, identity in enumerate(ids)}
    found: Found = {}
    for array in reversed(candidates):
        path = engine.path(array)
        status = engine.state.status.get(array.number)
        here = {
            other: wanted[identity]
            for other, identity in enumerate(task_ids(path))
            if identity in wanted and wanted[identity] not in found and (status is None or status[other] == SUCCEEDED)
        }
        if status is None and array.failed:
            records = read_records(path, array, None, here)
            here = {r.task: here[r.task] for r in records if r.header["state"] == "succeeded"}
        found.update({task: (array, other) for other, task in here.items()})
    return found


def finished_records(engine: Engine, found: Found) -> Iterator[tuple[int, Earlier]]:
    """The records of what was found, one after the other: together they may be larger than the memory."""
    by_array: dict[int, dict[int, int]] = {}
    for task, (array, other) in found.items():
        by_array.setdefault(array.number, {})[other] = task
    for number, here in by_array.items():
        array = engine.state.campaign.arrays[number]
        path = engine.path(array)
        for record in read_records(path, array, engine.state.status.get(number), sorted(here)):
            yield here[record.task], Earlier(path, number, record)
