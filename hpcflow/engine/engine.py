"""The engine while it holds the lock: what the steps of a tick share."""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcflow.database.database import Database
from hpcflow.database.fold import apply
from hpcflow.database.journal import Journal
from hpcflow.database.lock import Lock, LostLock
from hpcflow.database.state import ArrayState, State
from hpcflow.errors import Busy, UserError

if TYPE_CHECKING:
    from hpcflow.schedulers.base import Ending, Scheduler
    from hpcflow.sites.schema import Site, TaskClass


HERE = "here"
"""Where calls run: this machine, as the shipped site ``local`` and the user's own layer describe it."""


class Engine:
    """One holder of the lock, with the state it works on.

    Every change of a decision goes through ``record``, which writes the journal first.
    """

    def __init__(self, database: Database, state: State, journal: Journal | None, lock: Lock | None) -> None:
        self.database = database
        self.state = state
        self.journal = journal
        self._lock = lock
        self.news: list[str] = []
        """What a person should hear of this tick, one line each."""
        self.changed = False
        self.gone: set[tuple[int, str]] = set()
        """Workers (array, name) that had ended before their files were read in this tick."""
        self._conditions: set[str] = set()
        self.observed: set[str] = set()
        """Sites whose queue has been listed in this tick."""
        self.blind: set[str] = set()
        """Sites whose queue is not known in this tick: it was asked for a moment ago, or did not answer."""
        self.silent: set[str] = set()
        """Of these, the ones whose scheduler gave no good answer."""
        self.crowded = False
        """Whether this tick would have submitted more, had only links and one worker been in the queue."""
        self.missed: set[int] = set()
        """Jobs whose submission was not answered, and of which a listing in this tick knew nothing once more."""
        self.endings: dict[tuple[str, int], Ending] = {}
        """What was found out in this tick about elements (token of the job, index) that are gone."""
        self.shown: dict[tuple[str, int], str] = {}
        """What the listing of this tick says of elements that have ended."""
        self.unwritten: list[dict[str, Any]] = []
        """Lists of chunks that are in the journal and perhaps not on disk."""
        self._sites: dict[str, Site] = {}
        self._schedulers: dict[str, Scheduler] = {}

    @property
    def campaign(self) -> Path:
        return self.database.campaign

    def now(self) -> float:
        return time.time()

    @property
    def read_only(self) -> bool:
        """Whether this only looks: without the lock, decisions stay in memory and nothing on disk moves."""
        return self._lock is None

    def verify(self) -> None:
        """Make sure that the lock is still ours: before each commit, scheduler call and deletion."""
        if self._lock is None:
            raise RuntimeError("this needs the lock")
        self._lock.verify()

    def record(self, kind: str, **data: Any) -> None:
        """Write one decision to the journal and apply it."""
        entry = {"kind": kind, "time": round(self.now(), 3), **data}
        if self.journal is None or self.read_only:
            apply(self.state, entry)
            return
        self.verify()
        try:
            self.journal.append(entry)
        except OSError as error:
            raise UserError(
                f"{self.database.directory}: cannot write the journal ({error.strerror}). Nothing was decided or "
                "submitted. Make room (or writable) and type: hpcflow resume"
            ) from None
        apply(self.state, entry)
        if kind == "cut":
            self.unwritten.append(entry)
        self.state.campaign.epoch = self.journal.epoch
        self.state.campaign.offset = self.journal.length
        self.changed = True

    @property
    def journal_length(self) -> int:
        """Bytes of the journal: it grows with every decision."""
        return 0 if self.journal is None else self.journal.length

    def say(self, text: str) -> None:
        """Something happened in this tick."""
        if text not in self.news:
            self.news.append(text)

    def say_while(self, text: str) -> None:
        """Something is so; it is news only in the first of the ticks that find it so."""
        self._conditions.add(text)
        if text not in self.state.campaign.told:
            self.say(text)

    def end_tick(self) -> None:
        """Remember what is so, and forget what no longer is."""
        if self._conditions != set(self.state.campaign.told):
            self.state.campaign.told = sorted(self._conditions)
            self.changed = True

    def attention(self, subject: str, message: str, **more: Any) -> None:
        """Something needs a person; said once, shown until it is resolved."""
        if self.state.campaign.attention.get(subject) != message:
            self.record("attention", subject=subject, message=message, **more)
            self.say(message)

    def live_arrays(self) -> Iterator[ArrayState]:
        """Arrays with tasks to decide, older ones first."""
        for number in sorted(self.state.campaign.arrays):
            array = self.state.campaign.arrays[number]
            if not array.done:
                yield array

    def path(self, array: ArrayState) -> Path:
        return self.database.array_path(array)

    def site(self, name: str) -> Site:
        """A site's settings, from the cache as long as its files are unchanged."""
        if name not in self._sites:
            from hpcflow.sites.cached import cached_site

            own_layers = None if name == HERE else self.campaign
            self._sites[name] = cached_site("local" if name == HERE else name, own_layers)
        return self._sites[name]

    def task_class(self, site: str, name: str) -> TaskClass:
        return self.site(site).task_class(name)

    def scheduler(self, name: str) -> Scheduler:
        if name not in self._schedulers:
            from hpcflow.schedulers.open import open_scheduler

            self._schedulers[name] = open_scheduler(self.site(name))
        return self._schedulers[name]

    def save(self) -> None:
        """Write the checkpoint, if anything is new in it."""
        if not self.changed:
            return
        self.verify()
        try:
            self.state.save(self.database.directory)
        except OSError as error:
            # The checkpoint only saves time; without it the next tick reads everything again.
            self.say(f"{self.database.directory}: cannot write the checkpoint ({error.strerror})")
        self.changed = False


