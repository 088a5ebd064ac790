"""The PBS back end against stand-ins for qsub, qstat and qdel that run the scripts."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fake_programs import Programs
from standin_jobs import Jobs, end_keepers, environment, until

from hpcflow.schedulers.base import Cause, Element, SchedulerError, State, Submission
from hpcflow.schedulers.pbs import PBS


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Jobs]:
    yield Jobs(PBS(environment=environment(tmp_path, history="1")), tmp_path)
    end_keepers(tmp_path)


def log(jobs: Jobs, name: str) -> str:
    path = jobs.directory / "log" / f"{name}.out"
    return path.read_text() if path.exists() else ""


def test_width_one_is_a_plain_job(jobs: Jobs) -> None:
    job, name = jobs.submit("echo index ${PBS_ARRAY_INDEX:-none}")
    until(lambda: log(jobs, name))
    assert job.isdecimal()
    assert log(jobs, name) == "index none\n"


def test_elements_have_indices_from_zero_and_logs_of_their_own(jobs: Jobs) -> None:
    job, name = jobs.submit("echo index $PBS_ARRAY_INDEX", width=3)
    assert job.endswith("[]")
    until(lambda: all(log(jobs, f"{name}.{i}") == f"index {i}\n" for i in range(3)))


def test_throttle_bounds_what_runs(jobs: Jobs) -> None:
    _, name = jobs.submit("sleep 60", width=3, throttle=1)
    until(lambda: sorted(jobs.states(name).values()) == [State.QUEUED, State.QUEUED, State.RUNNING])


def test_a_pbs_that_knows_no_throttle_gets_a_narrower_job(tmp_path: Path) -> None:
    jobs = Jobs(PBS(environment=environment(tmp_path, old="1")), tmp_path)
    _, name = jobs.submit("sleep 60", width=5, throttle=2)
    jobs.wait(name, State.RUNNING, State.RUNNING)
    _, name = jobs.submit("sleep 60", width=5, throttle=1)
    jobs.wait(name, State.RUNNING)
    end_keepers(tmp_path)


def test_a_job_may_wait_for_its_time(jobs: Jobs) -> None:
    _, name = jobs.submit("echo started", not_before=time.time() + 600)
    jobs.wait(name, State.QUEUED)
    assert log(jobs, name) == ""


def test_history_knows_exit_codes(jobs: Jobs) -> None:
    job, name = jobs.submit("exit $PBS_ARRAY_INDEX", width=2)
    jobs.gone(name)
    well, badly = jobs.ending(job, name, 0), jobs.ending(job, name, 1)
    assert well is not None
    assert badly is not None
    assert (well.cause, well.exit_code) == (Cause.COMPLETED, 0)
    assert (badly.cause, badly.exit_code) == (Cause.FAILED, 1)


def test_walltime(jobs: Jobs) -> None:
    job, name = jobs.submit("#PBS -l walltime=00:00:01", "sleep 60")
    jobs.gone(name)
    ending = jobs.ending(job, name)
    assert ending is not None
    assert ending.cause is Cause.WALLTIME


def test_several_jobs_are_one_question(jobs: Jobs) -> None:
    done = [jobs.submit("true") for _ in range(3)]
    for _, name in done:
        jobs.gone(name)
    asked = [Element(job, None, name, State.UNKNOWN, "") for job, name in done]
    assert set(jobs.scheduler.endings([*asked, Element("999", None, "x", State.UNKNOWN, "")])) == {
        (job, None) for job, _ in done
    }


def test_a_server_without_history_knows_nothing(tmp_path: Path) -> None:
    jobs = Jobs(PBS(environment=environment(tmp_path)), tmp_path)
    job, name = jobs.submit("sleep 60")
    assert jobs.ending(job, name) is None
    end_keepers(tmp_path)


def test_cancel_of_one_element_leaves_the_others(jobs: Jobs) -> None:
    job, name = jobs.submit("sleep 60", width=3)
    jobs.wait(name, State.RUNNING, State.RUNNING, State.RUNNING)
    jobs.scheduler.cancel([Element(job, 1, name, State.RUNNING, "")])
    jobs.wait(name, State.RUNNING, State.ENDED, State.RUNNING)
    ending = jobs.ending(job, name, 1)
    assert ending is not None
    assert ending.cause is Cause.CANCELLED


def test_cancel_of_whole_jobs(jobs: Jobs) -> None:
    array, name = jobs.submit("sleep 60", width=3, throttle=1)
    plain, other = jobs.submit("sleep 60")
    jobs.wait(other, State.RUNNING)
    jobs.scheduler.cancel(
        [Element(array, None, name, State.RUNNING, ""), Element(plain, None, other, State.RUNNING, "")]
    )
    jobs.gone(name)
    jobs.gone(other)


def test_cancel_needs_id_and_name_to_agree(jobs: Jobs) -> None:
    job, name = jobs.submit("sleep 60")
    jobs.wait(name, State.RUNNING)
    jobs.scheduler.cancel([Element(job, None, "lost", State.RUNNING, "")])
    time.sleep(0.5)
    jobs.wait(name, State.RUNNING)


def test_limits_come_from_the_server(jobs: Jobs) -> None:
    found = jobs.scheduler.limits()
    assert (found.submit, found.array) == (100, 10000)


def test_an_unknown_queue_is_permanent(jobs: Jobs) -> None:
    jobs.directory.joinpath("job.sh").write_text("#!/bin/bash\n#PBS -q nowhere\n")
    with pytest.raises(SchedulerError, match="Unknown queue") as caught:
        jobs.scheduler.submit(Submission(jobs.directory / "job.sh", "hf", 1))
    assert caught.value.kind == "permanent"


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
