"""What a slot gets to do next."""

from __future__ import annotations

import math
import random
import time
from collections import deque
from collections.abc import Iterable

from hpcflow.worker.claims import Board
from hpcflow.worker.estimate import Durations
from hpcflow.worker.flight import Work
from hpcflow.worker.ledger import FIRST

PAUSE = 1.0
"""Seconds after which a worker whose slots are partly busy looks again for chunks."""


def spread(tasks: list[int], count: int) -> list[int]:
    """Return the tasks with ``count`` of them, from all over, before the others."""
    if len(tasks) <= count:
        return tasks
    # Not at equal distances: every tenth frame may be of one kind.
    first = sorted(random.Random(len(tasks)).sample(range(len(tasks)), count))
    return [tasks[i] for i in first] + [task for i, task in enumerate(tasks) if i not in first]


class Supply:
    """The tasks of the chunks this worker took.

    Parameters
    ----------
    board
        Where chunks are taken.
    worker
        Name of the worker.
    durations
        How long tasks take.
    stop_at
        When tasks must have ended, seconds since the epoch; infinity without a deadline.
    """

    def __init__(self, board: Board, worker: str, durations: Durations, stop_at: float) -> None:
        self._board = board
        self._worker = worker
        self._durations = durations
        self._stop_at = stop_at
        self._todo: deque[Work] = deque()
        self._alone: set[Work] = set()
        self._look_again = 0.0
        self._taken = False

    def ensure(self, wanted: int, hurry: bool) -> bool:
        """Take chunks until so many tasks wait; return whether they do.

        Parameters
        ----------
        wanted
            How many tasks should wait.
        hurry
            Whether nothing else keeps this worker from leaving: then it looks for chunks in any case.
        """
        while len(self._todo) < wanted:
            if not hurry and time.monotonic() < self._look_again:
                return False
            chunk = self._board.take(self._worker)
            if chunk is None:
                self._look_again = time.monotonic() + PAUSE
                return False
            entry = chunk.list
            tasks = list(entry.tasks(chunk.number))
            if not self._taken and entry.number > 1:
                # What an earlier worker left because its first tasks failed alike may be many in a row that do.
                tasks = spread(tasks, FIRST)
            self._taken = True
            self._todo.extend(Work(entry, task, entry.attempt(task)) for task in tasks)
        return True

    def in_time(self, used: bool) -> bool:
        """Return whether a slot may start a task: its first in any case, others if they may end in time."""
        if self._stop_at == math.inf:
            return True
        left = self._stop_at - time.time()
        long = self._durations.long()
        return left > 0 and (not used or long is None or left > long)

    def take(self, most: int, slots: int) -> list[Work]:
        """Return up to ``most`` tasks of one list, and no more than one slot's share of what waits."""
        number = min(most, math.ceil(len(self._todo) / slots))
        if number > 1 and self._stop_at < math.inf:
            long = max(self._durations.long() or 0.0, 1e-6)
            number = min(number, int((self._stop_at - time.time()) / long))
        works = [self._todo.popleft()]
        while len(works) < number and self._todo:
            entry = self._todo[0]
            if entry.list is not works[0].list or entry in self._alone or works[0] in self._alone:
                break
            works.append(self._todo.popleft())
        return works

    def put_back(self, works: Iterable[Work], alone: bool = False) -> None:
        """Return tasks that were handed over and not run; ``alone`` hands them over one by one."""
        works = list(works)
        self._todo.extendleft(reversed(works))
        if alone:
            self._alone.update(works)

    def left(self) -> bool:
        """Return whether there is work that this worker will not do."""
        return bool(self._todo) or bool(self._board.unclaimed())
