"""What every back end promises the engine: see ``hpcflow/schedulers/base.py`` and ``back_ends.py``."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from back_ends import BACK_ENDS, BackEnd
from standin_jobs import Jobs, end_keepers, until

from hpcflow.schedulers.base import Cause, Element, Limits, SchedulerError, State


@pytest.fixture(params=BACK_ENDS)
def back_end(request: pytest.FixtureRequest, tmp_path: Path) -> BackEnd:
    return BACK_ENDS[request.param](tmp_path)


@pytest.fixture
def jobs(back_end: BackEnd, tmp_path: Path) -> Iterator[Jobs]:
    jobs = Jobs(back_end.scheduler, tmp_path)
    yield jobs
    if not back_end.queue:  # of the others, everything ends with the stand-in
        jobs.end()
    end_keepers(tmp_path)


def alive(jobs: Jobs, name: str) -> dict[int | None, Element]:
    """Elements of a job that have not ended, by their indices."""
    return {e.index: e for e in jobs.scheduler.listing() if e.name == name and e.state is not State.ENDED}


def said(jobs: Jobs, name: str) -> list[str]:
    """All that the elements of a job have printed."""
    logs = sorted((jobs.directory / "log").glob(f"{name}*.out"))
    return sorted(line for log in logs for line in log.read_text().splitlines())


def test_one_element_is_a_plain_job_with_the_id_and_name_it_was_given(jobs: Jobs, back_end: BackEnd) -> None:
    job, name = jobs.submit("sleep 60")
    until(lambda: alive(jobs, name))
    (element,) = alive(jobs, name).values()
    assert (element.job, element.name) == (job, name)
    assert element.index is None or not back_end.queue  # the local scheduler counts its only element


def test_an_array_has_every_index_from_zero(jobs: Jobs, back_end: BackEnd) -> None:
    job, name = jobs.submit(f"echo element {back_end.index}; sleep 60", width=3)
    until(lambda: set(alive(jobs, name)) == {0, 1, 2})
    assert {element.job for element in alive(jobs, name).values()} == {job}


def test_scripts_know_their_index_and_their_output_is_kept(jobs: Jobs, back_end: BackEnd) -> None:
    _, name = jobs.submit(f"echo element {back_end.index}", width=3)
    until(lambda: said(jobs, name) == ["element 0", "element 1", "element 2"])


def test_no_more_run_at_once_than_was_said(jobs: Jobs, back_end: BackEnd) -> None:
    _, name = jobs.submit("sleep 60", width=3, throttle=1)
    until(lambda: State.RUNNING in [e.state for e in alive(jobs, name).values()])
    states = [e.state for e in alive(jobs, name).values()]
    assert states.count(State.RUNNING) == 1
    assert states.count(State.QUEUED) == (2 if back_end.queue else 0)


def test_a_job_waits_for_its_time(jobs: Jobs) -> None:
    _, name = jobs.submit("echo started", not_before=time.time() + 3600)
    until(lambda: [e.state for e in alive(jobs, name).values()] == [State.QUEUED])
    assert said(jobs, name) == []


def test_what_has_ended_lives_no_more_and_accounting_may_know_how_it_ended(jobs: Jobs, back_end: BackEnd) -> None:
    job, name = jobs.submit(f"exit {back_end.index}", width=2)
    until(lambda: not alive(jobs, name))
    found = [jobs.ending(job, name, index) for index in (0, 1)]
    ends = [ending and (ending.cause, ending.exit_code) for ending in found]
    known: list[object] = [(Cause.COMPLETED, 0), (Cause.FAILED, 1)]
    assert ends == (known if back_end.accounting else [None, None])


def test_accounting_is_asked_about_several_jobs_and_strangers_at_once(jobs: Jobs, back_end: BackEnd) -> None:
    done = [jobs.submit("true") for _ in range(2)]
    for _, name in done:
        until(lambda name=name: not alive(jobs, name))
    asked = [Element(job, None, name, State.UNKNOWN, "") for job, name in done]
    stranger = Element("999999", None, "nobody", State.UNKNOWN, "")
    known = {(job, None) for job, _ in done} if back_end.accounting else set()
    assert set(jobs.scheduler.endings([*asked, stranger])) == known


def test_cancelling_one_element_leaves_the_others(jobs: Jobs, back_end: BackEnd) -> None:
    job, name = jobs.submit("sleep 60", width=3)
    until(lambda: [e.state for e in alive(jobs, name).values()] == [State.RUNNING] * 3)
    jobs.scheduler.cancel([Element(job, 1, name, State.RUNNING, "")])
    until(lambda: set(alive(jobs, name)) == {0, 2})
    ending = jobs.ending(job, name, 1)
    assert (ending.cause if ending else None) == (Cause.CANCELLED if back_end.accounting else None)


def test_cancelling_whole_jobs(jobs: Jobs) -> None:
    asked = []
    for width in (3, 1):
        job, name = jobs.submit("sleep 60", width=width)
        until(lambda name=name: alive(jobs, name))
        asked.append(Element(job, None, name, State.RUNNING, ""))
    jobs.scheduler.cancel(asked)
    until(lambda: not any(alive(jobs, element.name) for element in asked))


def test_only_what_has_both_id_and_name_is_cancelled(jobs: Jobs) -> None:
    job, name = jobs.submit("sleep 60")
    until(lambda: alive(jobs, name))
    jobs.scheduler.cancel([Element(job, None, "lost", State.RUNNING, "")])
    time.sleep(0.5)
    assert alive(jobs, name)


def test_a_refused_job_says_why_and_leaves_nothing(jobs: Jobs, back_end: BackEnd) -> None:
    if not back_end.refused:
        pytest.skip("this one takes every script, or another form of it is tested")
    with pytest.raises(SchedulerError) as caught:
        jobs.submit(back_end.refused, "true")
    assert caught.value.kind == "permanent"
    assert jobs.scheduler.listing() == []


def test_limits_are_numbers_or_unknown(jobs: Jobs) -> None:
    limits = jobs.scheduler.limits()
    assert isinstance(limits, Limits)
    assert all(number is None or number > 0 for number in (limits.submit, limits.running, limits.array))
