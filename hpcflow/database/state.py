"""What journal and records add up to, in memory, and its checkpoint file ``state.E``.

Everything here can be computed again from the journal and the workers' files, so the checkpoint may be
deleted at any time; it only saves reading them again. One byte per task of a live array, a few
numbers per worker, and nothing at all per task of a finished array.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any
from zlib import crc32

import msgspec

from hpcflow.database.files import write_whole

OPEN, SUCCEEDED, FAILED = 0, 1, 2
"""Status of a task: not decided, has an accepted result, or was given up."""

VERSION = 1
"""Version of the database; a newer one is refused."""


class Flight(msgspec.Struct):
    """What a worker handed to one slot and has not recorded yet, in the order it runs."""

    number: int
    """Of the list of chunks."""
    tasks: list[int]


class WorkerState(msgspec.Struct):
    """One worker file: how far it is read and what it said."""

    job: str = ""
    element: int = 0
    scheduler_id: str = ""
    host: str = ""
    boot: str = ""
    pid: int = 0
    start: int = 0
    slots: int = 1
    cores: int = 1
    gpus: int = 0
    resources: str = ""
    hello: float = 0.0
    last: float = 0.0
    """Time of its last record, by its own clock."""
    offset: int = 0
    size: int = 0
    grown: float = 0.0
    """When the engine last saw the file grow, by the engine's clock."""
    goodbye: str = ""
    message: str = ""
    broken: list[int] = []
    flight: dict[str, Flight] = {}
    busy: float = 0.0
    """Seconds of recorded tasks."""
    recorded: int = 0
    worked: bool = False
    """A task has succeeded on it, so what fails on it later is no fault of its own."""
    progress: int = 0
    """Records that brought the array forward: results, newer checkpoints, failures of a known kind."""
    charged: int = 0
    """Failures that count as one of the tries of their tasks."""
    cut_short: list[int] = []
    """Tasks that ended with it, unfinished, and left nothing to go on from."""
    missed: float = 0.0
    """When the engine first found it gone without an explanation."""
    settled: bool = False
    """It is gone, and what it left undone has been taken back."""
    woke: bool = False
    """It went on after it had been taken for dead."""


class Loose(msgspec.Struct):
    """A task that no live chunk holds: it goes into the next list of chunks."""

    reason: str
    source: str = ""
    """Directory of the last attempt, relative to work/out, to go on from its checkpoint."""
    alone: bool = False
    """It was in flight when a worker died: it gets a chunk of its own."""


class ListState(msgspec.Struct):
    """One list of chunks."""

    resources: str
    request: dict[str, Any]
    chunks: int
    tasks: int


