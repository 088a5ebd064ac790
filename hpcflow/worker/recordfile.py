"""The one file a worker writes: whole records, or nothing."""

from __future__ import annotations

import os
import time
from typing import Any

from hpcflow.database import records

SYNC_BYTES = 8 << 20
"""So much may be written between two fsyncs: a copy of it is kept until then."""


class RecordFile:
    """Appends records, and keeps what could not be written until it can.

    A full disk shows in ``write``, or as late as in ``fsync`` (NFS). Both are answered alike: the file is cut
    back to the last record that is known to be whole, and what is missing is written again with
    the next ``flush``.

    Parameters
    ----------
    path
        Must not exist: it is created exclusively.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._removed = 0
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
        self._waiting: list[bytes] = []
        self._size = 0  # of the whole records that were written
        self._synced = 0
        self._unsynced: list[bytes] = []  # what stands between these two
        self.trouble = ""
        """Why the last write failed; empty if it did not."""
        self.since = 0.0
        """Since when there is trouble (``time.monotonic``)."""

    def add(self, header: dict[str, Any], payload: bytes = b"") -> None:
        """Append a record; it is written with the next ``flush``."""
        self._waiting.append(records.encode(header, payload))

    def add_encoded(self, record: bytes) -> None:
        """Append a record that is encoded already."""
        self._waiting.append(record)

    def flush(self) -> bool:
        """Write what waits; return whether all of it was written."""
        if not self._waiting:
            self.trouble = ""
            return True
        data = memoryview(self._waiting[0] if len(self._waiting) == 1 else b"".join(self._waiting))
        done = 0
        try:
            while done < len(data):
                done += os.pwrite(self._fd, data[done:], self._size + done)
        except OSError as error:
            self._settle(done)
            self._complain(error)
            return False
        self._settle(done)
        self.trouble = ""
        return self.sync() if self._size - self._synced > SYNC_BYTES else True

    def sync(self) -> bool:
        """Write what waits and make it last."""
        if self._waiting and not self.flush():
            return False
        try:
            os.fsync(self._fd)
        except OSError as error:
            # Nobody can say which pages survived, so all of them are written again.
            self._waiting = self._unsynced + self._waiting
            self._size = self._synced
            self._unsynced = []
            self._complain(error)
            return False
        self._synced = self._size
        self._unsynced = []
        return True

    def removed(self) -> bool:
        """Whether somebody removed the file, as happens when its array is done: two looks running have to say so."""
        try:
            os.stat(self._path)
        except FileNotFoundError:
            self._removed += 1
        except OSError:
            return False  # a file system that is away for a while
        else:
            self._removed = 0
        return self._removed > 1

    def close(self, goodbye: dict[str, Any], payload: bytes = b"") -> bool:
        """Write the last record and make all of it last; return whether that worked."""
        self.flush()
        # Where there is no room for results there may still be room for the reason.
        lost = len(self._waiting)
        if lost:
            self._waiting = []
            goodbye = {**goodbye, "message": f"{goodbye['message']}; {lost} records were lost"}
        self.add(goodbye, payload)
        good = self.sync()
        os.close(self._fd)
        return good

    def _settle(self, done: int) -> None:
        """Count the records that are whole within ``done`` written bytes."""
        whole = 0
        for record in self._waiting:
            if len(record) > done:
                break
            done -= len(record)
            self._size += len(record)
            whole += 1
        self._unsynced += self._waiting[:whole]
        del self._waiting[:whole]

    def _complain(self, error: OSError) -> None:
        if not self.trouble:
            self.since = time.monotonic()
        self.trouble = error.strerror or str(error)
        try:
            os.ftruncate(self._fd, self._size)
        except OSError:
            pass  # then half a record stands there until it is written over; readers stop before it
