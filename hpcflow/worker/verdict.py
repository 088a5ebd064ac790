"""What the end of a process says about its task."""

from __future__ import annotations

import re
import signal
from zlib import crc32

STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU, signal.SIGHUP)
"""What schedulers and people send to make a job stop; some send it to every process of the job."""
CHECKPOINTED = 75
"""Exit status (EX_TEMPFAIL) of a command that stopped at a checkpoint."""


def signal_of(code: int) -> int:
    """Return the signal that ended a process: minus ``code``, or what a shell says with 128 + signal."""
    if code < 0:
        return -code
    return code - 128 if 128 < code < 128 + signal.NSIG else 0


def stopped(code: int) -> bool:
    """Return whether a process ended because somebody asked it to."""
    return signal_of(code) in STOP_SIGNALS


def say(code: int) -> str:
    """Return the end of a process in words: ``killed by signal 11 (SIGSEGV)``, ``exit status 3``."""
    if code >= 0:
        return f"exit status {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:  # a real-time signal
        return f"killed by signal {-code}"
    return f"killed by signal {-code} ({name})"


def kind_of(message: str) -> int:
    """Return a number for a kind of failure: of its message without the numbers in it, which differ between tasks."""
    return crc32(re.sub(r"0x[0-9a-fA-F]+|\d+", "N", message).encode("utf-8", "surrogatepass"))
