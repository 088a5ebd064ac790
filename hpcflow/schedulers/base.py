"""What hpcflow asks of a batch scheduler: six methods, written as a contract.

A back end has two layers. *Text* is pure functions on values: directives, command lines and the
parsing of replies. *Commands* is the one place that runs programs (``commands.py``). Decisions
are not made here: the engine decides, a back end only reports and does what it is told.
"""

from __future__ import annotations

import enum
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


class State(str, enum.Enum):
    """Generic state of a job element; the scheduler's own word is always kept beside it."""

    QUEUED = "queued"
    HELD = "held"  # will not start unless somebody does something
    RUNNING = "running"
    ENDED = "ended"
    UNKNOWN = "unknown"  # a state this version does not know: counted and shown, never guessed


class Cause(str, enum.Enum):
    """Why an element ended, as far as the scheduler can say."""

    COMPLETED = "completed"
    FAILED = "failed"
    WALLTIME = "walltime"
    OOM = "oom"
    NODE = "node"
    PREEMPTED = "preempted"
    CANCELLED = "cancelled"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Element:
    """One element of a job (or a plain job, with ``index`` None) in a queue listing."""

    job: str
    """Id of the whole job as ``submit`` returned it."""
    index: int | None
    name: str
    state: State
    native: str
    """The scheduler's own word for the state."""
    reason: str = ""
    """Why it waits or is held, in the scheduler's words."""
    plain: str = ""
    """The same in plain words, and what can be done about it, where that is known."""
    nodes: str = ""
    """Where it runs or ran, in the scheduler's words, where a listing says so."""


@dataclass(frozen=True)
class Ending:
    """What accounting says of one element that is gone."""

    cause: Cause
    native: str
    exit_code: int | None = None
    signal: int | None = None
    nodes: str = ""
    start: float | None = None
    end: float | None = None
    """Start and end in seconds since the epoch, where known."""
    job: str = ""
    """Id of the whole job, where that was asked for."""
    lives: tuple[Ending, ...] = ()
    """All lives in order, this one included, of an element that was put back into the queue; one that goes on has the
    cause UNKNOWN and no end."""


@dataclass(frozen=True)
class Limits:
    """What the site or the cluster allows one user; None means no limit is known."""

    submit: int | None = None
    """Elements queued and running at once."""
    running: int | None = None
    array: int | None = None
    """Elements in one job array."""
    whole: bool = True
    """Whether all could be asked that is; if not, limits that are not known may come to light soon."""


@dataclass(frozen=True)
class Submission:
    """What to submit. ``name`` is the token: it goes on the command line, never only in the script."""

    script: Path
    name: str
    width: int
    throttle: int | None = None
    """At most this many elements run at once."""
    log: Path | None = None
    """Directory for what the job prints outside of tasks, made if need be; None throws it away.
    One file ``NAME.out`` per job, to which all elements append. The scripts for PBS and LSF do that themselves."""
    not_before: float | None = None
    """Start no earlier than this time (seconds since the epoch)."""


class SchedulerError(Exception):
    """A scheduler command did not do what it was asked.

    ``kind`` is ``transient`` (nothing happened, ask again next tick), ``limit`` (no room now),
    ``permanent`` (will be refused again: a person has to change something) or ``unclear`` (it may
    have happened: look for the token before asking again). ``command`` and ``reply`` go to the
    person who has to find out.
    """

    def __init__(self, kind: str, message: str, command: Sequence[str] = (), reply: str = "") -> None:
        super().__init__(message)
        self.kind = kind
        self.command = tuple(command)
        self.reply = reply

    @property
    def transient(self) -> bool:
        return self.kind in ("transient", "limit", "unclear")


class Scheduler(Protocol):
    """The back end of one site: six methods, of which each may raise SchedulerError and nothing else.

    A test asks every back end for what stands here: ``tests/schedulers/test_contract.py``.
    """

    def submit(self, submission: Submission) -> str:
        """Put one job into the queue and return its id.

        A width of 1 becomes a plain job. Only an id that is certain is returned: what cannot be
        read, or came with an error, is ``unclear``.
        """
        ...

    def listing(self) -> list[Element]:
        """Return every element of this user that the queue knows, of any campaign, with as few questions as it takes.

        An array stands for its elements and is not among them. A reply that is cut, unreadable or
        empty where it cannot be raises; an empty list means that the scheduler said, credibly,
        that there is nothing. Absence is never proof.
        """
        ...

    def endings(self, elements: Iterable[Element]) -> Mapping[tuple[str, int | None], Ending]:
        """Return what accounting knows of these elements, asked about all of them at once.

        What it does not know is absent from the answer, and no accounting at all is an empty
        answer. Of several lives of an element the answer is the last that ended, with the others in ``lives``
        where they are known. An element without an id stands for a submission that was not answered: where
        accounting can be asked for names, the answer has ``(name, None)`` with the id, whether or
        not it has ended.
        """
        ...

    def cancel(self, elements: Iterable[Element]) -> None:
        """End these elements, or whole jobs (``index`` None).

        Only where id *and* name agree with what the scheduler has now: ids of lost jobs are given
        to other people's. One that cannot be ended does not keep the others from it.
        """
        ...

    def limits(self) -> Limits:
        """Return what the cluster allows this user, for what the site file does not say."""
        ...

    def visible(self, host: str, pid: int, start: int) -> bool | None:
        """Whether that process lives; None if it cannot be seen from here, as nearly always.

        Where it can (the local scheduler), no settle time is needed before its work is given to others.
        """
        ...
