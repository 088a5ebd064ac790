"""A test job: an array of two elements of class ``default``, from its submission to its end."""

from __future__ import annotations

import json
import secrets
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hpcflow.schedulers.base import Element, Scheduler, SchedulerError, State, Submission
from hpcflow.schedulers.open import open_scheduler
from hpcflow.sites.checks import BAD, CLOCK_MAY_DIFFER, GOOD, NEEDED, UNKNOWN, Finding
from hpcflow.sites.schema import Site
from hpcflow.sites.scripts import Script, render
from hpcflow.sites.shell import literal

WIDTH = 2
_LOOK = """
import json, os, platform, shutil, socket, sys, time
element = os.environ.get("HPCFLOW_ELEMENT") or "0"
path = os.path.join(sys.argv[1], "element-" + element)
found = {"element": element, "host": socket.gethostname(), "time": time.time(), "python": platform.python_version(),
         "submit": shutil.which(sys.argv[2]) is not None, "cores": len(os.sched_getaffinity(0))}
with open(path + ".new", "w") as file:
    json.dump(found, file)
os.rename(path + ".new", path)
"""


def try_job(site: Site, directory: Path, patience: float) -> Iterator[Finding]:
    """Submit the array, wait for it, and yield what came of it.

    Parameters
    ----------
    directory
        Where a campaign is, or would be: the nodes must see it.
    patience
        Seconds to wait before the job is cancelled.
    """
    place = Path(tempfile.mkdtemp(prefix=".hpcflow-check-", dir=directory))
    scheduler = open_scheduler(site)
    try:
        yield from _try(site, scheduler, place, directory, patience)
    except SchedulerError as error:
        yield Finding("job", BAD, f"{error}")
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _try(site: Site, scheduler: Scheduler, place: Path, directory: Path, patience: float) -> Iterator[Finding]:
    name = "hfcheck" + secrets.token_hex(4)
    python = site.task_class("default").python or literal(sys.executable)
    command = [f"{python} -c {literal(_LOOK)}", f"{literal(str(place))} {NEEDED[site.scheduler.kind][0]}"]
    script = place / "job.sh"
    text = Script(name, "test of the site", WIDTH, directory, place, place, place, "r0", command=command)
    script.write_text(render(site, "default", text, directory))
    began = time.monotonic()
    job = scheduler.submit(Submission(script, name, WIDTH, None, place))
    whole = Element(job, None, name, State.QUEUED, "")
    pause = max(2.0, site.scheduler.min_interval) if site.scheduler.kind != "local" else 0.2
    reason = ""
    seen, absent = False, 0
    try:
        while time.monotonic() - began < patience:
            time.sleep(pause)
            found = _found(place)
            if len(found) == WIDTH:
                yield from _came(site, scheduler, job, name, found, time.monotonic() - began)
                return
            mine = [e for e in scheduler.listing() if e.name == name and e.job == job]
            reason = next((e.reason for e in mine if e.reason), reason)
            seen = seen or bool(mine)
            absent = 0 if mine else absent + 1  # queues without history do not show what has ended
            if all(e.state is State.ENDED for e in mine) and (
                mine or any(place.glob("*.out")) or (seen and absent > 1)
            ):
                time.sleep(pause)  # its files may be seen a little later
                found = _found(place)
                if len(found) == WIDTH:
                    continue
                states = ", ".join(sorted({e.native for e in mine})) or _ends(scheduler, job, name)
                how = f" ({states})" if states else ""
                yield Finding("job", BAD, f"job {job} ended{how} and left nothing in {directory}{_log(place)}")
                return
    except KeyboardInterrupt:
        scheduler.cancel([whole])
        raise
    scheduler.cancel([whole])
    why = f": {reason}" if reason else ""
    yield Finding("job", UNKNOWN, f"job {job} had not run after {patience:g} s{why}. It was cancelled; try --wait")


def _came(
    site: Site, scheduler: Scheduler, job: str, name: str, found: list[dict[str, Any]], seconds: float
) -> Iterator[Finding]:
    hosts = ", ".join(sorted({entry["host"] for entry in found}))
    versions = ", ".join(sorted({entry["python"] for entry in found}))
    yield Finding(
        "job", GOOD, f"{WIDTH} elements of job {job} ran on {hosts} within {seconds:.0f} s (Python {versions})"
    )
    apart = max((entry["time"] - entry["written"] for entry in found), key=abs)
    verdict = BAD if abs(apart) > CLOCK_MAY_DIFFER else GOOD
    yield Finding("node clock", verdict, f"differs from the file server's by {abs(apart):.1f} s")
    can = all(entry["submit"] for entry in found)
    says = site.scheduler.submit_from_nodes
    if site.scheduler.kind != "local":
        command = NEEDED[site.scheduler.kind][0]
        where = f"{command} is {'there' if can else 'not found'} on nodes"
        text = f"{where}, and scheduler.submit_from_nodes is {str(says).lower()}"
        yield Finding("chain", BAD if says and not can else GOOD if says == can else UNKNOWN, text)
        yield _explained(scheduler, job, name)


def _ends(scheduler: Scheduler, job: str, name: str) -> str:
    """How the elements ended in the words of accounting; nothing if it does not know."""
    elements = [Element(job, index, name, State.ENDED, "") for index in range(WIDTH)]
    return ", ".join(sorted({ending.native for ending in scheduler.endings(elements).values()}))


def _explained(scheduler: Scheduler, job: str, name: str) -> Finding:
    for _ in range(5):
        if ends := _ends(scheduler, job, name):
            return Finding("accounting", GOOD, f"knows how they ended: {ends}")
        time.sleep(1)
    return Finding("accounting", UNKNOWN, "knows nothing of them: causes of lost workers will be guessed less often")


def _found(place: Path) -> list[dict[str, Any]]:
    paths = [path for path in sorted(place.iterdir()) if path.name.startswith("element-") and path.suffix != ".new"]
    return [{**json.loads(path.read_text()), "written": path.stat().st_mtime} for path in paths]


def _log(place: Path) -> str:
    lines = [line for path in sorted(place.glob("*.out")) for line in path.read_text(errors="replace").splitlines()]
    return "".join(f"\n  {line}" for line in lines[-8:])
