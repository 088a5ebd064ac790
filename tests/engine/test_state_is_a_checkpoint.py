"""The checkpoint can be made again from journal and records at any moment, whatever workers did."""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from hpcflow.cli.campaign import view
from hpcflow.database.chunks import claims, tasks_of
from hpcflow.database.records import encode
from hpcflow.database.results import read_results
from hpcflow.engine.engine import open_engine
from hpcflow.engine.retry import drop, release, retry_failed
from hpcflow.engine.summary import summarize
from hpcflow.engine.tick import tick
from hpcflow.schedulers.base import Cause, Ending, State

if TYPE_CHECKING:
    from conftest import Laboratory

TASK = "def f(x):\n    return x\n"
COUNT = 14


class Actor:
    """Workers that do anything a worker can do, by lot."""

    def __init__(self, laboratory: Laboratory, seed: int) -> None:
        self.laboratory = laboratory
        self.lot = random.Random(seed)
        self.begun = 0
        self.sleepers: list[tuple[Path, list[bytes]]] = []

    def array(self) -> Path:
        return sorted((self.laboratory.directory / ".hpcflow" / "arrays").iterdir())[-1]

    def work(self) -> None:
        """One worker takes some chunks, records some tasks, and leaves in some way."""
        batch, lot = self.laboratory.batch, self.lot
        job = lot.choice(batch.submissions)
        self.begun += 1
        element = lot.randrange(job.width)
        name = f"{job.name}.{element}-w{self.begun:05d}"
        array = self.array()
        out = array / "work" / "out"
        if not out.exists():
            return
        words = [
            encode(
                {
                    "kind": "hello",
                    "worker": name,
                    "job": job.name,
                    "element": element,
                    "host": "node",
                    "pid": 0,
                    "start": 0,
                    "time": time.time(),
                    "slots": 1,
                    "cores": 1,
                    "resources": "r0",
                }
            )
        ]
        for number, content in self.lists(array):
            taken = {chunk for listed, chunk in claims(array) if listed == number}
            for chunk in range(len(content["bounds"]) - 1):
                if chunk not in taken and lot.random() < 0.6:
                    os.symlink(name, array / "work" / "claims" / f"{number}.{chunk}")
                    words += self.chunk(content, chunk)
        broken = [json.loads(w.split(b"\n")[0])["task"] for w in words if b'"failed"' in w and b'"error"' in w]
        end = lot.choice(["goodbye", "goodbye", "silent", "asleep", "broken"])
        if end == "goodbye":
            reason = lot.choice(["no work", "walltime", "signal"])
            words.append(encode({"kind": "goodbye", "time": time.time(), "reason": reason, "message": ""}))
        elif end == "broken":
            words.append(
                encode(
                    {"kind": "goodbye", "time": time.time(), "reason": "broken", "message": "", "broken": broken[:5]}
                )
            )
        cut = lot.randint(1, len(words)) if end in ("silent", "asleep") else len(words)
        (out / name).write_bytes(b"".join(words[:cut]) + (words[cut][:7] if cut < len(words) else b""))
        if end == "asleep" and cut < len(words):
            self.sleepers.append((out / name, words))
        if end != "goodbye" and lot.random() < 0.5:
            cause = lot.choice([Cause.NODE, Cause.OOM, Cause.FAILED, Cause.WALLTIME])
            index = element if job.width > 1 else None
            batch.explanations[batch.job_id(job), index] = Ending(cause, cause.value)

    def lists(self, array: Path) -> list[tuple[int, dict[str, Any]]]:
        paths = sorted((array / "work" / "chunks").glob("*.json"), key=lambda path: int(path.stem))
        return [(int(path.stem), json.loads(path.read_bytes())) for path in paths]

    def chunk(self, content: dict[str, Any], chunk: int) -> list[bytes]:
        lot = self.lot
        tasks = tasks_of(content, chunk)
        words = [encode({"kind": "start", "slot": 0, "list": content["list"], "tasks": tasks, "time": time.time()})]
        for task in tasks:
            outcome = lot.choice(["succeeded"] * 4 + ["failed", "oom", "unfinished", "nothing"])
            if outcome == "nothing":
                break
            attempt = content["attempts"].get(str(task), content["attempt"])
            header = {
                "kind": "task",
                "list": content["list"],
                "task": task,
                "attempt": attempt,
                "slot": 0,
                "state": "failed" if outcome == "oom" else outcome,
                "start": time.time(),
                "seconds": 0.25,
            }
            if outcome in ("failed", "oom"):
                header["reason"] = "oom" if outcome == "oom" else "error"
            payload = json.dumps(task).encode() if outcome == "succeeded" else b""
            if payload:
                header["result"] = len(payload)
            words.append(encode(header, payload))
        return words

    def wake(self) -> None:
        """A worker that was taken for dead goes on."""
        path, words = self.sleepers.pop(self.lot.randrange(len(self.sleepers)))
        if path.exists():
            path.write_bytes(b"".join(words))

    def act(self) -> None:
        """One thing happens."""
        lot, batch = self.lot, self.laboratory.batch
        what = lot.random()
        if what < 0.5:
            self.work()
        elif what < 0.6 and self.sleepers:
            self.wake()
        elif what < 0.7:
            job = lot.choice(batch.submissions)
            batch.show(job, lot.choice([State.RUNNING, State.QUEUED, State.ENDED]))
        else:
            batch.hide(lot.choice(batch.submissions))


