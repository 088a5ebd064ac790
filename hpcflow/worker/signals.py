"""Signals that wake up the loop instead of interrupting it."""

from __future__ import annotations

import os
import signal

from hpcflow.worker.verdict import STOP_SIGNALS


class Signals:
    """Notes signals, and wakes up the loop."""

    def __init__(self) -> None:
        self.fd, writing = os.pipe()
        os.set_blocking(self.fd, False)
        os.set_blocking(writing, False)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        self._noted: list[int] = []
        for number in (*STOP_SIGNALS, signal.SIGCHLD):
            if signal.getsignal(number) != signal.SIG_IGN or number != signal.SIGHUP:  # nohup stays nohup
                signal.signal(number, lambda noted, frame: self._noted.append(noted))

    def take(self) -> list[int]:
        """Return the signals noted since the last call."""
        try:
            os.read(self.fd, 4096)
        except BlockingIOError:
            return []
        noted, self._noted[:] = self._noted[:], []
        return noted
