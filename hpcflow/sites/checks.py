"""What ``hpcflow sites check`` looks at: whether a site is on this machine what its file says.

Nothing here changes anything; what it writes is removed again. The test job is in ``trial.py``.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hpcflow.database.lock import Lock
from hpcflow.errors import Busy, UserError
from hpcflow.schedulers import commands
from hpcflow.schedulers.base import Limits, Scheduler, SchedulerError, State
from hpcflow.schedulers.open import open_scheduler
from hpcflow.sites.rules import validate
from hpcflow.sites.schema import Site
from hpcflow.sites.scripts import Script, module_line, render

GOOD, BAD, UNKNOWN = "good", "bad", "unknown"

NEEDED = {
    "slurm": ("sbatch", "squeue", "scancel"),
    "pbs": ("qsub", "qstat", "qdel"),
    "lsf": ("bsub", "bjobs", "bkill"),
    "local": ("sh",),
}
USEFUL = {"slurm": ("sacct", "scontrol", "sacctmgr")}

LITTLE_SPACE = 200 << 20
FEW_FILES = 2000
"""Bytes and files that a small campaign needs."""

CLOCK_MAY_DIFFER = 5.0
"""Seconds between two clocks that are worth a word: beats and settle times are judged by one clock at a time."""

_RACERS = 4
_RACE = """
import os, sys
won = 0
for number in range(200):
    try:
        os.symlink(sys.argv[2], os.path.join(sys.argv[1], str(number)))
        won += 1
    except FileExistsError:
        pass
