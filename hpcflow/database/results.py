"""Accepted records of an array: read them while it is live, write them as one sorted file when it is done."""

from __future__ import annotations

import json
import mmap
import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from hpcflow.database import records
from hpcflow.database.files import sync_directory
from hpcflow.database.state import FAILED, OPEN, SUCCEEDED, ArrayState

_OFFSET = struct.Struct("<Q")
_HOST = struct.Struct("<I")
_BUFFER = 1 << 20


class Accepted(NamedTuple):
    """The record that decides one task."""

    task: int
    header: dict[str, Any]
    payload: bytes

    @property
    def result(self) -> Any:
        """The JSON value that the task returned."""
        return records.parts(self.header, self.payload)[0]

    @property
    def frames(self) -> bytes:
        """The frames that the task returned, as extended XYZ."""
        return records.parts(self.header, self.payload)[1]

    @property
    def output(self) -> str:
        """What a failed task printed: the first and last part of it."""
        return records.parts(self.header, self.payload)[2].decode("utf-8", "replace")


def _map(path: Path) -> bytes | mmap.mmap:
    with open(path, "rb") as stream:
        if os.fstat(stream.fileno()).st_size == 0:
            return b""
        return mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)


def read_results(array: Path, tasks: Iterable[int] | None = None) -> Iterator[Accepted]:
    """Yield the records of a finished array, of all tasks or of some, in the order asked for."""
    data = _map(array / "results")
    head = json.loads(data[: data.find(b"\n")])
    hosts, table = head["hosts"], head["index"] + _OFFSET.size * head["tasks"]
    for task in range(head["tasks"]) if tasks is None else tasks:
        (start,) = _OFFSET.unpack_from(data, head["index"] + _OFFSET.size * task)
        (host,) = _HOST.unpack_from(data, table + _HOST.size * task)
        yield _at(data, start, hosts[host])


def _at(data: bytes | mmap.mmap, start: int, host: str) -> Accepted:
    newline = data.find(b"\n", start)
    header = json.loads(data[start:newline])
    header.setdefault("host", host)  # a result that was taken over brings its own
    payload = data[newline + 1 : newline + 1 + header["bytes"]]
    return Accepted(header["task"], header, payload)


def read_live(array: Path, state: ArrayState, status: bytearray, tasks: Iterable[int]) -> Iterator[Accepted]:
    """Yield the accepted records of some decided tasks of a live array, in the order asked for."""
    wanted = list(tasks)
    files: dict[str, bytes | mmap.mmap] = {}
    try:
        places = _locate(array, state, status, files)
    except FileNotFoundError:  # a tick has just finished the array
        yield from read_results(array, wanted)
        return
    for task in wanted:
        if task in places:
            worker, start, _ = places[task]
            yield _at(files[worker], start, state.workers[worker].host)


def read_records(array: Path, state: ArrayState, status: bytearray | None, tasks: Iterable[int]) -> Iterator[Accepted]:
    """Yield accepted records of some tasks, wherever they are now, in the order asked for."""
    if state.done or status is None:
        return read_results(array, tasks)
    return read_live(array, state, status, tasks)


def _locate(
    array: Path, state: ArrayState, status: bytearray, files: dict[str, bytes | mmap.mmap]
) -> dict[int, tuple[str, int, int]]:
    """Where the record that decides each task begins and ends: (worker, start, end)."""
    places: dict[int, tuple[str, int, int]] = {}
    ranks: dict[int, tuple[int, int]] = {}
    for worker in sorted(state.workers):
        known = state.workers[worker]
        data = files.setdefault(worker, _map(array / "work" / "out" / worker))
        start = 0
        while start < known.offset:
            newline = data.find(b"\n", start)
            header = json.loads(data[start:newline])
            end = newline + 1 + header["bytes"] + 1
            if header["kind"] == "task":
                task = header["task"]
                succeeded = header["state"] == "succeeded"
                if header["attempt"] <= state.dropped.get(task, 0):  # the user's reason counts, not that of a try
                    start = end
                    continue
                decides = succeeded if status[task] == SUCCEEDED else (status[task] == FAILED and not succeeded)
                # Of several good results the one that was accepted first counts; of failures the last attempt.
                rank = (int(state.kept.get(task) == worker), 0 if succeeded else header["attempt"])
                if decides and (task not in places or rank > ranks[task]):
                    places[task], ranks[task] = (worker, start, end), rank
            start = end
    return places


def write_results(array: Path, state: ArrayState, status: bytearray) -> None:
    """Write ``results`` of an array whose tasks are all decided, whole; what a kill left behind is replaced.

    The bytes depend only on the accepted records, so whoever writes it writes the same.
    """
    if OPEN in status:
        raise ValueError(f"{array.name}: some tasks are not decided")
    files: dict[str, bytes | mmap.mmap] = {}
    places = _locate(array, state, status, files)
    head: dict[str, Any] = {
        "hpcflow": "results",
        "version": 1,
        "tasks": state.count,
        "succeeded": state.succeeded,
        "failed": state.failed,
        "seconds": round(state.seconds, 6),
        "core_seconds": round(state.core_seconds, 6),
        "wasted": round(state.wasted, 6),
        "repeated": state.repeated,
        "hosts": sorted({"", *(state.workers[worker].host for worker, _, _ in places.values())}),
    }
    numbers = {host: number for number, host in enumerate(head["hosts"])}
    missing = {t: _without_record(state, t) for t in range(state.count) if t not in places}
    size = sum(end - start for _, start, end in places.values()) + sum(map(len, missing.values()))
    # The header's own length depends on the number it holds; a fixed width for it settles that.
    length = len(json.dumps({**head, "index": 0})) - 1 + 20 + 1
    line = json.dumps(head)[:-1] + f', "index": {length + size:>20}}}\n'
    temporary = array / ".results.tmp"
    index, ran_on = bytearray(), bytearray()
    offset = len(line)
    with open(temporary, "wb", buffering=_BUFFER) as stream:
        stream.write(line.encode())
        for task in range(state.count):
            index += _OFFSET.pack(offset)
            if task in places:
                worker, start, end = places[task]
                host = state.workers[worker].host
                stream.write(files[worker][start:end])
                offset += end - start
            else:
                host = ""
                stream.write(missing[task])
                offset += len(missing[task])
            ran_on += _HOST.pack(numbers[host])
        if offset != length + size:
            raise AssertionError("the results header does not match what was written")
        stream.write(index + ran_on)
        stream.flush()
        os.fsync(stream.fileno())
    os.rename(temporary, array / "results")
    sync_directory(array)


def _without_record(state: ArrayState, task: int) -> bytes:
    """The record of a task that was given up without one of its own."""
    reason = state.reasons.get(task, "lost")
    return records.encode({"kind": "task", "task": task, "attempt": 0, "state": "failed", "reason": reason})


def worker_records(array: Path, state: ArrayState, task: int) -> Iterator[tuple[Accepted, str]]:
    """Every record of one task of a live array, with the worker that wrote it."""
    for worker in sorted(state.workers):
        data = _map(array / "work" / "out" / worker)
        for record in records.scan(data[: state.workers[worker].offset]):
            if record.header["kind"] == "task" and record.header["task"] == task:
                yield Accepted(task, record.header, data[record.payload : record.end - 1]), worker
