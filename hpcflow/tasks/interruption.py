"""Stopping in time: the deadline of a task, and the signal that asks it to stop."""

from __future__ import annotations

import os
import signal
import threading
import time
from types import FrameType, TracebackType
from typing import Any


class Interruption:
    """Notices SIGTERM while a task computes, so that it can write a checkpoint first.

    Used as a context manager; ``requested`` becomes true when the signal has arrived. When the context
    ends, the signal goes on to whoever would have got it. Outside of the main thread, where Python
    allows no signal handlers, only the deadline counts.
    """

    def __init__(self) -> None:
        self.requested = False
        self._before: Any = None
        self._listening = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> Interruption:
        if self._listening:
            self._before = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._listening:
            signal.signal(signal.SIGTERM, self._before if self._before is not None else signal.SIG_DFL)
            if self.requested:
                signal.raise_signal(signal.SIGTERM)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.requested = True

    def due(self, ahead: float) -> bool:
        """Return whether to stop now: asked to, or the deadline comes within ``ahead`` seconds."""
        deadline = os.environ.get("HPCFLOW_DEADLINE")
        return self.requested or (deadline is not None and time.time() + ahead > float(deadline))


def seed(default: int = 0) -> int:
    """Return the seed of this task (``HPCFLOW_SEED``), or ``default`` outside of a campaign."""
    return int(os.environ.get("HPCFLOW_SEED", default))
