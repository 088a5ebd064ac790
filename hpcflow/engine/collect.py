"""Collect: read what workers appended since the last tick, and count it.

Nothing is copied: the workers' files are the results as long as an array is live.
"""

from __future__ import annotations

import os
import shutil
from bisect import insort
from pathlib import Path
from typing import Any

from hpcflow.database import records
from hpcflow.database.state import FAILED, OPEN, SUCCEEDED, ArrayState, Flight, Loose, WorkerState, ranges
from hpcflow.engine.engine import Engine
from hpcflow.worker.verdict import kind_of

_BLOCK = 16 << 20

Repeats = dict[int, set[str]]
"""Tasks that turned out to have more than one result, and the workers that brought the later ones."""


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
    repeats: Repeats = {}
    for name, size in sorted(entries):
        worker = array.workers.get(name)
        if worker is None:
            job, element = origin(name)
            worker = array.workers[name] = WorkerState(job=job, element=element, grown=engine.now())
            engine.changed = True
        if size != worker.size:
            worker.size = size
            worker.grown = engine.now()
            if worker.settled:  # it was only asleep: what it takes from now on may have to be taken back
                worker.settled, worker.woke = False, True
    for name, size in sorted(entries):
        if size > array.workers[name].offset:
            _read(engine, array, out / name, name, array.workers[name], repeats)
    if repeats:
        _note_repeats(engine, array, repeats)


def origin(name: str) -> tuple[str, int]:
    """Job and element of a worker by the name of its file: it may die before it says hello."""
    job, _, rest = name.partition(".")
    element = rest.partition("-")[0]
    return (job, int(element)) if element.isdigit() else ("", 0)


def _read(engine: Engine, array: ArrayState, path: Path, name: str, worker: WorkerState, repeats: Repeats) -> None:
    status = engine.state.status[array.number]
    with open(path, "rb") as stream:
        stream.seek(worker.offset)
        base = worker.offset
        data = stream.read(_BLOCK)
        while True:
            for record in records.scan(data, worker.offset - base):
                _apply(engine, array, status, name, worker, record.header, repeats)
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
    repeats: Repeats,
) -> None:
    kind = header["kind"]
    if kind == "task":
        _task(engine, array, status, name, worker, header, repeats)
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
            # The first failures of a worker that left as broken are its own fault: decide acts on that.
            worker.broken = list(header["broken"])
            worker.progress = worker.charged = 0


def _task(
    engine: Engine,
    array: ArrayState,
    status: bytearray,
    name: str,
    worker: WorkerState,
    header: dict[str, Any],
    repeats: Repeats,
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
        taken = "taken" in header
        worker.worked = True
        keeper = array.kept.get(task, name)
        if attempt <= array.dropped.get(task, 0):
            array.wasted += cost  # somebody said that it is not wanted
        elif status[task] == SUCCEEDED or (keeper != name and keeper in array.workers):
            array.repeated += 1
            array.wasted += cost
            if task not in array.kept:
                repeats.setdefault(task, set()).add(name)
        elif not taken and header.get("files") and not _promote(engine, array, name, task, attempt, header["files"]):
            array.wasted += cost
            if status[task] == OPEN:
                array.loose[task] = Loose("lost")  # a result without its files is none
        else:
            if status[task] == FAILED:  # given up, but here it is
                array.failed -= 1
                array.reasons.pop(task, None)
            status[task] = SUCCEEDED
            array.succeeded += 1
            array.loose.pop(task, None)
            array.seconds += seconds
            if not taken:
                array.core_seconds += cost
            worker.progress += 1
        return
    reason = "unfinished" if header["state"] == "unfinished" else header.get("reason", "error")
    source = _checkpoint(engine, array, name, task, attempt)
    if reason == "unfinished" and source:
        array.core_seconds += cost
    else:
        array.wasted += cost
    seen = array.seen.setdefault(task, [])
    if attempt in seen:
        return
    seen.append(attempt)
    if status[task] != OPEN:
        return
    if reason == "unfinished":
        if source:
            worker.progress += 1
        elif attempt > array.forgiven.get(task, 0):
            worker.cut_short.append(task)
    else:
        if reason != "input changed" and attempt > array.forgiven.get(task, 0):
            charges = array.charges.setdefault(task, {})
            charges[reason] = charges.get(reason, 0) + 1
            kind = kind_of(header.get("message", ""))
            if reason == "error" and worker.worked and kind not in array.known:
                insort(array.known, kind)
            worker.progress += kind in array.known
            worker.charged += 1
    if attempt < array.attempts.get(task, 1):
        return  # it has been cut into a newer list already
    array.loose[task] = Loose(reason, source)
    if reason == "input changed" and not array.hold:
        engine.record("hold", array=array.number, reason="an input file has changed")
        engine.attention(
            f"array {array.number}",
            f"{array.key}: {header.get('message', 'an input file has changed')}. Put the file back as it was and type: "
            "hpcflow resume\nOr compute with what it holds now: hpcflow submit",
        )


def _note_repeats(engine: Engine, array: ArrayState, repeats: Repeats) -> None:
    """Journal whose result counts where there are several: the one that was accepted first, for ever."""
    out = engine.path(array) / "work" / "out"
    kept: dict[str, list[int]] = {}
    wanted = set(repeats)
    for name, worker in sorted(array.workers.items()):
        with open(out / name, "rb") as stream:
            data = stream.read(worker.offset)
        for record in records.scan(data):
            header = record.header
            if header["kind"] != "task" or header["task"] not in wanted or header["state"] != "succeeded":
                continue
            task = header["task"]
            if name not in repeats[task] and header["attempt"] > array.dropped.get(task, 0):
                kept.setdefault(name, []).append(task)
                wanted.discard(task)
    for task in wanted:  # one worker did it twice
        kept.setdefault(min(repeats[task]), []).append(task)
    spans = {name: ranges(sorted(tasks)) for name, tasks in sorted(kept.items())}
    engine.record("duplicate", array=array.number, kept=spans)


def _promote(
    engine: Engine, array: ArrayState, name: str, task: int, attempt: int, files: list[tuple[str, int, str]]
) -> bool:
    """Move what an accepted task keeps to where it stays; False if it is not there. Doing it twice does nothing."""
    path = engine.path(array)
    source = path / "work" / "out" / f"{name}.d" / f"{task}.{attempt}"
    target = path / "files" / str(task)
    if engine.read_only:
        return True
    if not source.exists():
        return all((target / kept).is_file() and (target / kept).stat().st_size == size for kept, size, _ in files)
    engine.verify()
    target.parent.mkdir(exist_ok=True)
    shutil.rmtree(target, ignore_errors=True)  # of an attempt whose record was lost with its worker's file
    os.rename(source, target)
    return True


def _checkpoint(engine: Engine, array: ArrayState, name: str, task: int, attempt: int) -> str:
    """The directory of an attempt relative to work/out, if there is anything in it to go on from."""
    relative = f"{name}.d/{task}.{attempt}"
    directory = engine.path(array) / "work" / "out" / relative
    try:
        return relative if any(os.scandir(directory)) else ""
    except OSError:
        return ""
