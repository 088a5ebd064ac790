"""Collect: read what workers appended since the last tick, and count it.

Nothing is copied: the workers' files are the results as long as an array is live.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from hpcflow.database import records
from hpcflow.database.state import FAILED, OPEN, SUCCEEDED, ArrayState, Flight, Loose, WorkerState
from hpcflow.engine.engine import Engine

_BLOCK = 16 << 20


def collect(engine: Engine) -> None:
    """Bring every live array up to date with its workers' files."""
    for array in list(engine.live_arrays()):
        collect_array(engine, array)


def collect_array(engine: Engine, array: ArrayState) -> None:
    """Read the new part of every worker file of one array."""
    out = engine.path(array) / "work" / "out"
    try:
        # Listing the directory, not testing names: an NFS client may remember for a while that a name was not there.
        entries = [(e.name, e.stat().st_size) for e in os.scandir(out) if not e.name.endswith(".d")]
    except FileNotFoundError:
        return
    for name, size in sorted(entries):
        worker = array.workers.get(name)
        if worker is None:
            worker = array.workers[name] = WorkerState(grown=engine.now())
            engine.changed = True
        if size != worker.size:
            worker.size = size
            worker.grown = engine.now()
        if size > worker.offset:
            _read(engine, array, out / name, name, worker)


def _read(engine: Engine, array: ArrayState, path: Path, name: str, worker: WorkerState) -> None:
    status = engine.state.status[array.number]
    with open(path, "rb") as stream:
        stream.seek(worker.offset)
        base = worker.offset
        data = stream.read(_BLOCK)
        while True:
            for record in records.scan(data, worker.offset - base):
                _apply(engine, array, status, name, worker, record.header)
                worker.offset = base + record.end
                engine.changed = True
            # A record may be longer than a block; read on only if there is more to read.
            more = stream.read(max(_BLOCK, len(data)))
            if not more:
                return
            data = data[worker.offset - base :] + more
            base = worker.offset


def _apply(
    engine: Engine,
    array: ArrayState,
    status: bytearray,
    name: str,
    worker: WorkerState,
    header: dict[str, Any],
) -> None:
    kind = header["kind"]
    if kind == "task":
        _task(engine, array, status, name, worker, header)
    elif kind == "start":
        worker.flight[str(header["slot"])] = Flight(header["list"], list(header["tasks"]))
        worker.last = header["time"]
    elif kind == "beat":
        worker.last = header["time"]
    elif kind == "hello":
        for key in ("job", "element", "host", "boot", "pid", "start", "slots", "cores", "gpus", "resources"):
            if key in header:
                setattr(worker, key, header[key])
        worker.scheduler_id = header.get("scheduler_id") or ""
        worker.hello = worker.last = header["time"]
    elif kind == "goodbye":
        worker.goodbye = header["reason"]
        worker.message = header.get("message", "")
        worker.last = header["time"]
        if header.get("broken"):
            _uncharge(array, status, worker, header["broken"])


