"""What a slot has been given to do, and how it is asked to stop."""

from __future__ import annotations

import os
import signal
import time
from collections import deque
from collections.abc import Sequence
from typing import NamedTuple, Protocol

from hpcflow.worker.array import Array
from hpcflow.worker.claims import ChunkList
from hpcflow.worker.directories import Attempts
from hpcflow.worker.processes import send

READ = 1 << 16
"""Bytes read from a pipe at once."""
MOST_READS = 64
"""Reads of one pipe in a row: more than a pipe holds, so that a task that never stops printing cannot hold up
the worker."""


class Work(NamedTuple):
    """One attempt of one task."""

    list: ChunkList
    task: int
    attempt: int


class Setup(NamedTuple):
    """What all slots of a worker share."""

    array: Array
    worker: str
    scratch: str
    null: int
    """``/dev/null``, open for reading."""
    attempts: Attempts
    deadline: float
    """When tasks must have ended, seconds since the epoch; 0 means never."""
    task_walltime: float
    slot_command: tuple[str, ...]
    """Starts a slot process."""


class Flight:
    """The tasks that a slot has been given and not yet brought back, and how they were asked to stop."""

    def __init__(self) -> None:
        self.works: deque[Work] = deque()
        self.given = 0
        self.handed = 0.0
        self.started = 0.0
        """When the first of ``works`` began, as ``time.time``."""
        self.began = 0.0
        """The same as ``time.monotonic``."""
        self.boot = 0.0
        """The same in seconds since boot."""
        self.asked = ""
        """``stop`` or ``timeout`` once SIGTERM was sent."""
        self.again_at = 0.0
        self.kill_at = 0.0

    def give(self, works: Sequence[Work]) -> None:
        """Take a hand-over."""
        self.works.extend(works)
        self.given = len(works)
        self.next_begins(time.clock_gettime(time.CLOCK_BOOTTIME))
        self.handed = self.began

    def next_begins(self, boot: float) -> None:
        """Count the time of the next task from now."""
        self.started, self.began, self.boot = time.time(), time.monotonic(), boot
        self.asked = ""
        self.again_at = self.kill_at = 0.0


class Running(Protocol):
    """What both kinds of slot have in common."""

    pid: int
    flight: Flight
    signalled: bool


def ask(slot: Running, why: str, grace: float, twice: bool) -> None:
    """Ask the task of a slot to stop, and plan what follows if it does not."""
    flight = slot.flight
    now = time.monotonic()
    flight.asked = why
    flight.kill_at = now + grace
    # mpirun forwards the first SIGTERM and aborts its ranks at the second.
    flight.again_at = now + grace / 2 if twice else 0.0
    slot.signalled = True
    send(slot.pid, signal.SIGTERM)


def press(slot: Running, now: float) -> None:
    """Do what is due to a task that was asked to stop and has not."""
    flight = slot.flight
    if flight.kill_at and now >= flight.kill_at:
        flight.kill_at = flight.again_at = 0.0
        send(slot.pid, signal.SIGKILL)
    elif flight.again_at and now >= flight.again_at:
        flight.again_at = 0.0
        send(slot.pid, signal.SIGTERM)


def read(fd: int) -> bytes:
    """Return what a pipe holds; nothing if it is empty."""
    try:
        return os.read(fd, READ)
    except BlockingIOError:
        return b""
