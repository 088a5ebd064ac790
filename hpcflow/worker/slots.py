"""The worker's side of its slots: processes for Python functions, and shell commands."""

from __future__ import annotations

import json
import os
import signal
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from hpcflow.worker.array import Array
from hpcflow.worker.claims import ChunkList
from hpcflow.worker.commands import command_of
from hpcflow.worker.directories import Attempts, Scratch
from hpcflow.worker.messages import Message, unpack
from hpcflow.worker.output import Ring, Splitter
from hpcflow.worker.processes import SHELL, reap, send, spawn
from hpcflow.worker.resources import Share

READ = 1 << 16
MOST_READS = 64
"""Reads of one pipe in a row: more than a pipe holds, so that a task that never stops printing cannot hold up
the worker."""


class Work(NamedTuple):
    """One attempt of one task."""

    list: ChunkList
    task: int
    attempt: int


@dataclass(frozen=True)
class Setup:
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


class PythonSlot:
    """A process that runs an array's Python function, started when first needed.

    Parameters
    ----------
    share
        What it may use.
    setup
        What all slots share.
    environment
        The environment of its tasks.
    """

    def __init__(self, share: Share, setup: Setup, environment: dict[str, str]) -> None:
        self.share = share
        self.number = share.number
        self.pid = 0
        self.ready = False
        self.used = False
        """Whether it was ever given a task."""
        self.signalled = False
        """Whether SIGTERM was ever sent to this process."""
        self.excuse = ""
        """Why the process says it cannot start."""
        self.delivered = True
        """Whether the process could read what it was given last."""
        self.leaving = False
        """Whether the process said that it ends."""
        self.flight = Flight()
        self.answers = self.output = -1
        self.splitter = Splitter(b"")
        self._setup = setup
        self._environment = {**environment, "HPCFLOW_SCRATCH": os.path.join(setup.scratch, str(self.number))}
        self._orders = -1
        self._buffer = bytearray()
        self._list = 0

    def start(self) -> None:
        """Start the process; it says when it is ready."""
        mark = b"\0" + os.urandom(8).hex().encode()
        orders, self._orders = os.pipe()
        self.answers, answers = os.pipe()
        self.output, output = os.pipe()
        setup = self._setup
        words = (setup.array.path, setup.worker, str(self.number), setup.scratch, str(orders), str(answers))
        try:
            self.pid = spawn(
                [*setup.slot_command, *words, mark.hex(), str(setup.task_walltime)],
                self._environment,
                (setup.null, output, output),
                passed=(orders, answers),
                cpus=self.share.cpus,
            )
        except OSError:
            self._close()
            raise
        finally:
            for fd in (orders, answers, output):
                os.close(fd)
        for fd in (self.answers, self.output):
            os.set_blocking(fd, False)
        self.splitter = Splitter(mark)
        self._buffer.clear()
        self.ready = self.signalled = self.leaving = False
        self.excuse = ""
        self._list = 0

    def give(self, works: Sequence[Work]) -> None:
        """Hand tasks of one list over."""
        entry = works[0].list
        order: dict[str, Any] = {
            "list": entry.number,
            "tasks": [work.task for work in works],
            "attempts": [work.attempt for work in works],
            "from": {str(w.task): entry.origin(w.task) for w in works if entry.origin(w.task)},
        }
        if entry.number != self._list:
            order["parameters"] = {**self._setup.array.parameters, **entry.parameters}
            self._list = entry.number
        self.used = True
        self.delivered = True
        self.flight.give(works)
        rest = memoryview(json.dumps(order).encode() + b"\n")
        try:
            while rest:
                rest = rest[os.write(self._orders, rest) :]
        except BrokenPipeError:
            self.delivered = False  # it has just died, which SIGCHLD tells too

    def leave(self) -> None:
        """Count on this process no more: it is about to end."""
        self.ready = False
        self.leaving = True

    def read_answers(self) -> list[Message]:
        """Return the answers that have arrived."""
        data = _read(self.answers)
        while data:
            self._buffer += data
            # A short read means that the pipe is empty.
            data = _read(self.answers) if len(data) == READ else b""
        return list(unpack(self._buffer))

    def read_output(self) -> bool:
        """Take some of what was printed; return whether there was anything."""
        data = _read(self.output)
        if data:
            self.splitter.feed(data)
        return bool(data)

    def output_of_task(self) -> bytes:
        """Return what the task printed whose answer has just arrived."""
        while not self.splitter.finished and self.read_output():
            pass
        return self.splitter.take()

    def output_since_mark(self) -> bytes:
        """Return what a process that died printed since its last answer."""
        for _ in range(MOST_READS):
            if not self.read_output():
                break
        return self.splitter.rest()

    def bury(self) -> int:
        """Reap the ended process and return its exit status or minus its signal."""
        code = reap(self.pid)
        self.pid = 0
        self.ready = False
        self._close()
        return code

    def _close(self) -> None:
        for fd in (self._orders, self.answers, self.output):
            os.close(fd)
        self.answers = self.output = -1


