"""Processes that tasks left behind: found among this process's children, and ended."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping, Sequence

_TICKS = os.sysconf("SC_CLK_TCK")
_TOLERANCE = 0.02  # seconds; start times are known in clock ticks of 0.01 s
_PATIENCE = 1.0
"""Seconds in which a process may still say where it comes from."""
_SCRATCH = b"HPCFLOW_SCRATCH="


def children() -> list[int]:
    """Return the pids of this process's children, adopted ones included."""
    own = os.getpid()
    try:
        # Unbuffered: this is read after every command.
        with open(f"/proc/self/task/{own}/children", "rb", buffering=0) as stream:
            return [int(word) for word in stream.readall().split()]
    except FileNotFoundError:  # a kernel without CONFIG_PROC_CHILDREN
        return [int(name) for name in os.listdir("/proc") if name.isdigit() and _parent(int(name)) == own]


def _status(pid: int) -> list[bytes]:
    """Return the fields of ``/proc/PID/stat`` from the third on; none if the process is gone."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            return stream.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return []


def _parent(pid: int) -> int:
    fields = _status(pid)
    return int(fields[1]) if fields else 0


def group(pid: int) -> int:
    """Return the process group of a process; 0 if it is gone."""
    fields = _status(pid)
    return int(fields[2]) if fields else 0


def start_ticks(pid: int) -> int:
    """Return when a process started, in clock ticks since boot; 0 if it is gone."""
    fields = _status(pid)
    return int(fields[19]) if fields else 0


def start_seconds(pid: int) -> float:
    """Return when a process started, in seconds since boot."""
    return start_ticks(pid) / _TICKS


def scratch_of(pid: int) -> str:
    """Return the value of ``HPCFLOW_SCRATCH`` that a process was started with, or an empty text."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as stream:
            environment = stream.read()
    except OSError:
        return ""  # gone, or it changed its user
    for entry in environment.split(b"\0"):
        if entry.startswith(_SCRATCH):
            return os.fsdecode(entry[len(_SCRATCH) :])
    return ""


class Orphans:
    """Ends what outlives its task.

    A process whose parent has died becomes a child of the worker (``adopt_orphans``). Which slot it came
    from is known by the scratch directory in its environment, or by its process group. Children that were
    there before (of the script that became this worker) are left alone.

    Parameters
    ----------
    scratch
        The worker's scratch directory.
    """

    def __init__(self, scratch: str) -> None:
        self._scratch = scratch
        self._spared = set(children())
        self._unknown: dict[tuple[int, float], float] = {}
        """When each process without a known slot was first seen, by pid and start; in seconds since boot."""

    def sweep(self, guard: int, slots: Mapping[int, int], busy: Mapping[int, float]) -> bool:
        """Reap the dead and kill those whose task has ended.

        Returns whether to look again soon: a process in the middle of an ``exec`` has no environment, and after
        a ``setsid`` its group says nothing either.

        Parameters
        ----------
        guard
            Pid of the worker's guard.
        slots
            Slot numbers by the pid of their process, which is also its process group.
        busy
            When (since boot) the current task of each busy slot began. Younger processes are its own.
        """
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        unknown, self._unknown = self._unknown, {}
        for pid in self._strangers((guard, *slots)):
            slot = self._slot(pid, slots)
            start = start_seconds(pid)
            seen = unknown.get((pid, start), now)
            if slot is None:
                self._unknown[pid, start] = seen  # one that hides well ends with the worker
            elif slot not in busy or min(start + _TOLERANCE, seen) < busy[slot]:
                _kill(pid)
        return any(now < seen + _PATIENCE for seen in self._unknown.values())

    def end(self, guard: int) -> bool:
        """Kill all that is left but the guard; return whether there was anything."""
        strangers = self._strangers((guard,))
        for pid in strangers:
            _kill(pid)
        return bool(strangers)

    def _strangers(self, known: Sequence[int]) -> list[int]:
        """Return the adopted children that live, and reap those that do not."""
        listed = children()
        if not self._spared and len(listed) == len(known):
            return []  # the usual case, after every command
        mine = set(listed)
        self._spared &= mine
        return [pid for pid in mine.difference(known, self._spared) if not _reaped(pid)]

    def _slot(self, pid: int, slots: Mapping[int, int]) -> int | None:
        folder, name = os.path.split(scratch_of(pid))
        number = name.partition(".")[0]
        if folder == self._scratch and number.isdigit():
            return int(number)
        return slots.get(group(pid))


def _reaped(pid: int) -> bool:
    return os.waitpid(pid, os.WNOHANG)[0] == pid


def _kill(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except PermissionError:
        pass  # it changed its user, as a set-uid program does: not ours to end