class ArrayState(msgspec.Struct):
    """One array, as far as decided and recorded."""

    number: int
    key: str
    name: str
    directory: str
    count: int
    task_class: str
    what: str
    fingerprint: str
    created: float
    policy: dict[str, Any]
    """Retries by reason and the ladder of parameters, as they were when the array was made."""
    requests: list[tuple[dict[str, Any], list[list[int]]]] = []
    """Resources of their own that tasks were given: (request, ranges of tasks)."""
    done: bool = False
    current: bool = True
    """False once a rerun has replaced it under its key."""
    call: bool = False
    """Made by ``run.call``: one task, run by the tick itself."""
    taken: int = 0
    """Results that were taken over from earlier arrays when it was made."""
    succeeded: int = 0
    failed: int = 0
    seconds: float = 0.0
    """Of accepted results, in seconds of slots."""
    core_seconds: float = 0.0
    wasted: float = 0.0
    """Core-seconds of attempts that brought nothing."""
    node_seconds: float = 0.0
    """Of its workers, from hello to the last word; counted when the array is done."""
    repeated: int = 0
    """Tasks that ran twice to the end."""
    attempts: dict[int, int] = {}
    """Number of the newest attempt of a task, where it is not the first."""
    charges: dict[int, dict[str, int]] = {}
    """Counted failures of a task, by reason."""
    dropped: dict[int, int] = {}
    """Up to which attempt results of a task do not count, because the user gave it up."""
    forgiven: dict[int, int] = {}
    """Up to which attempt failures of a task no longer count, because the user asked for more."""
    escalation: dict[int, dict[str, Any]] = {}
    """What the next attempt of a task gets instead of its class's share: memory, walltime, rung."""
    known: list[int] = []
    """Kinds of failures that tasks had on workers that others had succeeded on."""
    broken: list[int] = []
    """Tasks that were among the first failures of a worker that left as broken."""
    pardoned: list[str] = []
    """Workers that left as broken and whose failures have been taken off their tasks."""
    seen: dict[int, list[int]] = {}
    """Attempts of a task whose failed or unfinished record was counted."""
    loose: dict[int, Loose] = {}
    reasons: dict[int, str] = {}
    """Why failed tasks failed."""
    kept: dict[int, str] = {}
    """Which worker's result counts, for tasks that have more than one."""
    lists: dict[int, ListState] = {}
    workers: dict[str, WorkerState] = {}
    closed: dict[str, str] = {}
    """Workers that left without a goodbye, and why."""
    barren: int = 0
    """Jobs in a row that brought neither a finished task nor a newer checkpoint."""
    hold: str = ""
    """Why no more jobs are submitted for it, if so."""
    cleared: bool = False
    """Its workplace has been removed."""

    @property
    def open(self) -> int:
        return self.count - self.succeeded - self.failed


class JobState(msgspec.Struct):
    """One job: what was asked of the scheduler and what is known of it."""

    number: int
    array: int
    token: str
    width: int
    resources: str
    request: dict[str, Any]
    task_class: str
    site: str
    intended: float
    walltime: float
    slots: int = 1
    cores: int = 1
    nodes: int = 1
    throttle: int | None = None
    """At most this many elements run at once."""
    id: str = ""
    submitted: float = 0.0
    error: str = ""
    ended: bool = False
    cause: str = ""
    elements: dict[int, str] = {}
    """Generic state of each element in the last good listing that knew it."""
    reason: str = ""
    """The scheduler's words on why elements wait or are held."""
    absent: dict[int, float] = {}
    """Since when each element is missing from good listings."""
    dismissed: list[int] = []
    """Elements that hpcflow itself has cancelled."""
    ends: dict[int, str] = {}
    """What the scheduler said of elements that ended before a worker could start."""
    misses: int = 0
    """Good listings, a settle time apart, that knew nothing of an unanswered intent."""


class Freeze(msgspec.Struct):
    """A read that a replay got past: these tasks, in input order, for ever."""

    array: int
    accepted: list[list[int]]
    frames: str
    """Digest of all their frames, one after the other."""
    results: str
    """Digest of their results."""
    files: str
    """Digest of the names and digests of their kept files."""


class Allowance(msgspec.Struct):
    """What a cluster allows this user, as it said when asked."""

    asked: float
    submit: int | None = None
    running: int | None = None
    array: int | None = None


