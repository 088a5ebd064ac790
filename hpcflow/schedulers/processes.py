"""What /proc says about the processes of this user that belong to local jobs.

A local job leaves no trace but its processes: each carries its job and element in its
environment, so nothing has to be remembered between two runs of the engine, and a process that
was started by an engine killed a moment later is still found.
"""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

JOB = "HPCFLOW_JOB"
ELEMENT = "HPCFLOW_ELEMENT"
LEADER = "HPCFLOW_LEADER"
"""Pid of the element's own process; whatever it starts inherits the variable but not the pid."""
START = "HPCFLOW_START"
"""When a delayed element starts its script, in seconds since the epoch."""

_PROC = Path("/proc")
_MARKS = (JOB.encode(), ELEMENT.encode(), LEADER.encode())
_IN_JSON = re.compile(rb'"(HPCFLOW_[A-Z]+)=([^"\\]*)"')
_KERNEL_THREAD = 0x00200000  # PF_KTHREAD in the flags of /proc/PID/stat
_GONE = "ZXx"


class Stat(NamedTuple):
    """The fields of /proc/PID/stat that matter here."""

    state: str
    session: int
    start: int
    """Clock ticks since boot: together with the pid it names a process for good."""
    bare: bool
    """It has no environment, and does not only hide it while it becomes another program."""


class Carrier(NamedTuple):
    """A living process with the variables of an element of a local job."""

    pid: int
    job: str
    element: int
    leader: int
    starts: float | None


def stat(pid: int) -> Stat | None:
    """Return what /proc says of a process, or None if there is none."""
    try:
        text = (_PROC / str(pid) / "stat").read_bytes()
    except OSError:
        return None
    fields = text[text.rfind(b")") + 2 :].split()  # the name before may hold spaces and parentheses
    start, end = int(fields[47]), int(fields[48])  # of the environment in memory; 0 during execve(2)
    bare = bool(int(fields[6]) & _KERNEL_THREAD) or 0 < start == end
    state = fields[0].decode()
    if state == "Z" and int(fields[17]) > 1:
        # Another thread than the first calls execve(2): the kernel ends the first before that one takes its place.
        # Programs in Go do so, container engines for example (seen: up to 10 ms).
        state = "R"
    return Stat(state, int(fields[3]), int(fields[19]), bare)


def alive(pid: int, start: int | None = None) -> bool:
    """Whether a process lives; a zombie does not, nor does another process with the same pid."""
    found = stat(pid)
    return found is not None and found.state not in _GONE and start in (None, found.start)


def carriers() -> list[Carrier]:
    """Return every living process of this user that belongs to a local job, on this host."""
    found = []
    for pid, environ in _environments():
        pause = 0.001
        while not (carrier := _carrier(pid, environ)) and pause < 0.5 and _settling(pid, environ, pause):
            time.sleep(pause)
            pause *= 2
            environ = _environ(pid) or b""
        if carrier:
            found.append(carrier)
    return found


def leaders(found: list[Carrier]) -> Iterator[Carrier]:
    """Yield one carrier for each element whose own process, its leader, lives.

    The leader itself may be hidden (a set-user-id container starter hides its environment), so
    any process of the element may speak for it. A pid that was given out again does not count:
    the leader is older than what it started.
    """
    seen = set()
    for carrier in sorted(found, key=lambda c: c.pid != c.leader):  # leaders first: they need no check
        key = (carrier.job, carrier.element, carrier.leader)
        if key in seen:
            continue
        leader = stat(carrier.leader)
        if leader is None or leader.state in _GONE or leader.session != carrier.leader:
            continue
        own = leader if carrier.pid == carrier.leader else stat(carrier.pid)
        if own is not None and own.start >= leader.start:
            seen.add(key)
            yield carrier


def send(pid: int, number: int, *, group: bool = False) -> None:
    """Send a signal to a process or to the group it leads; one that is gone is no error."""
    try:
        if group:
            os.killpg(pid, number)
        else:
            os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        # PermissionError: the pid went to somebody else's process in the meantime.
        return


def finish(job: str, element: int, grace: float) -> None:
    """Wait until an element that was asked to stop is gone; after ``grace`` seconds, kill it.

    Runs in a process of its own, so that a cancelled job ends even if no engine runs again.
    """
    deadline = time.monotonic() + grace
    while mine := [c for c in carriers() if (c.job, c.element) == (job, element)]:
        over = time.monotonic() - deadline
        if over > 60:
            return  # SIGKILL did not help: it hangs in the kernel and dies when that lets go
        if over > 0:
            for pid in {c.pid for c in mine} | {c.leader for c in leaders(mine)}:
                send(pid, signal.SIGKILL)
        time.sleep(0.5 if grace > 2 else 0.05)


def values(variable: str) -> list[str]:
    """Return the values of an environment variable in the processes of this user that have it."""
    mark = variable.encode() + b"="
    parts = (part for _, environ in _environments() if mark in environ for part in environ.split(b"\0"))
    return [os.fsdecode(part[len(mark) :]) for part in parts if part.startswith(mark)]


def _environments() -> Iterator[tuple[int, bytes]]:
    user = os.geteuid()
    with os.scandir(_PROC) as entries:
        for entry in entries:
            if entry.name.isdigit():
                try:
                    mine = entry.stat().st_uid == user
                except OSError:
                    continue  # gone since the directory was read
                if mine and (environ := _environ(int(entry.name))) is not None:
                    yield int(entry.name), environ


def _environ(pid: int) -> bytes | None:
    """Return the environment a process started its program with; None if it is gone or hidden."""
    try:
        return (_PROC / str(pid) / "environ").read_bytes()
    except ProcessLookupError:
        return b""  # it has no memory: it is gone, or for a moment on its way to another program (seen: Linux 6.18)
    except OSError:
        return None


def _settling(pid: int, environ: bytes, waited: float) -> bool:
    """Whether an element's own process may be in the middle of becoming another program.

    job.sh becomes the worker with execve(2), and must not look gone while it does: for a moment,
    which is long on a busy machine, there is no environment (seen: more than 30 ms), and while
    bash reads the variables, ``=`` is a zero byte in one of them (seen).
    """
    if environ:
        return _halved(environ)
    found = stat(pid)
    if found is None or found.state in _GONE or found.session != pid:
        return False
    return not found.bare or waited < 0.01


def _carrier(pid: int, environ: bytes) -> Carrier | None:
    if JOB.encode() + b"=" not in environ or _halved(environ):  # most processes: not taken apart
        return None
    # While Apptainer starts a container, the variables stand in one variable of its starter, as JSON (seen: 1.4.5).
    passed_on = dict(_IN_JSON.findall(environ))
    variables = passed_on | dict(part.split(b"=", 1) for part in environ.split(b"\0") if b"=" in part)
    try:
        job = os.fsdecode(variables[JOB.encode()])
        element = int(variables[ELEMENT.encode()])
        leader = int(variables.get(LEADER.encode(), pid))
        starts = float(variables[START.encode()]) if START.encode() in variables else None
    except (KeyError, ValueError):
        return None  # somebody else's variable of the same name
    return Carrier(pid, job, element, leader, starts)


def _halved(environ: bytes) -> bool:
    return any(mark + b"\0" in environ for mark in _MARKS)
