"""The LSF back end against stand-ins for bsub, bjobs, bhist and bkill that run the scripts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_programs import Programs
from standin_jobs import Jobs, end_keepers, environment, until

from hpcflow.schedulers.base import Cause, Element, SchedulerError, State, Submission
from hpcflow.schedulers.lsf import LSF


@pytest.fixture(params=["7", "10"])
def jobs(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Jobs]:
    """Return jobs for an LSF with the fields of version 7 or 10."""
    yield Jobs(LSF(environment=environment(tmp_path, lsf=request.param)), tmp_path)
    end_keepers(tmp_path)


def log(jobs: Jobs, name: str) -> str:
    path = jobs.directory / "log" / f"{name}.out"
    return path.read_text() if path.exists() else ""


def test_width_one_is_a_plain_job(jobs: Jobs) -> None:
    job, name = jobs.submit("echo plain")
    until(lambda: log(jobs, name))
    assert job.isdecimal()
    jobs.wait(name, State.ENDED)
    assert set(jobs.states(name)) == {None}


def test_elements_are_counted_from_zero(jobs: Jobs) -> None:
    _, name = jobs.submit("echo index $LSB_JOBINDEX", width=3)
    jobs.wait(name, State.ENDED, State.ENDED, State.ENDED)
    assert sorted(log(jobs, name).splitlines()) == ["index 1", "index 2", "index 3"]
    assert set(jobs.states(name)) == {0, 1, 2}


def test_the_script_reaches_bsub_with_its_directives(jobs: Jobs) -> None:
    with pytest.raises(SchedulerError, match="No such queue") as caught:
        jobs.submit("#BSUB -q nowhere", "true")
    assert caught.value.kind == "permanent"


def test_throttle_bounds_what_runs(jobs: Jobs) -> None:
    _, name = jobs.submit("sleep 60", width=3, throttle=1)
    until(lambda: sorted(jobs.states(name).values()) == [State.QUEUED, State.QUEUED, State.RUNNING])


def test_an_array_larger_than_lsf_takes_is_refused_before_it_becomes_one_job(jobs: Jobs) -> None:
    with pytest.raises(SchedulerError, match="1000") as caught:
        jobs.submit("true", width=1001)
    assert caught.value.kind == "permanent"
    assert jobs.scheduler.listing() == []


def test_exit_codes_are_found(jobs: Jobs) -> None:
    job, name = jobs.submit("exit $((LSB_JOBINDEX - 1))", width=2)
    jobs.wait(name, State.ENDED, State.ENDED)
    well, badly = jobs.ending(job, name, 0), jobs.ending(job, name, 1)
    assert well is not None
    assert badly is not None
    assert (well.cause, well.exit_code) == (Cause.COMPLETED, 0)
    assert (badly.cause, badly.exit_code) == (Cause.FAILED, 1)


def test_what_lsf_has_forgotten_stands_in_its_history(tmp_path: Path) -> None:
    jobs = Jobs(LSF(environment=environment(tmp_path, clean="0")), tmp_path)
    job, name = jobs.submit("exit 3")
    until(lambda: jobs.ending(job, name))
    assert jobs.states(name) == {}
    ending = jobs.ending(job, name)
    assert ending is not None
    assert (ending.cause, ending.exit_code) == (Cause.FAILED, 3)
    end_keepers(tmp_path)


def test_cancel_of_one_element_leaves_the_others(jobs: Jobs) -> None:
    job, name = jobs.submit("sleep 60", width=3)
    jobs.wait(name, State.RUNNING, State.RUNNING, State.RUNNING)
    jobs.scheduler.cancel([Element(job, 1, name, State.RUNNING, "")])
    jobs.wait(name, State.RUNNING, State.ENDED, State.RUNNING)
    ending = jobs.ending(job, name, 1)
    assert ending is not None
    assert ending.cause is Cause.CANCELLED


def test_cancel_of_a_whole_array_of_which_some_has_ended(jobs: Jobs) -> None:
    job, name = jobs.submit('[ "$LSB_JOBINDEX" = 1 ] || sleep 60', width=3)
    jobs.wait(name, State.ENDED, State.RUNNING, State.RUNNING)
    jobs.scheduler.cancel([Element(job, None, name, State.RUNNING, "")])
    jobs.wait(name, State.ENDED, State.ENDED, State.ENDED)


def test_cancel_needs_id_and_name_to_agree(jobs: Jobs) -> None:
    job, name = jobs.submit("sleep 60")
    jobs.wait(name, State.RUNNING)
    jobs.scheduler.cancel([Element(job, None, "lost", State.RUNNING, "")])
    time.sleep(0.5)
    jobs.wait(name, State.RUNNING)


def test_a_job_may_wait_for_its_time(jobs: Jobs) -> None:
    _, name = jobs.submit("echo started", not_before=time.time() + 3600)
    jobs.wait(name, State.QUEUED)
    assert log(jobs, name) == ""


def test_clients_that_hang_are_ended(tmp_path: Path) -> None:
    scheduler = LSF(environment=environment(tmp_path, hang="1"), submit_timeout=1, query_timeout=1)
    with pytest.raises(SchedulerError, match="not responding") as caught:
        scheduler.listing()
    assert caught.value.transient
    script = tmp_path / "job.sh"
    script.write_text("true\n")
    with pytest.raises(SchedulerError, match="not responding") as caught:
        scheduler.submit(Submission(script, "hf", 1))
    assert caught.value.kind == "unclear"


def test_a_listing_is_one_process(programs: Programs) -> None:
    programs.says("bjobs", "", "No job found\n", 255)
    assert LSF(environment=programs.environment).listing() == []
    assert len(programs.calls) == 1


def test_a_listing_that_failed_is_none(programs: Programs) -> None:
    programs.says("bjobs", "", "Failed in an LSF library call: LIM is down\n", 255)
    with pytest.raises(SchedulerError) as caught:
        LSF(environment=programs.environment).listing()
    assert caught.value.transient


def test_a_script_that_cannot_be_read_is_permanent(programs: Programs, tmp_path: Path) -> None:
    with pytest.raises(SchedulerError, match=r"job\.sh") as caught:
        LSF(environment=programs.environment).submit(Submission(tmp_path / "job.sh", "hf", 1))
    assert caught.value.kind == "permanent"