class CampaignState(msgspec.Struct):
    """All of it."""

    epoch: int = 0
    offset: int = 0
    """Position in the journal up to which this is true."""
    arrays: dict[int, ArrayState] = {}
    jobs: dict[int, JobState] = {}
    freezes: dict[str, Freeze] = {}
    answers: dict[str, list[str]] = {}
    """Per key: the fingerprint of the change and ``keep`` or ``rerun``."""
    answered: dict[str, tuple[str, int]] = {}
    """Per digest of one thing that changed: ``keep`` or ``rerun``, and the newest array when that was said."""
    changes: dict[str, list[str]] = {}
    """Per key of a changed step that waits for an answer or was kept: the fingerprint of what it would compute now,
    and a digest of each thing that changed."""
    attention: dict[str, str] = {}
    """What needs a person, by subject."""
    paused: bool = False
    cancelled: bool = False
    chain: float = 0.0
    """Seconds between the links with which the campaign drives itself; 0: it does not."""
    quiet: int = 0
    """Links in a row that found nothing new."""
    settings: dict[str, Any] = {}
    """Width and budget as set while running."""
    site: str = ""
    finished: bool = False
    waiting: dict[int, int] | None = None
    """Arrays that the last replay stopped at, and how many successes let it go on; None: replay."""
    replayed: dict[str, str] = {}
    """The files that the last replay read, with a stamp of each."""
    digests: dict[str, list[str]] = {}
    """Digests of input files, each with the stamp it was made at."""
    allowances: dict[str, Allowance] = {}
    """By site."""
    occupied: dict[str, int] = {}
    """Elements of this user, of any campaign, in the queue of each site: listed, or submitted since; without links."""
    full: dict[str, tuple[float, int]] = {}
    """By site: when its scheduler last had no room, and how many elements were there then."""
    asked: dict[str, float] = {}
    """When the accounting of each site was last asked."""
    excluded: dict[str, dict[str, float]] = {}
    """By site: nodes that failed under a job, and when."""
    told: list[str] = []
    """What the last tick found to be so and said, not to be said again."""
    unknown: dict[str, int] = {}
    """Scheduler states this version does not know, counted."""


class State:
    """The campaign's state together with the byte per task of its live arrays."""

    def __init__(self) -> None:
        self.campaign = CampaignState()
        self.status: dict[int, bytearray] = {}

    def save(self, directory: Path) -> None:
        """Write the checkpoint of the current epoch, whole."""
        body = msgspec.json.encode(self.campaign)
        sizes = {number: len(blob) for number, blob in self.status.items()}
        parts: list[bytes | bytearray] = [body, *self.status.values()]
        checksum = 0
        for part in parts:
            checksum = crc32(part, checksum)
        head = {"hpcflow": "state", "version": VERSION, "body": len(body), "status": sizes, "crc32": checksum}
        data = b"".join([json.dumps(head).encode() + b"\n", *parts])
        # Not synced: it can be made again, and a crash must not cost every tick a disk flush.
        write_whole(directory / f"state.{self.campaign.epoch}", data, durable=False)

    @classmethod
    def load(cls, directory: Path, epoch: int) -> State | None:
        """Read the newest checkpoint up to an epoch, or None if there is no whole one."""
        for candidate in sorted(_epochs(directory), reverse=True):
            if candidate > epoch:
                continue
            try:
                data = (directory / f"state.{candidate}").read_bytes()
            except OSError:
                continue
            state = cls._decode(data)
            if state is not None:
                return state
        return None

    @classmethod
    def _decode(cls, data: bytes) -> State | None:
        newline = data.find(b"\n")
        try:
            head = json.loads(data[:newline])
            start = newline + 1
            if head["version"] != VERSION or crc32(memoryview(data)[start:]) != head["crc32"]:
                return None
            state = cls()
            state.campaign = msgspec.json.decode(data[start : start + head["body"]], type=CampaignState)
        except (ValueError, KeyError, msgspec.MsgspecError):
            return None  # a torn or older checkpoint is as good as none
        start += head["body"]
        for number, size in head["status"].items():
            state.status[int(number)] = bytearray(data[start : start + size])
            start += size
        return state


def _epochs(directory: Path) -> list[int]:
    return [int(n[6:]) for n in os.listdir(directory) if n.startswith("state.") and n[6:].isdigit()]


def ranges(tasks: list[int]) -> list[list[int]]:
    """Half-open ranges of a sorted list of task indices: ``[0, 1, 2, 5]`` is ``[[0, 3], [5, 6]]``."""
    out: list[list[int]] = []
    for task in tasks:
        if out and out[-1][1] == task:
            out[-1][1] = task + 1
        else:
            out.append([task, task + 1])
    return out


def members(spans: list[list[int]]) -> list[int]:
    """The task indices of half-open ranges, in order."""
    return [task for start, stop in spans for task in range(start, stop)]
