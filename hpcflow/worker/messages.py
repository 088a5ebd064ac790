"""What a slot process answers its worker: a fixed head, then that many bytes."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

_HEAD = struct.Struct("<BIQdd")

READY = 1  # the function was imported
CANNOT_START = 2  # it was not; the body says why, in one line
RECORD = 3  # a task succeeded; the body is its record as it goes into the file
FAILURE = 4  # a task failed or is unfinished; the body is the header of its record, without its output
TERMINATED = 5  # SIGTERM ended a task; the body is the header
BATCH_FAILED = 6  # a batch failed as a whole; nothing is known of its tasks


class Message(NamedTuple):
    """One answer. ``task``, ``seconds`` and ``ended`` (since boot) are those of the task it is about."""

    kind: int
    task: int
    seconds: float
    ended: float
    body: bytes


def pack(message: Message) -> bytes:
    """Return the bytes of a message."""
    return _HEAD.pack(message.kind, len(message.body), *message[1:4]) + message.body


def unpack(buffer: bytearray) -> Iterator[Message]:
    """Yield the complete messages at the beginning of a buffer, and remove them from it."""
    start = 0
    try:
        while len(buffer) - start >= _HEAD.size:
            kind, length, task, seconds, ended = _HEAD.unpack_from(buffer, start)
            body = start + _HEAD.size
            if len(buffer) - body < length:
                break
            start = body + length
            yield Message(kind, task, seconds, ended, bytes(buffer[body:start]))
    finally:
        del buffer[:start]
