"""What the tasks so far say about the next: how long one takes, and how many to hand over at once."""

from __future__ import annotations

import math
from collections import deque

HAND_OVER = 0.075
"""Seconds of work handed to a slot at once: short against a lost worker, long against a message."""
BATCH = 10.0
"""Seconds of work in one call of a function that takes a batch."""
MOST = 4000
"""Tasks handed over at once, at most."""


class Durations:
    """Remembers how long the latest tasks took."""

    def __init__(self) -> None:
        self._latest: deque[float] = deque(maxlen=100)
        self._since = 0
        self._long: float | None = None

    def add(self, seconds: float) -> None:
        """Count one finished task."""
        self._latest.append(seconds)
        self._since += 1

    def long(self) -> float | None:
        """Return a duration that nine of ten tasks stay below; None before the first task has finished."""
        if self._since > len(self._latest) // 20:  # sorting for every short task would be felt
            ordered = sorted(self._latest)
            self._long = ordered[math.ceil(0.9 * len(ordered)) - 1]
            self._since = 0
        return self._long


class HandOver:
    """Finds how many tasks make one hand-over of about a given time.

    Parameters
    ----------
    seconds
        The time to aim at.
    """

    def __init__(self, seconds: float) -> None:
        self._aim = seconds
        self.size = 1

    def done(self, tasks: int, seconds: float) -> None:
        """Learn from one hand-over; the size grows at most fourfold at a time."""
        fitting = int(tasks * self._aim / max(seconds, 1e-6))
        self.size = max(1, min(fitting, 4 * max(tasks, self.size), MOST))
