"""The lock of a campaign: one process runs the engine at a time.

A lease from ``filelock``: a file created exclusively that says who holds it (host, pid namespace, pid,
start time, boot) and that a thread of the holder touches every few seconds. flock is not used, because it
is node-local on some Lustre systems. A holder that is provably dead is replaced at once. A holder
that cannot be seen from here (another host) is watched: while it beats it is busy, and when it has not
beaten for the length of the lease, by our own clock, it is replaced and the epoch is raised, because it
may only be asleep.
"""

from __future__ import annotations

import os
import secrets
import socket
import time
from pathlib import Path
from types import TracebackType

from filelock import SoftFileLease, Timeout

from hpcflow.errors import Busy

LEASE = 30.0
BEAT = 4.0
HALF_MADE = 2.0
"""Seconds that an unwritten lock file may stand; writing it takes far less than a millisecond."""


class LostLock(Exception):
    """This process slept past its lease and somebody else runs the engine now."""


def _marker(path: Path) -> dict[str, str] | None:
    """The holder as written in the lock file, or None if there is none."""
    try:
        text = path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return None
    return dict(line.split("=", 1) for line in text.splitlines() if "=" in line)


def _is_zombie(pid: int) -> bool:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] in "ZX"


_INITIAL_NAMESPACE = 0xEFFFFFFC  # the kernel's fixed inode number of the host's own pid namespace


def _is_this_host(host: str) -> bool:
    """Whether a pid of the holder means the same process here: same host name, same pid namespace."""
    name, _, namespace = host.partition("?pidns-")
    try:
        here = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        here = _INITIAL_NAMESPACE
    return name == socket.gethostname() and namespace == ("" if here == _INITIAL_NAMESPACE else f"{here:x}")


class Lock:
    """Held for the length of one tick; use as a context manager.

    Parameters
    ----------
    path
        The lock file.
    patience
        Seconds to wait for a holder that is at work before raising Busy.
    """

    def __init__(self, path: Path, patience: float = 0.0) -> None:
        self.path = path
        self.patience = patience
        self.raise_epoch = False
        """True if the lock was taken without proof that its holder is dead."""
        self.inherited = False
        """True if somebody held it before, who may have left something half done."""
        self._lease = SoftFileLease(path, lease_duration=LEASE, heartbeat_interval=BEAT, thread_local=False)
        self._verified = 0.0
        self._seen: tuple[str | None, int | None] = (None, None)
        self._seen_since = 0.0

    def __enter__(self) -> Lock:
        deadline = time.monotonic() + self.patience
        while not self._try_and_see():
            if time.monotonic() >= deadline:
                raise Busy(self._busy_message())
            time.sleep(min(0.1, self.patience))
        self._verified = time.clock_gettime(time.CLOCK_BOOTTIME)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lease.release()

    def is_ours(self) -> bool:
        """Whether the file names this process as the holder now."""
        token = self._lease.token
        return token is not None and (_marker(self.path) or {}).get("token") == token

    def _try_and_see(self) -> bool:
        """Take the lock and look whether the file says so too: whoever slept while making it may count as dead."""
        if not self._try():
            return False
        if not self.is_ours():
            self._lease.release()
            return False
        return True

    def _acquire(self, timeout: float) -> bool:
        try:
            self._lease.acquire(timeout=timeout, poll_interval=0.02)
        except Timeout:
            return False
        return True

    def _try(self) -> bool:
        holder = _marker(self.path)
        silent = self._silence(holder)
        self.inherited = self.inherited or holder is not None
        if self._acquire(0):
            # After so long a silence the lease was taken from somebody who may be asleep and not dead.
            self.raise_epoch = silent > LEASE - BEAT
            return True
        holder = _marker(self.path) or holder
        if holder is None:
            return self._acquire(0.2)
        if not holder.get("token") or not holder.get("pid", "").isdigit():
            return self._wait_out_half_made()
        pid = int(holder.get("pid", "0"))
        if _is_this_host(holder.get("host", "")):
            zombie = _is_zombie(pid)
            if zombie:
                self._remove(holder)
            if zombie or not Path(f"/proc/{pid}").exists():
                return self._acquire(0.2)  # filelock takes over from a dead holder within one poll
            if time.time() - (self._beat_time() or 0) / 1e9 < LEASE:
                return False
        return self._watch(holder)

    def _silence(self, holder: dict[str, str] | None) -> float:
        """For how long, by our own clock, this holder has shown us no beat."""
        seen = (None if holder is None else holder.get("token"), self._beat_time())
        if seen != self._seen or holder is None:
            self._seen, self._seen_since = seen, time.monotonic()
        return time.monotonic() - self._seen_since

    def _watch(self, holder: dict[str, str]) -> bool:
        """Wait for two beats of a holder on another host; take over if none comes for a lease."""
        seen = self._beat_time()
        start = time.monotonic()
        while time.monotonic() - start < LEASE + 2 * BEAT:
            if self._acquire(0.5):
                # Gone while we watched: released in good order only if it had been beating.
                self.raise_epoch = True
                return True
            now = self._beat_time()
            if now is not None and now != seen:
                return False
            marker = _marker(self.path)
            if marker is not None and marker.get("token") != holder.get("token"):
                return False
        return False

    def _wait_out_half_made(self) -> bool:
        """Take a lock file away that was made and never written: its maker was killed in between."""
        start = time.monotonic()
        before = self._beat_time()
        while time.monotonic() - start < HALF_MADE:
            time.sleep(0.05)
            if (_marker(self.path) or {}).get("token") or self._beat_time() != before:
                return False
        self._remove({})
        return self._acquire(0.2)

    def _beat_time(self) -> int | None:
        try:
            return os.stat(self.path).st_mtime_ns
        except OSError:
            return None

    def _remove(self, holder: dict[str, str]) -> None:
        """Take a zombie's lock file away, and put it back if it turns out to be another's."""
        aside = self.path.with_name(f".lock.{secrets.token_hex(4)}")
        try:
            os.rename(self.path, aside)
        except FileNotFoundError:
            return
        taken = _marker(aside)
        if taken is not None and taken.get("token") != holder.get("token"):
            try:
                os.link(aside, self.path)
            except FileExistsError:
                pass  # a third process holds it now; the one we took it from will notice and stop
        aside.unlink(missing_ok=True)

    def _busy_message(self) -> str:
        holder = _marker(self.path) or {}
        beat = self._beat_time()
        since = f", last beat {time.time() - beat / 1e9:.0f} s ago" if beat else ""
        host = holder.get("host", "?").partition("?pidns")[0]
        return (
            f"{self.path}: process {holder.get('pid', '?')} on {host} is running the engine of this campaign{since}. "
            "Nothing was changed; try again when it has finished."
        )

    def verify(self) -> None:
        """Make sure that the lock is still ours: before each commit, scheduler call and deletion.

        Raises
        ------
        LostLock
            If the process slept (suspended, stopped, stuck on a file system) past its lease and
            somebody took over.
        """
        now = time.clock_gettime(time.CLOCK_BOOTTIME)
        if now - self._verified < BEAT / 2:
            return
        marker = _marker(self.path)
        if marker is None or marker.get("token") != self._lease.token:
            raise LostLock(f"{self.path} was taken over while this process was not running")
        if now - self._verified > LEASE / 2:
            os.utime(self.path)  # it was asleep; beat before anything else, then look once more
            if (_marker(self.path) or {}).get("token") != self._lease.token:
                raise LostLock(f"{self.path} was taken over while this process was not running")
        self._verified = now