def _task(
    engine: Engine,
    array: ArrayState,
    status: bytearray,
    name: str,
    worker: WorkerState,
    header: dict[str, Any],
) -> None:
    task, attempt = header["task"], header["attempt"]
    seconds = header.get("seconds", 0.0)
    cost = seconds * max(1, worker.cores)
    flight = worker.flight.get(str(header.get("slot", 0)))
    if flight is not None and task in flight.tasks:
        flight.tasks.remove(task)
    worker.recorded += 1
    worker.busy += seconds
    worker.last = max(worker.last, header.get("start", 0.0) + seconds)
    if header["state"] == "succeeded":
        if status[task] == OPEN:
            status[task] = SUCCEEDED
            array.succeeded += 1
            array.loose.pop(task, None)
            array.seconds += seconds
            if "taken" not in header:
                array.core_seconds += cost
            worker.progress += 1
            if header.get("files") and "taken" not in header:
                _promote(engine, array, name, task, attempt)
        elif status[task] == SUCCEEDED and array.kept.get(task) != name:
            array.repeated += 1
            array.wasted += cost
            if task not in array.kept:
                engine.record("duplicate", array=array.number, task=task, kept=_keeper(array, engine, task, name))
        else:
            array.wasted += cost
        return
    seen = array.seen.setdefault(task, [])
    if attempt in seen:
        return
    seen.append(attempt)
    if status[task] != OPEN:
        return
    if header["state"] == "unfinished":
        reason = "unfinished"
        source = _checkpoint(engine, array, name, task, attempt)
        if source:
            worker.progress += 1
            array.core_seconds += cost
        else:
            array.wasted += cost
            _note_unfinished(array, task)
    else:
        reason = header.get("reason", "error")
        source = _checkpoint(engine, array, name, task, attempt)
        array.wasted += cost
        if reason == "input changed":
            engine.attention(f"array {array.number}", header.get("message", "an input file has changed"))
            engine.record("hold", array=array.number, reason="an input file has changed")
        elif attempt > array.forgiven.get(task, 0):
            charges = array.charges.setdefault(task, {})
            charges[reason] = charges.get(reason, 0) + 1
    if attempt < array.attempts.get(task, 1):
        return  # it has been cut into a newer list already
    array.loose[task] = Loose(reason, source)


def _keeper(array: ArrayState, engine: Engine, task: int, newcomer: str) -> str:
    """Which other worker holds the result of a task that was counted first."""
    out = engine.path(array) / "work" / "out"
    for name, worker in sorted(array.workers.items()):
        if name == newcomer:
            continue
        with open(out / name, "rb") as stream:
            data = stream.read(worker.offset)
        for record in records.scan(data):
            header = record.header
            if header["kind"] == "task" and header["task"] == task and header["state"] == "succeeded":
                return name
    return newcomer


def _promote(engine: Engine, array: ArrayState, name: str, task: int, attempt: int) -> None:
    """Move what an accepted task keeps to where it stays. Doing it twice does nothing."""
    if engine.read_only:
        return
    engine.verify()
    path = engine.path(array)
    source = path / "work" / "out" / f"{name}.d" / f"{task}.{attempt}"
    target = path / "files" / str(task)
    if target.exists():
        return
    target.parent.mkdir(exist_ok=True)
    try:
        os.rename(source, target)
    except FileNotFoundError:
        engine.attention(
            f"array {array.number}",
            f"{source}: the files that task {task} of {array.key} kept are gone; compute it again with: "
            f"hpcflow drop --rerun {array.name}/{task}",
        )


def _checkpoint(engine: Engine, array: ArrayState, name: str, task: int, attempt: int) -> str:
    """The directory of an attempt relative to work/out, if there is anything in it to go on from."""
    relative = f"{name}.d/{task}.{attempt}"
    directory = engine.path(array) / "work" / "out" / relative
    try:
        return relative if any(os.scandir(directory)) else ""
    except OSError:
        return ""


def _note_unfinished(array: ArrayState, task: int) -> None:
    """Count attempts that ended with the walltime and left nothing to go on from."""
    escalation = array.escalation.setdefault(task, {})
    escalation["cut_short"] = escalation.get("cut_short", 0) + 1


def _uncharge(array: ArrayState, status: bytearray, worker: WorkerState, tasks: list[int]) -> None:
    """The first failures of a worker that left as broken are its own fault, once for each task."""
    worker.broken = list(tasks)
    worker.progress = 0
    for task in tasks:
        if task in array.broken:
            continue
        array.broken.append(task)
        charges = array.charges.get(task)
        if charges:
            charges["error"] = charges.get("error", 0) - 1
        if status[task] == FAILED:
            status[task] = OPEN
            array.failed -= 1
            array.reasons.pop(task, None)
            array.loose[task] = Loose("broken")
