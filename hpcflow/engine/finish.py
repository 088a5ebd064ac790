"""Finish: an array whose tasks are all decided becomes one sorted file, and its workplace goes."""

from __future__ import annotations

import shutil
from pathlib import Path

from hpcflow.database.files import write_whole
from hpcflow.database.results import write_results
from hpcflow.database.state import ArrayState
from hpcflow.engine.engine import Engine


def finish_array(engine: Engine, array: ArrayState) -> None:
    """Write the results, say so in the journal, remove the workplace. Safe to repeat at any point."""
    path = engine.path(array)
    engine.verify()
    write_results(path, array, engine.state.status[array.number])
    engine.record(
        "done",
        array=array.number,
        succeeded=array.succeeded,
        failed=array.failed,
        seconds=array.seconds,
        core_seconds=array.core_seconds,
        wasted=array.wasted,
        repeated=array.repeated,
        node_seconds=sum(max(0.0, w.last - w.hello) for w in array.workers.values() if w.hello),
    )
    failed = f", {array.failed} failed" if array.failed else ""
    if not array.call:
        engine.say(f"{array.key}: done, {array.succeeded} succeeded{failed}")
    clear_workplace(engine, array)


def clear_workplace(engine: Engine, array: ArrayState) -> None:
    """Join the scripts of an array's jobs and remove what only live arrays need."""
    path = engine.path(array)
    engine.verify()
    _join_scripts(path)
    work = path / "work"
    if work.exists():
        # Renamed first: a worker that starts now must find no work rather than half of it.
        gone = path / ".work-gone"
        shutil.rmtree(gone, ignore_errors=True)
        work.rename(gone)
    shutil.rmtree(path / ".work-gone", ignore_errors=True)
    array.cleared = not (path / ".work-gone").exists()
    engine.changed = True


def _join_scripts(path: Path) -> None:
    """``jobs/*/job.sh`` become one ``jobs.txt``, so that no file stays for each job."""
    jobs = path / "jobs"
    if not jobs.is_dir():
        return
    text = []
    for script in sorted(jobs.glob("*/job.sh")):
        text.append(f"#### {script.parent.name}/job.sh\n{script.read_text(errors='replace')}\n")
    if not (path / "jobs.txt").exists():
        write_whole(path / "jobs.txt", "".join(text).encode())
    shutil.rmtree(jobs, ignore_errors=True)


def clear_finished(engine: Engine) -> None:
    """Remove workplaces that are still there: after a kill, or because something was still writing in them."""
    for array in engine.state.campaign.arrays.values():
        if array.done and not array.cleared:
            clear_workplace(engine, array)
