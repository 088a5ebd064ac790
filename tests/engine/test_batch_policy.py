"""What the engine concludes from a batch system's words, and from its silence."""

from __future__ import annotations

import dataclasses
import os
import signal
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from campaign_harness import wait_for

from hpcflow.cli.campaign import view
from hpcflow.cli.table import show
from hpcflow.database.records import scan
from hpcflow.database.state import ArrayState
from hpcflow.engine.engine import Engine
from hpcflow.engine.summary import summarize
from hpcflow.schedulers.base import Cause, Ending, SchedulerError, State, Submission

if TYPE_CHECKING:
    from conftest import Laboratory

TASK = """
import os, time

def hold(x, gate, log):
    with open(log, "a") as stream:
        stream.write(f"{x} {os.environ['HPCFLOW_ATTEMPT']} {os.getppid()}\\n")
    while x in (0, 1) and not os.path.exists(f"{gate}.{x}.{os.environ['HPCFLOW_ATTEMPT']}"):
        time.sleep(0.02)
    return 10 * x

def quick(x):
    return x
"""


@pytest.fixture
def tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, laboratory: Laboratory) -> Any:
    """The module ``batch_tasks`` of the campaign."""
    import importlib
    import sys

    (laboratory.directory / "batch_tasks.py").write_text(TASK)
    monkeypatch.syspath_prepend(str(laboratory.directory))
    sys.modules.pop("batch_tasks", None)
    return importlib.import_module("batch_tasks")


def only(engine: Engine) -> ArrayState:
    (array,) = engine.state.campaign.arrays.values()
    return array


def reach(laboratory: Laboratory, what: Any, limit: float = 30.0) -> Engine:
    """Tick every twenty seconds until something is so."""

    def look() -> Engine | None:
        engine = laboratory.tick()
        laboratory.passed += 20
        return engine if what(engine) else None

    found: Engine = wait_for(look, limit)
    return found


