"""What a worker writes down about its tasks, and what it concludes from their first failures."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from typing import Any, NamedTuple

from hpcflow.worker.flight import Work
from hpcflow.worker.recordfile import RecordFile
from hpcflow.worker.verdict import kind_of

HOLD = 2.0
"""Seconds that a failure waits to be written. Schedulers that stop a job may signal the tasks a moment before
the worker; a failure that a stop follows so closely is no failure."""
FIRST = 5
"""If so many tasks fail alike and none succeeds, the worker is to blame."""


class Held(NamedTuple):
    """A failure that is not written yet."""

    until: float
    header: dict[str, Any]
    output: bytes
    stopped: bool
    """Whether it looks like a stop."""


class Ledger:
    """Writes the records of one worker.

    Parameters
    ----------
    file
        Where to.
    count
        Tasks of the array.
    """

    def __init__(self, file: RecordFile, count: int) -> None:
        self._file = file
        self._held: deque[Held] = deque()
        self._first: list[tuple[int, str]] | None = [] if count > FIRST else None
        self._known: frozenset[int] = frozenset()
        self.finished = 0
        """Tasks that succeeded."""

    def started(self, slot: int, works: Sequence[Work]) -> None:
        """Note a hand-over."""
        tasks = [work.task for work in works]
        listed = works[0].list.number
        self._known |= works[0].list.known
        self._file.add({"kind": "start", "slot": slot, "list": listed, "tasks": tasks, "time": _now()})

    def succeeded(self, record: bytes) -> None:
        """Note a finished task; its record is encoded already."""
        self._file.add_encoded(record)
        self.finished += 1
        self._first = None

    def success(self, header: dict[str, Any], payload: bytes) -> None:
        """Note a finished task."""
        self._file.add(header, payload)
        self.finished += 1
        self._first = None

    def unfinished(self, header: dict[str, Any]) -> None:
        """Note a task that stopped and can go on, or start again."""
        self._file.add(header)

    def failure(self, header: dict[str, Any], output: bytes, stopped: bool) -> None:
        """Note a failed task.

        Parameters
        ----------
        header
            Of its record, with ``reason`` and ``message``.
        output
            The kept part of what it printed.
        stopped
            Whether it ended as if somebody had stopped it.
        """
        if self._first is not None:
            if header["reason"] != "error" or stopped:
                self._first = None
            elif kind_of(header["message"]) in self._known:
                pass  # tasks fail like this on workers that others succeed on: this one is not to blame
            elif self._first and kind_of(header["message"]) != kind_of(self._first[0][1]):
                self._first = None
            else:
                self._first.append((header["task"], header["message"]))
        if header["reason"] == "error":
            self._held.append(Held(time.monotonic() + HOLD, header, output, stopped))
        else:
            self._fail(header, output)

    def broken(self) -> tuple[list[int], str]:
        """Return all tasks and their message, if there were enough and all of them failed alike; else nothing."""
        if self._first is None or len(self._first) < FIRST:
            return [], ""
        return [task for task, _ in self._first], self._first[0][1]

    @property
    def waiting(self) -> bool:
        """Whether it is still open if a task failed or was stopped."""
        return any(held.stopped for held in self._held)

    @property
    def due(self) -> float:
        """When the oldest held failure is to be written (``time.monotonic``); infinity without one."""
        return self._held[0].until if self._held else float("inf")

    def release(self, now: float) -> None:
        """Write the failures that have been held long enough."""
        while self._held and self._held[0].until <= now:
            held = self._held.popleft()
            self._fail(held.header, held.output)

    def stopping(self) -> None:
        """Count what failed just before a stop as unfinished."""
        for held in self._held:
            self._file.add(as_unfinished(held.header))
        self._held.clear()

    def _fail(self, header: dict[str, Any], output: bytes) -> None:
        self._file.add({**header, "output": len(output)} if output else header, output)


def as_unfinished(header: dict[str, Any]) -> dict[str, Any]:
    """Return the header of a failed task as that of one that was stopped."""
    plain = {key: value for key, value in header.items() if key not in ("reason", "message", "exit")}
    return {**plain, "state": "unfinished"}


def _now() -> float:
    return round(time.time(), 3)