@pytest.mark.parametrize("seed", range(8))
def test_what_is_known_does_not_depend_on_the_checkpoint(
    laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    import importlib
    import sys

    (laboratory.directory / "lot_tasks.py").write_text(TASK)
    monkeypatch.syspath_prepend(str(laboratory.directory))
    sys.modules.pop("lot_tasks", None)
    function = importlib.import_module("lot_tasks").f
    with laboratory.script() as run:
        run.map(function, range(COUNT))
    actor = Actor(laboratory, seed)
    for step in range(60):
        for _ in range(actor.lot.randint(0, 3)):
            actor.act()
        with open_engine(laboratory.database, patience=5.0) as engine:
            if any(array.hold for array in engine.live_arrays()):
                release(engine)
            if step in (20, 40):
                retry_failed(engine)
            if step == 30:
                for array in engine.live_arrays():
                    drop(engine, array, [3, 4], "by lot")
            tick(engine)
        laboratory.passed += 40
        kept = summary(laboratory)
        made_again = without_state(laboratory)
        assert made_again == kept, f"step {step}"
        if kept["tasks"]["unfinished"] == 0:
            break
    for array in sorted((laboratory.directory / ".hpcflow" / "arrays").iterdir()):
        if (array / "results").exists():
            check(array)


def summary(laboratory: Laboratory) -> dict[str, Any]:
    found = summarize(view(laboratory.database))
    # Only the last looks at listing and files can tell what is going on just now; that stands nowhere else.
    del found["state"], found["conditions"]
    for array in found["arrays"]:
        del array["running_workers"], array["in_flight"], array["left_seconds"]
        for job in array["jobs"]:
            del job["state"], job["reason"]
    return found


def without_state(laboratory: Laboratory) -> dict[str, Any]:
    """The summary as journal and records alone say it; every now and then the checkpoint stays away."""
    database = laboratory.database.directory
    states = list(database.glob("state.*"))
    for path in states:
        path.rename(database / f"put-aside-{path.name}")
    found = summary(laboratory)
    for path in states:
        aside = database / f"put-aside-{path.name}"
        if int(laboratory.passed) % 3:
            aside.rename(path)
        else:
            aside.unlink()
    return found


def check(array: Path) -> None:
    """Each task has one record, in order, and a result is that of its task."""
    records = list(read_results(array))
    assert [record.task for record in records] == list(range(COUNT))
    for record in records:
        if record.header["state"] == "succeeded":
            assert record.result == record.task
