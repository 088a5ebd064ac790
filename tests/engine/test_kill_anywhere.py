"""kill -9 of the engine between any two file operations: nothing is lost, and no task runs twice."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from campaign_harness import Campaign, MakeCampaign, wait_for
from forked import Stop

from hpcflow.cli.campaign import view
from hpcflow.database import lock
from hpcflow.database.database import Database
from hpcflow.engine.summary import summarize

# Each point costs about a second: a seeded sample is tested; HPCFLOW_ALL_KILLS=1 tests them all.
SAMPLE = 1 << 30 if os.environ.get("HPCFLOW_ALL_KILLS") else 6

FLOW = """
import os
import hpcflow as hf

def note(line):
    fd = os.open(LOG, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(fd, (line + "\\n").encode())
    os.close(fd)

def work(x, log):
    global LOG
    LOG = log
    note(f"work {x} {os.environ['HPCFLOW_ATTEMPT']}")
    if x == 1 and os.environ["HPCFLOW_ATTEMPT"] == "1":
        raise RuntimeError("the first attempt fails")
    return 10 * x

def add(values, log):
    global LOG
    LOG = log
    note(f"add {values}")
    return sum(values)

def after(x, log):
    global LOG
    LOG = log
    note(f"after {x}")
    return x

def flow(run: hf.Run, log: str):
    first = run.map(work, range(3), log=log)
    total = run.call(add, first.results(), log=log)
    run.map(after, [total.result()], log=log)
"""
DONE_ONCE = Counter(["work 0 1", "work 1 1", "work 1 2", "work 2 1", "add [0, 10, 20]", "after 30"])
JOBS = 4  # of the first attempts, of the second, of the call, of the last step


class Stage:
    """A campaign at one point of its life, with nothing running, which can be gone back to."""

    def __init__(self, campaign: Campaign) -> None:
        self.campaign = campaign
        self.log = campaign.home / "log"
        self._saved = campaign.home / "saved"
        shutil.copytree(campaign.directory, self._saved, symlinks=True)
        self._lines = self.log.read_text() if self.log.exists() else ""

    def restore(self) -> None:
        self.campaign.end_processes()
        shutil.rmtree(self.campaign.directory)
        shutil.copytree(self._saved, self.campaign.directory, symlinks=True)
        self.log.write_text(self._lines)

    def go_on(self, before: Callable[[], object] | None = None) -> None:
        """Tick until the campaign is done."""

        def tick() -> bool:
            done = self.campaign.fork("poll", before=before).wait()
            assert done.returncode in (0, 3), done.stdout + done.stderr
            return done.returncode == 0

        assert self.campaign.fork("resume", before=before).wait().returncode == 0
        wait_for(tick, 30, "the campaign does not end")
        wait_for(lambda: not self.campaign.workers())
        self.campaign.fork("poll", before=before).wait()  # notes that the last job has ended


def quiet(campaign: Campaign) -> None:
    wait_for(lambda: not list(campaign.processes()))


@pytest.fixture
def campaign(make_campaign: MakeCampaign) -> Campaign:
    made = make_campaign(FLOW)
    made.write("hpcflow.yaml", f"workflow: flow.py:flow\nparameters:\n  log: {made.home / 'log'}\n"
               "classes:\n  default:\n    workers: 1\n")  # fmt: skip
    return made


def before_submission(campaign: Campaign) -> None:
    """Nothing has happened."""


def before_a_retry(campaign: Campaign) -> None:
    """All first attempts are recorded, and one of them failed."""
    assert campaign.hpcflow("submit").returncode == 0
    quiet(campaign)


def before_the_end_of_an_array(campaign: Campaign) -> None:
    """The second attempt is recorded: the next tick finishes the array, runs the call, and makes the next array."""
    before_a_retry(campaign)
    assert campaign.hpcflow("poll").returncode == 3
    quiet(campaign)


STAGES = [
    (before_submission, "submit"),
    (before_a_retry, "poll"),
    (before_the_end_of_an_array, "poll"),
]


@pytest.mark.slow  # each point where the engine is killed is a campaign that has to end
@pytest.mark.parametrize(("reach", "verb"), STAGES, ids=[f"{verb}-{reach.__name__}" for reach, verb in STAGES])
def test_the_engine_may_be_killed_between_any_two_file_operations(campaign: Campaign, reach: Any, verb: str) -> None:
    reach(campaign)
    stage = Stage(campaign)
    operations = campaign.hpcflow(verb).operations
    assert operations > 20
    points = range(1, operations + 1)
    for point in sorted(random.Random(1).sample(points, min(SAMPLE, operations))):
        stage.restore()
        if campaign.hpcflow(verb, kill_at=point).returncode != -signal.SIGKILL:
            assert point > operations - 10, f"{verb} was not killed at {point}"  # waiting takes more steps or fewer
        if campaign.hpcflow("resume").returncode == 2:  # it had not begun
            assert campaign.hpcflow("submit").returncode == 0
        stage.go_on()
        check(stage, f"killed at operation {point} of {operations} of {verb}")


def short_lease() -> None:
    """In the processes of a test: waiting out a lease takes a second."""
    lock.LEASE, lock.BEAT = 1.0, 0.1


@pytest.mark.slow  # each point where the engine falls asleep is a campaign that has to end
@pytest.mark.parametrize(("reach", "verb"), STAGES, ids=[f"{verb}-{reach.__name__}" for reach, verb in STAGES])
def test_an_engine_that_fell_asleep_anywhere_changes_nothing_when_it_wakes_up(
    campaign: Campaign, reach: Any, verb: str
) -> None:
    reach(campaign)
    stage = Stage(campaign)
    operations = campaign.hpcflow(verb).operations
    for point in sorted(random.Random(2).sample(range(1, operations + 1), min(SAMPLE, operations))):
        stage.restore()
        sleeper = campaign.fork(verb, stop=Stop(point, signal.SIGSTOP), before=short_lease)
        when = f"asleep at operation {point} of {operations} of {verb}"
        if not sleeper.stops():
            assert point > operations - 10, when
        if campaign.fork("resume", before=short_lease).wait().returncode == 2:  # it had not begun
            assert campaign.fork("submit", before=short_lease).wait().returncode == 0, when
        stage.go_on(short_lease)
        before = campaign.status()
        journal = campaign.journal()
        os.kill(sleeper.pid, signal.SIGCONT)
        done = sleeper.wait()
        assert done.returncode in (0, 2, 3, 75), (when, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr, (when, done.stderr)
        quiet(campaign)
        stage.go_on(short_lease)
        assert campaign.status()["tasks"] == before["tasks"], when
        assert [line for line in campaign.journal() if line["kind"] in ("array", "freeze", "done")] == [
            line for line in journal if line["kind"] in ("array", "freeze", "done")
        ], when
        check(stage, when)


def check(stage: Stage, when: str) -> None:
    campaign = stage.campaign
    assert Counter(stage.log.read_text().splitlines()) == DONE_ONCE, when
    engine = view(Database(campaign.directory))
    status = summarize(engine)
    assert status["state"] == "done", when
    assert status["tasks"] == {"total": 4, "succeeded": 4, "failed": 0, "unfinished": 0}, when
    assert status["cost"]["repeated_tasks"] == 0, when
    submitted = {line["job"] for line in campaign.journal() if line["kind"] == "submitted"}
    assert len(submitted) <= JOBS, when
    for array in (campaign.database / "arrays").iterdir():
        files = [path for path in array.rglob("*") if not path.is_dir()]
        assert len(files) <= 8, (when, files)
    assert not list(campaign.database.glob(".*")), (when, list(campaign.database.glob(".*")))
    forget_state(campaign.database)
    assert summarize(view(Database(campaign.directory))) == status, when


def forget_state(database: Path) -> None:
    for path in database.glob("state.*"):
        path.unlink()


def test_the_sample_without_kills_counts_what_it_says(campaign: Campaign) -> None:
    before_submission(campaign)
    stage = Stage(campaign)
    assert campaign.hpcflow("submit").returncode == 0
    stage.go_on()
    check(stage, "never killed")
    jobs = json.loads(campaign.good("status", "--json"))["arrays"]
    assert sum(len(array["jobs"]) for array in jobs) == JOBS - 1  # the call is not shown
