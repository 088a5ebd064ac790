"""The tick of a worker that leaves: where a campaign drives itself, no stage waits for the next link of its chain.

It comes after the goodbye. Whatever becomes of it, no result depends on it: the next link finds what it did not do.
"""

from __future__ import annotations

import os
import select
import signal
import time

from hpcflow.worker.processes import SHELL, ended, reap, spawn
from hpcflow.worker.signals import Signals

SILENT_BEATS = 3
"""A worker whose file has not grown for so many beats is taken for gone."""
TAIL = 4096
"""Bytes at the end of a file among which its goodbye stands."""
LONGEST = 2400.0
"""Seconds after which a tick hangs: more than it may wait for its turn and for a call of the workflow."""


def last_at_work(array: str, name: str, beat: float) -> bool:
    """Return whether no other worker of the array is at work, as far as its file shows.

    Of those that leave at the same moment at least one finds so, because each has said its goodbye before it looks.
    If several do, the first that makes a link named after the number of workers so far is the one.

    Parameters
    ----------
    array
        The directory of the array.
    name
        The worker that asks; its file has just been written.
    beat
        Seconds between beats.
    """
    out = os.path.join(array, "work", "out")
    workers = 0
    try:
        # Compared with what the file server's clock says now, not with this node's.
        now = os.stat(os.path.join(out, name)).st_mtime
        for entry in os.scandir(out):
            if not entry.is_file(follow_symlinks=False):
                continue
            workers += 1
            if entry.name == name:
                continue
            with open(entry.path, "rb") as stream:
                status = os.fstat(stream.fileno())
                stream.seek(max(0, status.st_size - TAIL))
                if b'{"kind":"goodbye"' not in stream.read() and now - status.st_mtime < SILENT_BEATS * beat:
                    return False
        os.symlink(name, os.path.join(array, "work", "claims", f"tick.{workers}"))
    except OSError:
        return False  # somebody else ticks, or has done so: then the array is done, and nothing of this is there
    return True


def tick(command: str, end: float, signals: Signals) -> None:
    """Run a tick, for as long as this job may run and nobody tells it to stop.

    Parameters
    ----------
    command
        What the shell runs. It prints where this worker prints.
    end
        When the job ends, seconds since the epoch; 0 means never.
    signals
        Of the worker: any that means stop ends the tick, which may be killed at any point.
    """
    until = min(end or float("inf"), time.time() + LONGEST)
    null = os.open(os.devnull, os.O_RDONLY)
    try:
        pid = spawn([SHELL, "-c", command], dict(os.environ), (null, 1, 2))
    except OSError as error:
        print(f"no tick on the way out: {error}")
        return
    finally:
        os.close(null)
    while not ended(pid) and time.time() < until and not set(signals.take()) - {signal.SIGCHLD}:
        select.select([signals.fd], [], [], min(1.0, max(0.0, until - time.time())))
    reap(pid)
