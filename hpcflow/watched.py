"""Run a program that a person watches: what it prints is passed on as it comes, and its last lines are kept."""

from __future__ import annotations

import errno
import fcntl
import os
import re
import subprocess
import sys
import termios
from collections import deque
from collections.abc import Callable

_COLOURS = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


def watch(command: list[str], echo: Callable[[bytes], None]) -> tuple[int, list[str]]:
    """Run a program to its end.

    Parameters
    ----------
    echo
        Gets what the program prints.

    Returns
    -------
    code
        Its exit code, negative for a signal.
    said
        Its last lines; of a line that was written over again and again, a progress bar, the last version.
    """
    kept: deque[bytes] = deque(maxlen=64)
    source, sink = _channel()
    try:
        try:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=sink, stderr=sink)
        finally:
            os.close(sink)
        with process:
            while block := _read(source):
                echo(block)
                kept.append(block)
    finally:
        os.close(source)
    text = _COLOURS.sub("", b"".join(kept).decode("utf-8", "replace"))
    lines = [line.rstrip().rpartition("\r")[2] for line in text.split("\n")]
    return process.returncode, [line for line in lines if line]


def _channel() -> tuple[int, int]:
    """Return both ends of what a program prints to: a terminal if ours is one, since only there it draws progress."""
    if not sys.stderr.isatty():
        return os.pipe()
    source, sink = os.openpty()
    fcntl.ioctl(sink, termios.TIOCSWINSZ, fcntl.ioctl(sys.stderr.fileno(), termios.TIOCGWINSZ, bytes(8)))
    return source, sink


def _read(source: int) -> bytes:
    try:
        return os.read(source, 1 << 14)
    except OSError as error:
        if error.errno == errno.EIO:  # how a terminal says that nobody is left to write
            return b""
        raise
