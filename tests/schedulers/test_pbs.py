"""What the PBS back end does beyond the contract, with stand-ins for qsub, qstat and qdel that run the scripts."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_programs import Programs
from standin_jobs import Jobs, end_keepers, environment

from hpcflow.schedulers.base import Cause, Element, SchedulerError, State, Submission
from hpcflow.schedulers.pbs import PBS


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Jobs]:
    yield Jobs(PBS(environment=environment(tmp_path, history="1")), tmp_path)
    end_keepers(tmp_path)


def test_a_pbs_that_knows_no_throttle_gets_a_narrower_job(tmp_path: Path) -> None:
    jobs = Jobs(PBS(environment=environment(tmp_path, old="1")), tmp_path)
    _, name = jobs.submit("sleep 60", width=5, throttle=2)
    jobs.wait(name, State.RUNNING, State.RUNNING)
    _, name = jobs.submit("sleep 60", width=5, throttle=1)
    jobs.wait(name, State.RUNNING)
    end_keepers(tmp_path)


def test_walltime(jobs: Jobs) -> None:
    job, name = jobs.submit("#PBS -l walltime=00:00:01", "sleep 60")
    jobs.gone(name)
    ending = jobs.ending(job, name)
    assert ending is not None
    assert ending.cause is Cause.WALLTIME


def test_a_server_without_history_knows_nothing(tmp_path: Path) -> None:
    jobs = Jobs(PBS(environment=environment(tmp_path)), tmp_path)
    job, name = jobs.submit("sleep 60")
    assert jobs.ending(job, name) is None
    end_keepers(tmp_path)


def test_limits_come_from_the_server(jobs: Jobs) -> None:
    found = jobs.scheduler.limits()
    assert (found.submit, found.array) == (100, 10000)


def test_a_refusal_names_its_reason_and_not_the_usage(programs: Programs, tmp_path: Path) -> None:
    programs.says("qsub", "", "qsub: illegal -N value\nusage: qsub [-a date_time]\n\t[-e path]\n", 2)
    with pytest.raises(SchedulerError, match=r"illegal -N value$"):
        PBS(environment=programs.environment).submit(Submission(tmp_path / "job.sh", "a b", 1))


def test_a_listing_is_one_process(programs: Programs) -> None:
    programs.says("qstat", "")
    assert PBS(environment=programs.environment).listing() == []
    assert len(programs.calls) == 1


@pytest.mark.parametrize(
    ("stdout", "stderr", "exit_code"),
    [
        ("", "Connection refused\nqstat: cannot connect to server vm (errno=15010)", 255),
        ("", "qstat: something new", 0),
        ("Welcome\n", "", 0),
    ],
)
def test_a_listing_that_failed_is_none(programs: Programs, stdout: str, stderr: str, exit_code: int) -> None:
    programs.says("qstat", stdout, stderr, exit_code)
    with pytest.raises(SchedulerError) as caught:
        PBS(environment=programs.environment).listing()
    assert caught.value.transient


def test_a_qsub_that_never_answers_is_unclear(programs: Programs, tmp_path: Path) -> None:
    programs.add("qsub", "sleep 60")
    with pytest.raises(SchedulerError, match="did not answer") as caught:
        PBS(environment=programs.environment, submit_timeout=0.5).submit(Submission(tmp_path / "j", "hf", 1))
    assert caught.value.kind == "unclear"


def test_a_server_that_is_down_explains_nothing(programs: Programs) -> None:
    programs.says("qstat", "", "qstat: cannot connect to server vm (errno=15010)\n", 255)
    with pytest.raises(SchedulerError) as caught:
        PBS(environment=programs.environment).endings([Element("1", None, "a", State.UNKNOWN, "")])
    assert caught.value.transient


def test_elements_of_an_array_that_is_held_are_held(jobs: Jobs) -> None:
    _, name = jobs.submit("#PBS -h", "true", width=2)
    assert jobs.states(name) == {0: State.HELD, 1: State.HELD}


def test_a_cached_qstat_that_lists_arrays_too_is_believed(programs: Programs) -> None:
    """NCAR's qstat-cache: one process, and the arrays themselves are no elements."""
    widths = (30, 15, 15, 15, 8, 4, 5, 6, 5, 1, 5)
    rows = [("1[].d", "u", "q", "hf", "--", "1", "1", "--", "00:01", "H", "--")]
    rows += [(f"1[{i}].d", "u", "q", "hf", "--", "1", "1", "--", "00:01", "Q", "--") for i in range(2)]
    lines = ["", "d:", " ".join("-" * width for width in widths)]
    lines += [" ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    programs.says("qstat", "\n".join(lines) + "\n")
    found = PBS(environment=programs.environment).listing()
    assert [(e.job, e.index, e.state) for e in found] == [("1[]", 0, State.HELD), ("1[]", 1, State.HELD)]


def test_arrays_are_asked_for_only_where_one_may_be_held(programs: Programs) -> None:
    programs.says("qstat", "")
    PBS(environment=programs.environment).listing()
    assert len(programs.calls) == 1


def test_deleting_an_array_does_not_make_failures_of_what_had_ended_well(jobs: Jobs) -> None:
    job, name = jobs.submit('[ "$PBS_ARRAY_INDEX" = 0 ] || sleep 60', width=2)
    jobs.wait(name, State.ENDED, State.RUNNING)
    jobs.scheduler.cancel([Element(job, None, name, State.RUNNING, "")])
    jobs.gone(name)
    ending = jobs.ending(job, name, 0)
    assert ending is not None
    assert (ending.cause, ending.exit_code) == (Cause.CANCELLED, None)


def test_an_unanswered_submission_is_found_among_what_has_ended(jobs: Jobs) -> None:
    job, name = jobs.submit("true")
    jobs.gone(name)
    unanswered = Element("", None, name, State.UNKNOWN, "")
    assert jobs.scheduler.endings([unanswered])[name, None].job == job


def test_a_banner_does_not_hide_the_queue(programs: Programs) -> None:
    programs.says("qstat", "", "Maintenance on Tuesday\n")
    assert PBS(environment=programs.environment).listing() == []


def test_many_jobs_are_cancelled_after_one_look(programs: Programs) -> None:
    programs.says("qstat", "")
    scheduler = PBS(environment=programs.environment)
    for job in ("1", "2"):
        scheduler.cancel([Element(job, None, "a", State.RUNNING, "")])
    assert len(programs.calls) == 1


def test_an_id_with_an_error_is_unclear(programs: Programs, tmp_path: Path) -> None:
    programs.says("qsub", "17.vm\n", "qsub: something went wrong\n", 1)
    with pytest.raises(SchedulerError) as caught:
        PBS(environment=programs.environment).submit(Submission(tmp_path / "j", "hf", 1))
    assert caught.value.kind == "unclear"