class TestSubmitting:
    def test_what_was_asked_stands_in_the_journal_before(self, laboratory: Laboratory, tasks: Any) -> None:
        seen: list[list[dict[str, Any]]] = []
        submit = laboratory.batch.submit

        def look(submission: Submission) -> str:
            seen.append(laboratory.journal("intent"))
            return submit(submission)

        laboratory.batch.submit = look  # type: ignore[method-assign]
        with laboratory.script() as run:
            run.map(tasks.quick, range(4))
        assert [entry["token"] for entry in seen[0]] == [laboratory.batch.submissions[0].name]

    def test_a_scheduler_that_does_not_answer_stands_in_the_status(
        self, laboratory: Laboratory, tasks: Any, capsys: pytest.CaptureFixture[str]
    ) -> None:
        laboratory.batch.trouble = SchedulerError("transient", "slurmctld is away")
        with laboratory.script() as run:
            run.map(tasks.quick, range(4))
        show(summarize(view(laboratory.database)))
        shown = capsys.readouterr().out
        assert "slurmctld is away" in shown

    def test_a_state_that_nobody_knows_is_shown_as_long_as_it_lasts(self, laboratory: Laboratory, tasks: Any) -> None:
        batch = laboratory.batch
        with laboratory.script() as run:
            run.map(tasks.quick, range(40))
        (job,) = batch.submissions
        batch.show(job, State.UNKNOWN)
        for _ in range(2):
            assert summarize(laboratory.tick())["unknown_states"] == {"UNKNOWN": 2}
        batch.show(job, State.RUNNING)
        assert summarize(laboratory.tick())["unknown_states"] == {}

    def test_a_job_that_waits_is_not_submitted_again(self, laboratory: Laboratory, tasks: Any) -> None:
        with laboratory.script() as run:
            run.map(tasks.quick, range(40))
        for _ in range(3):
            laboratory.tick()
        assert len(laboratory.batch.submissions) == 1
        assert laboratory.batch.submissions[0].width == 2

    def test_an_unanswered_submission_that_is_found_is_adopted(self, laboratory: Laboratory, tasks: Any) -> None:
        batch = laboratory.batch
        batch.refusal = SchedulerError("unclear", "timed out")
        with laboratory.script() as run:
            run.map(tasks.quick, range(4))
        batch.refusal = None
        batch.show(batch.submissions[0], State.QUEUED)
        laboratory.tick()
        laboratory.tick()
        assert len(batch.submissions) == 1
        assert [(e["id"], e["adopted"]) for e in laboratory.journal("submitted")] == [("100", True)]

    def test_an_unanswered_submission_is_repeated_only_after_two_good_listings_a_settle_time_apart(
        self, laboratory: Laboratory, tasks: Any
    ) -> None:
        batch = laboratory.batch
        batch.refusal = SchedulerError("unclear", "timed out")
        with laboratory.script() as run:
            run.map(tasks.quick, range(4))
        batch.refusal = None
        for passed in (0, 59, 70, 119):
            laboratory.passed = passed
            laboratory.tick()
            assert len(batch.submissions) == 1, passed
        laboratory.passed = 125
        laboratory.tick()
        assert len(batch.submissions) == 2
        assert batch.submissions[0].name != batch.submissions[1].name

    def test_failed_listings_repeat_nothing(self, laboratory: Laboratory, tasks: Any) -> None:
        batch = laboratory.batch
        batch.refusal = SchedulerError("unclear", "timed out")
        with laboratory.script() as run:
            run.map(tasks.quick, range(4))
        batch.refusal, batch.trouble = None, SchedulerError("transient", "slurmctld is away")
        for _ in range(10):
            laboratory.tick()
            laboratory.passed += 60
        assert len(batch.submissions) == 1

    def test_a_refused_job_holds_the_array_and_says_what_the_scheduler_said(
        self, laboratory: Laboratory, tasks: Any
    ) -> None:
        laboratory.batch.refusal = SchedulerError("permanent", "invalid account", ["sbatch", "x"], "Invalid account!")
        with laboratory.script() as run:
            run.map(tasks.quick, range(4))
        engine = laboratory.tick()
        assert len(laboratory.batch.submissions) == 1
        (message,) = engine.state.campaign.attention.values()
        assert "Invalid account!" in message
        assert "hpcflow resume" in message

    def test_elements_that_wait_are_counted_whatever_others_of_their_job_did(
        self, laboratory: Laboratory, tasks: Any
    ) -> None:
        """Two of four elements have worked and gone; the other two still wait for their turn."""
        batch = laboratory.batch
        (laboratory.directory / "sites" / "test.yaml").write_text(
            (laboratory.directory / "sites" / "test.yaml").read_text().replace("workers: 2", "workers: 4")
        )
        with laboratory.script() as run:
            run.map(tasks.quick, range(400))
        (job,) = batch.submissions
        assert job.width == 4
        for element in (0, 1):
            say(laboratory, job, element, [])
        batch.hide(job, [0, 1])
        laboratory.tick()
        laboratory.passed += 61
        laboratory.tick()
        assert sum(submission.width for submission in batch.submissions) - 2 <= 4
        assert len(batch.submissions) <= 2
        assert sum(s.width for s in batch.submissions[1:]) <= 2

    def test_a_requeued_element_does_not_end_its_job(self, laboratory: Laboratory, tasks: Any) -> None:
        batch = laboratory.batch
        with laboratory.script() as run:
            run.map(tasks.quick, range(400))
        (job,) = batch.submissions
        for _ in range(2):  # two lives of element 0, and element 1 still waits
            say(laboratory, job, 0, [])
        laboratory.tick()
        assert not laboratory.journal("ended")


def say(laboratory: Laboratory, job: Submission, element: int, tasks: list[int], **more: Any) -> Path:
    """Write the file of a worker that came, did these tasks of the first chunk, and left."""
    from hpcflow.database.records import encode

    array = Path(job.script).parent.parent.parent
    name = f"{job.name}.{element}-{time.monotonic_ns()}"
    file = array / "work" / "out" / name
    hello = {"kind": "hello", "worker": name, "job": job.name, "element": element, "host": "node", "pid": 1,
             "start": 1, "time": time.time(), "slots": 1, "cores": 1, "resources": "r0"}  # fmt: skip
    records = [encode(hello)]
    for task in tasks:
        header = {"kind": "task", "list": 1, "task": task, "attempt": 1, "state": "succeeded", "slot": 0,
                  "start": time.time(), "seconds": 0.01, "result": 1, **more}  # fmt: skip
        records.append(encode(header, b"7"))
    records.append(encode({"kind": "goodbye", "time": time.time(), "reason": "no work", "message": ""}))
    file.write_bytes(b"".join(records))
    return file


