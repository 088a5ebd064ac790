"""The framed records that workers append to their files and that final results are made of.

A record is one line of JSON, the header, followed by ``bytes`` bytes of payload and a newline.
The last two keys of every header are ``bytes`` and ``crc32``; the checksum covers the header up
to its own key and the payload, so a record is either complete or not there at all.

This module is shared by the engine and by the worker, which may run on an old Python in a bare
container: standard library only, Python 3.9.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, NamedTuple
from zlib import crc32

_CRC_MARK = b',"crc32":"'
_TAIL_LENGTH = len(_CRC_MARK) + 8 + 2  # mark, eight hex digits, quote and brace
_dumps = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True).encode

MAX_HEADER = 1 << 24
"""A longer header line (bytes) is damage: no record needs a header of 16 MiB."""


class Record(NamedTuple):
    """One complete record and where it stands in its file."""

    header: dict[str, Any]
    start: int
    """Offset of the header line in bytes."""
    payload: int
    """Offset of the payload in bytes."""
    end: int
    """Offset of the first byte after the record."""


def encode(header: dict[str, Any], payload: bytes = b"") -> bytes:
    """Return the bytes of one record.

    Parameters
    ----------
    header
        JSON values; must not hold the keys ``bytes`` and ``crc32``.
    payload
        Any bytes; their length goes into the header as ``bytes``.
    """
    body = (_dumps({**header, "bytes": len(payload)})[:-1]).encode("ascii")
    checksum = crc32(payload, crc32(body))
    return b'%s%s%08x"}\n%s\n' % (body, _CRC_MARK, checksum, payload)


def decode(buffer: bytes | memoryview, start: int = 0) -> Record | None:
    """Return the record that starts at ``start``, or None if it is incomplete or damaged."""
    data = buffer if isinstance(buffer, bytes) else bytes(buffer)
    newline = data.find(b"\n", start, start + MAX_HEADER)
    tail = newline - _TAIL_LENGTH
    if newline < 0 or tail < start or data[tail : tail + len(_CRC_MARK)] != _CRC_MARK:
        return None
    try:
        header = json.loads(data[start:newline])
        checksum = int(header["crc32"], 16)
        length = header["bytes"]
    except (ValueError, KeyError, TypeError):
        return None
    if not isinstance(length, int) or length < 0:
        return None
    payload = newline + 1
    end = payload + length + 1
    if end > len(data) or data[end - 1] != 0x0A:
        return None
    if crc32(data[payload : end - 1], crc32(data[start:tail])) != checksum:
        return None
    return Record(header, start, payload, end)


def scan(data: bytes, start: int = 0) -> Iterator[Record]:
    """Yield complete records in order and stop at the first that is incomplete or damaged."""
    while True:
        record = decode(data, start)
        if record is None:
            return
        yield record
        start = record.end


def parts(header: dict[str, Any], payload: bytes) -> tuple[Any, bytes, bytes]:
    """Split the payload of a task record into its result (a JSON value), frames and output.

    The header says how many bytes each part has (``result``, ``frames``, ``output``, in this
    order in the payload); an absent key means an absent part, an absent result is None.
    """
    n_result = header.get("result", 0)
    n_frames = header.get("frames", 0)
    result = json.loads(payload[:n_result]) if n_result else None
    frames = payload[n_result : n_result + n_frames]
    output = payload[n_result + n_frames : n_result + n_frames + header.get("output", 0)]
    return result, frames, output
