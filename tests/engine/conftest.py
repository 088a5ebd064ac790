"""An engine in the test's own process, with a batch system that does what the test says."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from campaign_harness import ROOT

import hpcflow.schedulers.open
from hpcflow.campaign import Campaign as Script
from hpcflow.database.database import Database
from hpcflow.engine.engine import Engine, open_engine
from hpcflow.engine.tick import tick
from hpcflow.schedulers.base import Element, Ending, Limits, SchedulerError, State, Submission

SITE = """
scheduler:
  kind: slurm
  min_interval: 0
  settle: 60s
  beat: 1s
shell: /bin/bash
classes:
  default:
    walltime: 1h
    workers: 2
"""


class BatchSystem:
    """Takes jobs and says of them what it is told to; starts nothing by itself."""

    def __init__(self) -> None:
        self.submissions: list[Submission] = []
        self.queue: list[Element] = []
        """What the next listings show."""
        self.trouble: SchedulerError | None = None
        """Raised by every question."""
        self.refusal: SchedulerError | None = None
        """Raised by every submission, after it was noted."""
        self.explanations: dict[tuple[str, int | None], Ending] = {}
        self.cancelled: list[Element] = []
        self.listings = 0

    def submit(self, submission: Submission) -> str:
        self.submissions.append(submission)
        if self.refusal is not None:
            raise self.refusal
        self.show(submission, State.QUEUED)
        return self.job_id(submission)

    def job_id(self, submission: Submission) -> str:
        return str(100 + self.submissions.index(submission))

    def show(self, submission: Submission, state: State, elements: Iterable[int] | None = None) -> None:
        """Let listings show these elements of a job (default: all) in a state, and as many others as before."""
        wanted = list(range(submission.width) if elements is None else elements)
        self.hide(submission, wanted)
        for index in wanted:
            number = index if submission.width > 1 else None
            self.queue.append(Element(self.job_id(submission), number, submission.name, state, state.value.upper()))

    def hide(self, submission: Submission, elements: Iterable[int] | None = None) -> None:
        """Let listings no longer know these elements of a job."""
        gone = set(range(submission.width) if elements is None else elements)
        self.queue = [e for e in self.queue if e.name != submission.name or (e.index or 0) not in gone]

    def listing(self) -> list[Element]:
        self.listings += 1
        if self.trouble is not None:
            raise self.trouble
        return list(self.queue)

    def endings(self, elements: Iterable[Element]) -> Mapping[tuple[str, int | None], Ending]:
        if self.trouble is not None:
            raise self.trouble
        return self.explanations

    def cancel(self, elements: Iterable[Element]) -> None:
        self.cancelled += elements

    def limits(self) -> Limits:
        return Limits()

    def visible(self, host: str, pid: int, start: int) -> bool | None:
        return None


class Laboratory:
    """A campaign on that batch system: makes arrays, ticks, and starts workers by hand."""

    def __init__(self, directory: Path, batch: BatchSystem) -> None:
        self.directory = directory
        self.batch = batch
        self.passed = 0.0
        """Seconds by which the engine's clock is ahead: nobody has to wait for settle times."""
        self._workers: list[subprocess.Popen[bytes]] = []
        (directory / "sites").mkdir(parents=True)
        (directory / "sites" / "test.yaml").write_text(SITE)

    @property
    def database(self) -> Database:
        return Database(self.directory)

    @contextmanager
    def script(self) -> Iterator[Any]:
        """A run that makes arrays and does not wait for them."""
        with Script(self.directory, site="test") as run:
            yield run

    def tick(self) -> Engine:
        with open_engine(self.database, patience=5.0) as engine:
            tick(engine)
        return engine

    def journal(self, kind: str) -> list[dict[str, Any]]:
        from hpcflow.database.journal import Journal

        return [entry for entry in Journal(self.database.directory).read() if entry["kind"] == kind]

    def forget_state(self) -> None:
        for path in self.database.directory.glob("state.*"):
            path.unlink()

    def start_worker(self, submission: Submission, element: int = 0) -> subprocess.Popen[bytes]:
        """What the batch system would do: run an element of a job."""
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": os.environ["HOME"],
            "PYTHONPATH": str(ROOT),
            "HPCFLOW_ELEMENT": str(element),
        }
        worker = subprocess.Popen(
            ["bash", str(submission.script)], env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self._workers.append(worker)
        return worker

    def end(self) -> None:
        for worker in self._workers:
            worker.kill()
            worker.wait()


@pytest.fixture
def batch(monkeypatch: pytest.MonkeyPatch) -> BatchSystem:
    system = BatchSystem()
    monkeypatch.setattr(hpcflow.schedulers.open, "open_scheduler", lambda site: system)
    return system


@pytest.fixture
def laboratory(tmp_path: Path, batch: BatchSystem, monkeypatch: pytest.MonkeyPatch) -> Iterator[Laboratory]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(sys, "path", [*sys.path])
    made = Laboratory(tmp_path / "campaign", batch)
    monkeypatch.setattr(Engine, "now", lambda engine: time.time() + made.passed)
    yield made
    made.end()