class TestGhosts:
    def begin(self, laboratory: Laboratory, tasks: Any, tmp_path: Path) -> Path:
        gate, log = tmp_path / "gate", tmp_path / "log"
        log.touch()
        with laboratory.script() as run:
            run.map(tasks.hold, range(6), gate=str(gate), log=str(log))
        return log

    def test_a_worker_taken_for_dead_that_wakes_up_changes_no_result(
        self, laboratory: Laboratory, tasks: Any, tmp_path: Path
    ) -> None:
        log = self.begin(laboratory, tasks, tmp_path)
        batch = laboratory.batch
        (job,) = batch.submissions
        batch.show(job, State.RUNNING)
        (tmp_path / "gate.1.1").touch()
        workers = {worker.pid: worker for worker in (laboratory.start_worker(job, n) for n in (0, 1))}
        wait_for(lambda: "0 1" in log.read_text())
        (ghost,) = (workers.pop(int(line.split()[2])) for line in log.read_text().splitlines() if line[:3] == "0 1")
        (other,) = workers.values()
        other.wait(30)  # it did all that the ghost had not taken
        laboratory.tick()
        os.kill(ghost.pid, signal.SIGSTOP)
        batch.hide(job)
        reach(laboratory, lambda engine: laboratory.journal("close"))
        (closed,) = laboratory.journal("close")
        assert closed["charged"] == {"0": "lost"}
        reach(laboratory, lambda engine: len(batch.submissions) > 1)
        # What is left is done, but the second attempt of task 0 stops: the array stays alive.
        (tmp_path / "gate.1.2").touch()
        successor = batch.submissions[-1]
        batch.show(successor, State.RUNNING)
        for element in range(successor.width):
            laboratory.start_worker(successor, element)
        wait_for(lambda: "0 2" in log.read_text())
        reach(laboratory, lambda engine: only(engine).succeeded == 5)
        (tmp_path / "gate.0.1").touch()
        os.kill(ghost.pid, signal.SIGCONT)
        engine = reach(laboratory, lambda engine: only(engine).succeeded == 6 or only(engine).done)
        (tmp_path / "gate.0.2").touch()
        ghost.wait(30)
        engine = reach(laboratory, lambda engine: only(engine).done)
        assert only(engine).failed == 0
        assert [record.result for record in read(laboratory, engine)] == [0, 10, 20, 30, 40, 50]
        runs = Counter(line.rpartition(" ")[0] for line in log.read_text().splitlines())
        assert max(runs.values()) == 1, runs

    def test_results_that_come_twice_are_counted_and_the_first_one_counts(
        self, laboratory: Laboratory, tasks: Any
    ) -> None:
        with laboratory.script() as run:
            run.map(tasks.quick, range(4))
        (job,) = laboratory.batch.submissions
        say(laboratory, job, 1, [0, 1], seconds=1.0)
        laboratory.tick()
        say(laboratory, job, 0, [0, 1, 2], seconds=3.0)  # its name comes first in every listing
        engine = laboratory.tick()
        assert only(engine).succeeded == 3
        assert only(engine).repeated == 2
        cost = summarize(engine)["cost"]
        assert cost["wasted_core_hours"] == pytest.approx(6.0 / 3600)
        laboratory.forget_state()
        engine = laboratory.tick()
        assert summarize(engine)["cost"] == cost
        say(laboratory, job, 2, [3])
        engine = laboratory.tick()
        assert only(engine).done
        seconds = [record.header["seconds"] for record in read(laboratory, engine)]
        assert seconds == [1.0, 1.0, 3.0, 0.01]
        assert len(laboratory.journal("duplicate")) == 1

    def test_a_worker_that_beats_is_alive_whatever_the_scheduler_says(
        self, laboratory: Laboratory, tasks: Any, tmp_path: Path
    ) -> None:
        log = self.begin(laboratory, tasks, tmp_path)
        batch = laboratory.batch
        (job,) = batch.submissions
        worker = laboratory.start_worker(job)
        wait_for(lambda: "0 1" in log.read_text())
        batch.show(job, State.ENDED)
        batch.explanations = {(batch.job_id(job), None): Ending(Cause.NODE, "NODE_FAIL")}
        (file,) = (Path(job.script).parent.parent.parent / "work" / "out").iterdir()
        for _ in range(3):
            size = file.stat().st_size
            wait_for(lambda size=size: file.stat().st_size > size)
            laboratory.tick()
            laboratory.passed += 59
        assert not laboratory.journal("close")
        assert len(laboratory.journal("cut")) == 1
        for name in ("gate.0.1", "gate.1.1"):
            (tmp_path / name).touch()
        worker.wait(30)
        assert only(laboratory.tick()).done

    def test_a_killed_worker_is_not_concluded_from_a_scheduler_that_does_not_answer(
        self, laboratory: Laboratory, tasks: Any, tmp_path: Path
    ) -> None:
        log = self.begin(laboratory, tasks, tmp_path)
        batch = laboratory.batch
        (job,) = batch.submissions
        batch.show(job, State.RUNNING)
        worker = laboratory.start_worker(job)
        wait_for(lambda: "0 1" in log.read_text())
        laboratory.tick()
        worker.kill()
        worker.wait()
        batch.trouble = SchedulerError("transient", "no answer")
        for _ in range(10):
            laboratory.tick()
            laboratory.passed += 60
        assert not laboratory.journal("close")
        batch.trouble = None
        batch.hide(job)
        batch.explanations = {(batch.job_id(job), 0): Ending(Cause.NODE, "NODE_FAIL", nodes="n17")}
        reach(laboratory, lambda engine: laboratory.journal("close"))
        (closed,) = laboratory.journal("close")
        assert closed["cause"] == "node"
        assert closed["charged"] == {}

    def test_a_worker_whose_element_waits_again_is_gone_and_charges_nothing_even_without_accounting(
        self, laboratory: Laboratory, tasks: Any, tmp_path: Path
    ) -> None:
        log = self.begin(laboratory, tasks, tmp_path)
        batch = laboratory.batch
        (job,) = batch.submissions
        batch.show(job, State.RUNNING)
        worker = laboratory.start_worker(job)
        wait_for(lambda: "0 1" in log.read_text())
        laboratory.tick()
        worker.kill()
        worker.wait()
        batch.show(job, State.QUEUED, [0])
        reach(laboratory, lambda engine: laboratory.journal("close"))
        (closed,) = laboratory.journal("close")
        assert (closed["cause"], closed["charged"]) == ("preempted", {})
        assert not laboratory.journal("ended")

    def test_a_node_that_is_found_dead_late_is_still_waited_for_in_accounting(
        self, laboratory: Laboratory, tasks: Any, tmp_path: Path
    ) -> None:
        log = self.begin(laboratory, tasks, tmp_path)
        batch = laboratory.batch
        (job,) = batch.submissions
        batch.show(job, State.RUNNING)
        worker = laboratory.start_worker(job)
        wait_for(lambda: "0 1" in log.read_text())
        laboratory.tick()
        worker.kill()
        worker.wait()
        laboratory.passed += 600  # many settle times later
        laboratory.tick()
        batch.hide(job)
        for _ in range(6):
            laboratory.tick()
            laboratory.passed += 20
        assert not laboratory.journal("close")
        batch.explanations = {(batch.job_id(job), 0): Ending(Cause.NODE, "NODE_FAIL", nodes="n17")}
        reach(laboratory, lambda engine: laboratory.journal("close"))
        (closed,) = laboratory.journal("close")
        assert (closed["cause"], closed["charged"]) == ("node", {})

    def test_how_the_second_life_of_an_element_ended_says_nothing_of_the_first(
        self, laboratory: Laboratory, tasks: Any, tmp_path: Path
    ) -> None:
        log = self.begin(laboratory, tasks, tmp_path)
        batch = laboratory.batch
        (job,) = batch.submissions
        worker = laboratory.start_worker(job)
        wait_for(lambda: "0 1" in log.read_text())
        worker.kill()
        worker.wait()
        batch.hide(job)
        now = time.time()
        first = Ending(Cause.NODE, "NODE_FAIL", nodes="n1", start=now - 60, end=now + 1)
        second = Ending(Cause.COMPLETED, "COMPLETED", nodes="n4", start=now + 120, end=now + 180)
        second = dataclasses.replace(second, lives=(first, second))
        batch.explanations = {(batch.job_id(job), 0): second}
        reach(laboratory, lambda engine: laboratory.journal("close"))
        (closed,) = laboratory.journal("close")
        assert (closed["cause"], closed["charged"]) == ("node", {})
        (excluded,) = laboratory.journal("excluded")
        assert list(excluded["nodes"]) == ["n1"]

    def test_memory_that_ran_out_is_asked_for_again_with_half_as_much_more(
        self, laboratory: Laboratory, tasks: Any, tmp_path: Path
    ) -> None:
        log = self.begin(laboratory, tasks, tmp_path)
        batch = laboratory.batch
        (job,) = batch.submissions
        worker = laboratory.start_worker(job)
        wait_for(lambda: "0 1" in log.read_text())
        worker.kill()
        worker.wait()
        batch.hide(job)
        batch.explanations = {(batch.job_id(job), 0): Ending(Cause.OOM, "OUT_OF_MEMORY")}
        reach(laboratory, lambda engine: len(laboratory.journal("cut")) > 1)
        requests = [entry["request"] for entry in laboratory.journal("cut")]
        assert requests[0] == {}
        assert {"memory": 1536} in requests
        tasks_of = {str(e["request"]): e["tasks"] for e in laboratory.journal("cut")[1:]}
        assert tasks_of[str({"memory": 1536})] == [[0, 1]]

    def test_a_job_cancelled_by_somebody_holds_the_array_until_resume(
        self, laboratory: Laboratory, tasks: Any, tmp_path: Path
    ) -> None:
        log = self.begin(laboratory, tasks, tmp_path)
        batch = laboratory.batch
        (job,) = batch.submissions
        worker = laboratory.start_worker(job)
        wait_for(lambda: "0 1" in log.read_text())
        worker.kill()
        worker.wait()
        batch.hide(job)
        batch.explanations = {(batch.job_id(job), 0): Ending(Cause.CANCELLED, "CANCELLED by 1000")}
        engine = reach(laboratory, lambda engine: only(engine).hold)
        laboratory.tick()
        assert len(batch.submissions) == 1
        assert "hpcflow resume" in " ".join(engine.state.campaign.attention.values())


