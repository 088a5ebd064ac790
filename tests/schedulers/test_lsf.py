"""What the LSF back end does beyond the contract, with stand-ins for its programs that run the scripts."""

from __future__ import annotations

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


def test_an_array_larger_than_lsf_takes_is_refused_before_it_becomes_one_job(jobs: Jobs) -> None:
    with pytest.raises(SchedulerError, match="1000") as caught:
        jobs.submit("true", width=1001)
    assert caught.value.kind == "permanent"
    assert jobs.scheduler.listing() == []


def test_what_lsf_has_forgotten_stands_in_its_history(tmp_path: Path) -> None:
    jobs = Jobs(LSF(environment=environment(tmp_path, clean="0")), tmp_path)
    job, name = jobs.submit("exit 3")
    until(lambda: jobs.ending(job, name))
    assert jobs.states(name) == {}
    ending = jobs.ending(job, name)
    assert ending is not None
    assert (ending.cause, ending.exit_code) == (Cause.FAILED, 3)
    end_keepers(tmp_path)


def test_cancel_of_a_whole_array_of_which_some_has_ended(jobs: Jobs) -> None:
    job, name = jobs.submit('[ "$LSB_JOBINDEX" = 1 ] || sleep 60', width=3)
    jobs.wait(name, State.ENDED, State.RUNNING, State.RUNNING)
    jobs.scheduler.cancel([Element(job, None, name, State.RUNNING, "")])
    jobs.wait(name, State.ENDED, State.ENDED, State.ENDED)


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


def test_an_array_that_silently_became_one_plain_job_is_known_with_all_its_elements(tmp_path: Path) -> None:
    jobs = Jobs(LSF(environment=environment(tmp_path, largest="2")), tmp_path)
    job, name = jobs.submit("exit 3", width=3)
    until(lambda: jobs.states(name) == {None: State.ENDED})
    ending = jobs.ending(job, name, 1)
    assert ending is not None
    assert (ending.cause, ending.exit_code) == (Cause.FAILED, 3)


def test_a_version_without_units_gets_memory_in_bare_numbers(jobs: Jobs) -> None:
    _, name = jobs.submit('#BSUB -R "rusage[mem=100MB] span[hosts=1]"', "true")
    jobs.wait(name, State.ENDED)


def test_the_run_limit_is_a_walltime(tmp_path: Path) -> None:
    jobs = Jobs(LSF(environment=environment(tmp_path, minute="1")), tmp_path)
    job, name = jobs.submit("#BSUB -W 00:01", "sleep 60")
    jobs.wait(name, State.ENDED)
    ending = jobs.ending(job, name)
    assert ending is not None
    assert (ending.cause, ending.exit_code) == (Cause.WALLTIME, 140)
    end_keepers(tmp_path)


def test_too_many_waiting_jobs_are_a_limit_and_nobody_waits_for_room(tmp_path: Path) -> None:
    jobs = Jobs(LSF(environment=environment(tmp_path, most="0")), tmp_path)
    with pytest.raises(SchedulerError, match="threshold") as caught:
        jobs.submit("true")
    assert caught.value.kind == "limit"


def test_daemons_that_are_away_explain_nothing(programs: Programs) -> None:
    programs.says("bjobs", "", "Cannot connect to LSF. Please wait ...\n", 255)
    with pytest.raises(SchedulerError) as caught:
        LSF(environment=programs.environment).endings([Element("1", None, "a", State.UNKNOWN, "")])
    assert caught.value.transient


def test_a_history_that_fails_does_not_hide_what_is_known(programs: Programs) -> None:
    programs.says("bjobs", "1|0|EXIT|3|-|vm|x|y|a\n")
    programs.says("bhist", "", "LSF is down\n", 255)
    asked = [Element(job, None, "a", State.UNKNOWN, "") for job in ("1", "2")]
    assert set(LSF(environment=programs.environment).endings(asked)) == {("1", None)}
