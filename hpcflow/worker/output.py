"""What tasks print: the beginning and the end of it, however much it was."""

from __future__ import annotations

from collections import deque

HEAD = 8 << 10
TAIL = 56 << 10


class Ring:
    """Keeps the first 8 kB and the last 56 kB of what it is fed."""

    def __init__(self) -> None:
        self._head = bytearray()
        self._tail = bytearray()
        self._total = 0

    def feed(self, data: bytes) -> None:
        """Take more output."""
        self._total += len(data)
        room = HEAD - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        if data:
            self._tail += data[-TAIL:]
            if len(self._tail) > 2 * TAIL:  # not on every feed: cutting copies
                del self._tail[:-TAIL]

    def content(self) -> bytes:
        """Return what was kept, with a line where something is missing."""
        tail = bytes(self._tail[-TAIL:])
        missing = self._total - len(self._head) - len(tail)
        gap = b"\n[... %d bytes left out ...]\n" % missing if missing else b""
        return bytes(self._head) + gap + tail


class Splitter:
    """Splits the output of a slot process into that of its tasks.

    The slot process writes a mark into the same pipe after each task; marks are short enough for
    the kernel to write them in one piece.

    Parameters
    ----------
    mark
        Bytes that no task prints, beginning with a zero byte.
    """

    def __init__(self, mark: bytes) -> None:
        self._mark = mark
        self._open = Ring()
        self._pending = b""  # what may be the beginning of a mark
        self._closed: deque[Ring] = deque()
        self._unwanted = 0

    def feed(self, data: bytes) -> None:
        """Take more of what came through the pipe."""
        *finished, rest = (self._pending + data).split(self._mark)
        for part in finished:
            if self._unwanted:
                self._unwanted -= 1
            else:
                self._open.feed(part)
                self._closed.append(self._open)
            self._open = Ring()
        start = rest.rfind(self._mark[:1], max(0, len(rest) - len(self._mark) + 1))
        cut = len(rest) if start < 0 else start
        self._open.feed(rest[:cut])
        self._pending = rest[cut:]

    @property
    def finished(self) -> int:
        """How many tasks' outputs are complete and not yet taken."""
        return len(self._closed)

    def skip(self) -> None:
        """Forget the output of the oldest task, now or when it is complete."""
        if self._closed:
            self._closed.popleft()
        else:
            self._unwanted += 1

    def take(self) -> bytes:
        """Return the output of the oldest task whose output is complete."""
        return self._closed.popleft().content() if self._closed else b""

    def rest(self) -> bytes:
        """Return what was printed since the last mark."""
        self._open.feed(self._pending)
        self._pending = b""
        return self._open.content()