def read(laboratory: Laboratory, engine: Engine) -> list[Any]:
    from hpcflow.database.results import read_results

    return list(read_results(engine.path(only(engine))))


def test_only_the_records_before_damage_count(laboratory: Laboratory, tasks: Any) -> None:
    with laboratory.script() as run:
        run.map(tasks.quick, range(4))
    (job,) = laboratory.batch.submissions
    file = say(laboratory, job, 0, [0, 1, 2])
    data = bytearray(file.read_bytes())
    second = next(record for record in scan(bytes(data)) if record.header.get("task") == 1)
    data[second.payload] ^= 1
    file.write_bytes(bytes(data))
    engine = laboratory.tick()
    assert only(engine).succeeded == 1
    assert not only(engine).done


def test_a_worker_that_dies_before_its_first_word_is_waited_for_and_costs_nothing(
    laboratory: Laboratory, tasks: Any
) -> None:
    with laboratory.script() as run:
        run.map(tasks.quick, range(4))
    (job,) = laboratory.batch.submissions
    array = Path(job.script).parent.parent.parent
    (array / "work" / "out" / f"{job.name}.0-abcdef").touch()
    laboratory.batch.show(job, State.RUNNING)
    for _ in range(5):
        laboratory.tick()
        laboratory.passed += 60
    assert not laboratory.journal("close")  # its element runs: it may be about to speak
    laboratory.batch.hide(job)
    reach(laboratory, lambda engine: laboratory.journal("close"))
    assert laboratory.journal("close")[0]["charged"] == {}
