"""The worker's side of a slot process, which runs Python functions."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from typing import Any

from hpcflow.worker.flight import MOST_READS, READ, Flight, Setup, Work, read
from hpcflow.worker.messages import Message, unpack
from hpcflow.worker.output import Splitter
from hpcflow.worker.processes import reap, spawn
from hpcflow.worker.resources import Share


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
        self.cut = False
        """Whether the process was killed between two tasks of a hand-over."""
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
        self.ready = self.signalled = self.leaving = self.cut = False
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
        data = read(self.answers)
        while data:
            self._buffer += data
            # A short read means that the pipe is empty.
            data = read(self.answers) if len(data) == READ else b""
        return list(unpack(self._buffer))

    def read_output(self) -> bool:
        """Take some of what was printed; return whether there was anything."""
        data = read(self.output)
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