def look(database: Database) -> Engine:
    """An engine that only looks: it takes no lock and changes nothing."""
    database.identity()
    state, journal, _ = database.load()
    return Engine(database, state, journal, None)


STORAGE = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ESTALE,
}  # fmt: skip
"""Errors of a file system that is full, locked or away."""


@contextmanager
def open_engine(database: Database, patience: float = 0.0, *, anywhere: bool = False) -> Iterator[Engine]:
    """Take the lock and load the state; write the checkpoint on the way out.

    Parameters
    ----------
    patience
        Seconds to wait for another process that runs the engine.
    anywhere
        Also if the campaign is not where it was made.

    Raises
    ------
    Busy
        If another process runs the engine, or took over while this one was asleep.
    UserError
        If the database cannot be read or written by this user and version.
    """
    if anywhere:
        database.identity()
    else:
        database.check_place()
    if not os.access(database.directory, os.W_OK):
        raise UserError(f"{database.directory}: is not writable for you, so the campaign cannot go on from here")
    try:
        lock = Lock(database.lock_path, patience).__enter__()
    except OSError as error:
        raise UserError(f"{database.lock_path}: cannot take the lock ({error.strerror})") from None
    try:
        state, journal, entries = _begin_writing(database, lock)
        state.campaign.epoch, state.campaign.offset = journal.epoch, journal.length
        engine = Engine(database, state, journal, lock)
        engine.unwritten = [entry for entry in entries if entry["kind"] == "cut"]
        engine.changed = bool(entries)
        if entries or lock.inherited or not state.campaign.site:
            _remove_halves(database.directory)
        try:
            yield engine
        finally:
            journal.close()
        engine.save()
    except LostLock as error:
        raise Busy(f"{error}. What this one had not written down yet is done by the other.") from None
    except OSError as error:
        if not lock.is_ours():  # what this one was writing was cleared away by whoever took over
            raise Busy(f"{database.lock_path} was taken over while this process was not running") from None
        if error.errno not in STORAGE:
            raise
        raise UserError(
            f"{error.filename or database.directory}: {error.strerror}. Nothing that was recorded is lost. "
            "Make room, or make it writable, and type: hpcflow resume"
        ) from None
    finally:
        lock.__exit__(None, None, None)


def _begin_writing(database: Database, lock: Lock) -> tuple[State, Journal, list[dict[str, Any]]]:
    """Load the state and become the writer of the journal."""
    # A holder that only slept may wake up: let it write to names that nobody reads any more.
    new_epoch = lock.raise_epoch
    while True:
        state, journal, entries = database.load()
        try:
            journal.open_for_writing(new_epoch)
        except FileExistsError:
            # Whoever slept and whoever took over begin the same epoch at once: the holder begins the one after it.
            if not lock.is_ours():
                raise LostLock(f"{database.lock_path} was taken over while this process was not running") from None
            new_epoch = True
        else:
            return state, journal, entries


def _remove_halves(directory: Path) -> None:
    """Remove files that a tick was writing under temporary names when it was killed."""
    for folder in (directory, directory / "code", directory / "data"):
        for left in folder.glob(".*.tmp"):
            left.unlink(missing_ok=True)