class CommandSlot:
    """Runs shell commands, one at a time.

    Parameters
    ----------
    share
        What it may use.
    setup
        What all slots share.
    environment
        The environment of its tasks.
    """

    def __init__(self, share: Share, setup: Setup, environment: dict[str, str]) -> None:
        self.share = share
        self.number = share.number
        self.pid = 0
        self.ready = True
        self.used = False
        self.signalled = False
        self.flight = Flight()
        self._setup = setup
        self._environment = environment
        self._scratch = Scratch(setup.scratch, self.number)
        self.stdout, self._stdout = os.pipe()
        self.stderr, self._stderr = os.pipe()
        for fd in (self.stdout, self.stderr):
            os.set_blocking(fd, False)
        self._printed = Ring()
        self._both = Ring()
        self._errors = Ring()

    def give(self, works: Sequence[Work]) -> None:
        """Start the command of one task. Whatever its input makes impossible is raised."""
        (work,) = works
        self.used = True
        self.signalled = False
        self._printed, self._both, self._errors = Ring(), Ring(), Ring()
        self.flight.give(works)
        setup = self._setup
        directory = self._scratch.path
        if setup.attempts.needed:
            directory = setup.attempts.prepare(work.task, work.attempt, work.list.origin(work.task))
        command = command_of(setup.array, work.task, work.list.parameters, directory)
        environment = {
            **self._environment,
            "HPCFLOW_TASK": str(work.task),
            "HPCFLOW_ATTEMPT": str(work.attempt),
            "HPCFLOW_SEED": str(setup.array.task_seed(work.task)),
            "HPCFLOW_SCRATCH": self._scratch.path,
        }
        if setup.task_walltime:
            end = time.time() + setup.task_walltime
            environment["HPCFLOW_DEADLINE"] = str(int(min(end, setup.deadline or end)))
        os.chdir(directory)  # inherited; the worker itself uses absolute paths only
        self.pid = spawn(
            [SHELL, "-c", command],
            environment,
            (setup.null, self._stdout, self._stderr),
            cpus=self.share.cpus,
        )

    def read_output(self) -> bool:
        """Take some of what was printed; return whether there was anything."""
        printed = _read(self.stdout)
        if printed:
            self._printed.feed(printed)
            self._both.feed(printed)
        errors = _read(self.stderr)
        if errors:
            self._errors.feed(errors)
            self._both.feed(errors)
        return bool(printed or errors)

    def bury(self) -> int:
        """Reap the ended command and return its exit status or minus its signal."""
        code = reap(self.pid)
        self.pid = 0
        self._drain()
        return code

    def printed(self) -> str:
        """Return the kept part of the standard output."""
        return self._printed.content().decode("utf-8", "replace")

    def output_since_mark(self) -> bytes:
        """Return the kept part of standard output and error, in the order they arrived."""
        return self._both.content()

    def last_error(self) -> str:
        """Return the last line of the standard error that says something."""
        lines = self._errors.content().decode("utf-8", "replace").split("\n")
        return next((line.strip() for line in reversed(lines) if line.strip()), "")[:200]

    def tidy(self) -> None:
        """Empty the scratch directory."""
        self._scratch.clear()

    def _drain(self) -> None:
        for _ in range(MOST_READS):
            if not self.read_output():
                break


def ask(slot: PythonSlot | CommandSlot, why: str, grace: float, twice: bool) -> None:
    """Ask the task of a slot to stop, and plan what follows if it does not."""
    flight = slot.flight
    now = time.monotonic()
    flight.asked = why
    flight.kill_at = now + grace
    # mpirun forwards the first SIGTERM and aborts its ranks at the second.
    flight.again_at = now + grace / 2 if twice else 0.0
    slot.signalled = True
    send(slot.pid, signal.SIGTERM)


def press(slot: PythonSlot | CommandSlot, now: float) -> None:
    """Do what is due to a task that was asked to stop and has not."""
    flight = slot.flight
    if flight.kill_at and now >= flight.kill_at:
        flight.kill_at = flight.again_at = 0.0
        send(slot.pid, signal.SIGKILL)
    elif flight.again_at and now >= flight.again_at:
        flight.again_at = 0.0
        send(slot.pid, signal.SIGTERM)


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, READ)
    except BlockingIOError:
        return b""