print(won)
"""


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    verdict: str
    """``good``, ``bad``, or ``unknown`` where it cannot be told from here."""
    text: str


def check_site(site: Site, directory: Path) -> Iterator[Finding]:
    """Yield what is found about a site from this machine.

    Parameters
    ----------
    directory
        Where a campaign is, or would be.
    """
    yield from _rules(site)
    missing = [name for name in NEEDED[site.scheduler.kind] if _which(site, name) is None]
    if missing:
        title = site.title or site.name
        yield Finding(
            "commands",
            BAD,
            f"{', '.join(missing)} not found on this machine (PATH={_path(site)}). Is it a login node of {title}, and "
            "is the scheduler's module loaded? Queue, partitions and limits cannot be checked without",
        )
    else:
        yield _commands(site)
        scheduler = open_scheduler(site)
        yield _queue(scheduler)
        yield _limits(site, scheduler)
        if site.scheduler.kind == "slurm":
            yield from _accepted(site, directory)
    yield from _modules(site)
    yield from _files(directory)


def _path(site: Site) -> str:
    return site.scheduler.environment.get("PATH") or os.environ.get("PATH", os.defpath)


def _which(site: Site, name: str) -> str | None:
    return shutil.which(name, path=_path(site))


def _rules(site: Site) -> Iterator[Finding]:
    problems = []
    for name in site.classes:
        try:
            validate(site, name)
        except UserError as error:
            problems += str(error).splitlines()
    for problem in dict.fromkeys(problems):
        yield Finding("site file", BAD, problem)
    if not problems:
        account = f", account {site.account}" if site.account else ""
        yield Finding("site file", GOOD, f"classes {', '.join(site.classes)} break no rule of {site.name}{account}")


def _commands(site: Site) -> Finding:
    kind = site.scheduler.kind
    lacking = [name for name in USEFUL.get(kind, ()) if _which(site, name) is None]
    found = f"{', '.join(NEEDED[kind])} found in {os.path.dirname(_which(site, NEEDED[kind][0]) or '')}"
    if lacking:
        return Finding(
            "commands", UNKNOWN, f"{found}; {', '.join(lacking)} not: causes and limits are known only in part"
        )
    return Finding("commands", GOOD, found)


def _queue(scheduler: Scheduler) -> Finding:
    began = time.monotonic()
    try:
        elements = scheduler.listing()
    except SchedulerError as error:
        return Finding("queue", BAD, f"the scheduler gave no good answer: {error}")
    alive = sum(1 for element in elements if element.state is not State.ENDED)
    seconds = time.monotonic() - began
    return Finding("queue", GOOD, f"answers in {seconds:.1f} s; {alive} elements of yours are queued or running")


def _limits(site: Site, scheduler: Scheduler) -> Finding:
    try:
        cluster = scheduler.limits()
    except SchedulerError as error:
        cluster = Limits()
        note = f" ({error})"
    else:
        note = ""
    words = {"submit": "queued and running", "running": "running", "array": "in one array"}
    said = []
    worse = False
    for name, word in words.items():
        own, found = getattr(site.limits, name), getattr(cluster, name)
        if own is not None and found is not None and own > found:
            worse = True
            said.append(f"{word}: {own} in the site file, but the cluster allows {found}")
        elif own is not None or found is not None:
            said.append(f"{word}: {found if own is None else own} ({'cluster' if own is None else 'site file'})")
    text = "elements " + "; ".join(said) if said else "none known; at most 16 elements at once are used"
    return Finding("limits", BAD if worse else UNKNOWN if note else GOOD, text + note)


def _accepted(site: Site, directory: Path) -> Iterator[Finding]:
    """Have sbatch look at the script of each class, without submitting it."""
    answers: dict[tuple[str, str], list[str]] = {}
    for name in site.classes:
        answers.setdefault(_test_only(site, name, directory), []).append(name)
    for (verdict, text), names in answers.items():
        yield Finding("submission", verdict, f"{', '.join(names)}: {text}")


def _test_only(site: Site, name: str, directory: Path) -> tuple[str, str]:
    path = directory / ".hpcflow" / "arrays" / "0001-check"
    script = Script("hpcflow-check", "check", 1, directory, path, path, path, "r0")
    try:
        text = render(site, name, script, directory)
    except UserError as error:
        return BAD, str(error)
    with tempfile.NamedTemporaryFile("w", suffix=".sh") as file:
        file.write(text)
        file.flush()
        variables = commands.environment(site.scheduler.environment)
        try:
            reply = commands.run(["sbatch", "--test-only", file.name], env=variables, timeout=60)
        except SchedulerError as error:
            return BAD, str(error)
    lines = [line for line in reply.said.splitlines() if line.strip()]
    if reply.exit_code == 0:
        return GOOD, "partition, account and resources are accepted (sbatch --test-only)"
    return BAD, f"sbatch --test-only: {lines[-1] if lines else reply.fate}"


def _modules(site: Site) -> Iterator[Finding]:
    """Load the modules of every class in a shell of the kind that jobs have."""
    loads: dict[tuple[str, ...], list[str]] = {}
    for name, task_class in site.classes.items():
        lines = tuple(module_line(entry) for e in (site.environment, task_class.environment) for entry in e.modules)
        if lines:
            loads.setdefault(lines, []).append(name)
    for lines, names in loads.items():
        command = [*shlex.split(site.shell), "-c", " && ".join(lines)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            yield Finding("modules", BAD, f"{', '.join(names)}: {error}")
            continue
        said = (done.stderr or done.stdout).strip().splitlines()
        # Some module systems complain and return 0.
        failed = done.returncode != 0 or any("error" in line.lower() for line in said)
        what = "; ".join(lines)
        if failed:
            yield Finding("modules", BAD, f"{', '.join(names)}: {what}: {said[-1] if said else 'failed'}")
        else:
            yield Finding("modules", GOOD, f"{', '.join(names)}: {what}")


def _files(directory: Path) -> Iterator[Finding]:
    """Whether the file system does what the database relies on, and has room."""
    try:
        place = tempfile.mkdtemp(prefix=".hpcflow-check-", dir=directory)
    except OSError as error:
        yield Finding("directory", BAD, f"{directory}: {error.strerror}")
        return
    try:
        for what, look in (("claims", _race), ("lock", _lock), ("clock", _clock), ("space", _space)):
            try:
                yield look(Path(place))
            except OSError as error:
                yield Finding(what, BAD, f"{directory}: {error.strerror or error}")
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _race(place: Path) -> Finding:
    """Several processes create the same symbolic links: each must be won by exactly one."""
    (place / "race").mkdir()
    racers = [
        subprocess.Popen(
            [sys.executable, "-c", _RACE, str(place / "race"), str(number)], stdout=subprocess.PIPE, text=True
        )
        for number in range(_RACERS)
    ]
    won = sum(int(racer.communicate()[0] or 0) for racer in racers)
    if won != 200:
        return Finding("claims", BAD, f"{place.parent}: of 200 links that {_RACERS} processes made, {won} had a winner")
    return Finding("claims", GOOD, f"{place.parent}: of {_RACERS} processes that create one name, one succeeds")


def _lock(place: Path) -> Finding:
    with Lock(place / "lock"):
        try:
            with Lock(place / "lock"):
                return Finding("lock", BAD, f"{place.parent}: two hold the lock at once")
        except Busy:
            return Finding("lock", GOOD, f"{place.parent}: one holder at a time (this machine)")


def _clock(place: Path) -> Finding:
    probe = place / "clock"
    before = time.time()
    probe.write_bytes(b"")
    difference = probe.stat().st_mtime - before
    if abs(difference) > CLOCK_MAY_DIFFER:
        return Finding("clock", BAD, f"the file server's clock differs from this machine's by {difference:.0f} s")
    return Finding("clock", GOOD, f"the file server's clock differs by {abs(difference):.1f} s")


def _space(place: Path) -> Finding:
    # What a quota forbids shows in writing, and not in what the file system says it has.
    (place / "block").write_bytes(os.urandom(1 << 20))
    with open(place / "block", "rb") as stream:
        os.fsync(stream.fileno())
    status = os.statvfs(place)
    free = status.f_bavail * status.f_frsize
    files = status.f_favail if status.f_files else None
    text = f"{free / 1e9:.1f} GB free" + ("" if files is None else f", {files} files may be made")
    little = free < LITTLE_SPACE or (files is not None and files < FEW_FILES)
    quota = _quota()
    return Finding("space", BAD if little else GOOD, f"{place.parent}: {text}{quota}")


def _quota() -> str:
    """What the usual command says of this user's quota, where it says anything."""
    if shutil.which("quota") is None:
        return ""
    try:
        reply = subprocess.run(["quota", "-w"], capture_output=True, text=True, timeout=20, check=False)
    except subprocess.TimeoutExpired:
        return "\n  quota: gave no answer"
    lines = reply.stdout.strip().splitlines()
    return "".join(f"\n  quota: {line.strip()}" for line in lines[-3:])
