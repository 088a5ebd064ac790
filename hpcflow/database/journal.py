"""The journal: every decision of the engine, one JSON line each, written before it is acted on.

A line ends with a checksum of itself. A line without newline is a crash in the middle of writing and
counts as absent; the next writer cuts it off. A damaged line before the end is damage and an error.

Each epoch of the lock has its own file, so that a holder that lost the lock in its sleep writes
where nobody reads. The first line of an epoch says how much of the epoch before it counts.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from zlib import crc32

from hpcflow.database.files import create_whole
from hpcflow.errors import DamagedDatabase

_MARK = b',"crc":"'
_TAIL = len(_MARK) + 8 + 2
_NAME = re.compile(r"journal\.(\d+)\.jsonl")
_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True).encode


def encode_line(entry: dict[str, Any]) -> bytes:
    """Return one journal line with its checksum."""
    body = _encode(entry)[:-1].encode("ascii")
    return b'%s%s%08x"}\n' % (body, _MARK, crc32(body))


def decode_lines(data: bytes, name: str, start: int = 0) -> tuple[list[dict[str, Any]], int]:
    """Return the entries of a journal from a position on, and the length of its complete part in bytes."""
    entries: list[dict[str, Any]] = []
    while (newline := data.find(b"\n", start)) >= 0:
        tail = max(start, newline - _TAIL)
        if data[tail:newline] != b'%s%08x"}' % (_MARK, crc32(data[start:tail])):
            line = data.count(b"\n", 0, start) + 1
            raise DamagedDatabase(
                f"{name}, line {line}: the checksum is wrong, so the file was damaged or edited. "
                "Restore it from a backup; results in arrays/ are not affected."
            )
        entries.append(json.loads(data[start:newline]))
        start = newline + 1
    return entries, start


def epochs(directory: Path) -> list[int]:
    """The epochs that have a journal in this directory, in order."""
    found = (_NAME.fullmatch(name) for name in os.listdir(directory))
    return sorted(int(match.group(1)) for match in found if match)


class Journal:
    """Reads all entries, and appends as the holder of an epoch.

    Parameters
    ----------
    directory
        The database directory ``.hpcflow``.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.epoch = max(epochs(directory), default=0)
        self._fd: int | None = None
        self.length = 0
        """Bytes of the newest epoch's file that have been read or written."""

    def _path(self, epoch: int) -> Path:
        return self.directory / f"journal.{epoch}.jsonl"

    def read(self, epoch: int = 0, offset: int = 0) -> Iterator[dict[str, Any]]:
        """Yield entries from a position on (a checkpoint's epoch and offset), in order.

        Raises
        ------
        DamagedDatabase
            If a complete line does not carry its checksum.
        LookupError
            If the position is not part of this journal; the checkpoint that gave it is useless.
        """
        yield from self._read_epoch(self.epoch, None, epoch, offset)

    def _read_epoch(self, epoch: int, limit: int | None, from_epoch: int, from_offset: int) -> Iterator[dict[str, Any]]:
        if epoch < 1:
            if from_epoch > 0:
                raise LookupError("checkpoint of an epoch that the journal does not have")
            return
        data = self._path(epoch).read_bytes()[:limit]
        start = from_offset if epoch == from_epoch else 0
        if start > len(data):
            raise LookupError("checkpoint beyond the end of the journal")
        entries, length = decode_lines(data, self._path(epoch).name, start)
        if epoch != from_epoch:
            before = next((e for e in entries if e["kind"] == "epoch"), None)
            if before is not None and before["before"] > 0:
                yield from self._read_epoch(before["before"], before["length"], from_epoch, from_offset)
            elif from_epoch > 0:
                raise LookupError("checkpoint of an epoch that the journal does not have")
        if epoch == self.epoch:
            self.length = length
        yield from (e for e in entries if e["kind"] != "epoch")

    def open_for_writing(self, new_epoch: bool) -> None:
        """Become the writer: cut off a torn last line, or begin the next epoch.

        Call only while holding the lock, after ``read`` has been exhausted.

        Raises
        ------
        FileExistsError
            If somebody else began that epoch, because this process slept past its lease.
        """
        if self.epoch == 0 or new_epoch:
            line = encode_line({"kind": "epoch", "before": self.epoch, "length": self.length})
            create_whole(self._path(self.epoch + 1), line)
            self.epoch += 1
            self.length = len(line)
        self._fd = os.open(self._path(self.epoch), os.O_WRONLY)
        if os.fstat(self._fd).st_size > self.length:
            os.ftruncate(self._fd, self.length)
        os.lseek(self._fd, self.length, os.SEEK_SET)

    def append(self, entry: dict[str, Any]) -> None:
        """Write one entry and wait until it is on disk. After an OSError nothing of it counts."""
        if self._fd is None:
            raise RuntimeError("the journal is open for reading only")
        line = encode_line(entry)
        try:
            view = memoryview(line)
            while view:
                view = view[os.write(self._fd, view) :]
            os.fsync(self._fd)
        except OSError:
            os.ftruncate(self._fd, self.length)
            os.lseek(self._fd, self.length, os.SEEK_SET)
            raise
        self.length += len(line)

    def close(self) -> None:
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None
