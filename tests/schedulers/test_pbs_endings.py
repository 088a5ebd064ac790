"""What PBS's history says of jobs that have ended: recorded replies, and every exit status we know."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcflow.schedulers import pbs_endings
from hpcflow.schedulers.base import Cause, Element, State

DATA = Path(__file__).parent / "data" / "pbs"
RUNNING = (DATA / "running_array.dsv").read_text()
FINISHED = (DATA / "finished_element.dsv").read_text()


def element(job: str, index: int | None, name: str) -> Element:
    return Element(job, index, name, State.UNKNOWN, "")


ARR = [element("1[]", index, "arr") for index in range(10)]


def test_a_recorded_array_that_runs() -> None:
    found = pbs_endings.accounting(RUNNING, ARR)
    assert {index: ending.cause for (_, index), ending in found.items()} == {
        0: Cause.COMPLETED,
        1: Cause.FAILED,
        2: Cause.FAILED,
    }
    assert [found["1[]", index].exit_code for index in (0, 1, 2)] == [0, 1, 2]
    assert found["1[]", 1].nodes == "vm/2"


def test_a_recorded_element() -> None:
    ending = pbs_endings.accounting(FINISHED, ARR)["1[]", 2]
    assert (ending.cause, ending.exit_code) == (Cause.FAILED, 2)
    assert ending.end == time.mktime((2026, 11, 20, 6, 57, 4, 0, 0, -1))


def test_a_record_of_a_job_with_the_same_id_and_another_name_is_not_ours() -> None:
    assert pbs_endings.accounting(FINISHED, [element("1[]", 2, "other")]) == {}


def test_a_record_without_an_index_was_made_up_for_what_was_deleted() -> None:
    text = "Job Id: 44[0].vm|Job_Name=arr|job_state=F|substate=91|Exit_status=1|comment=Subjob finished\n"
    found = pbs_endings.accounting(text, [element("44[]", 0, "arr")])["44[]", 0]
    assert (found.cause, found.exit_code) == (Cause.CANCELLED, None)


@pytest.mark.parametrize(
    ("fields", "cause"),
    [
        ("job_state=F|substate=91|Exit_status=1|comment=Job Array Began at Fri and terminated", Cause.CANCELLED),
        ("job_state=F|substate=93|Exit_status=1|comment=Job Array Began at Fri and failed", None),
        ("job_state=B|substate=70|Exit_status=1", None),
    ],
)
def test_of_an_array_only_that_it_was_deleted_counts(fields: str, cause: Cause | None) -> None:
    found = pbs_endings.accounting(f"Job Id: 44[].vm|Job_Name=arr|{fields}\n", [element("44[]", None, "arr")])
    assert [ending.cause for ending in found.values()] == ([cause] if cause else [])


def ending(**fields: object) -> tuple[Cause, int | None, int | None]:
    values = {"Job_Name": "a", "job_state": "F", **fields}
    text = "|".join(["Job Id: 1.vm", *(f"{k.replace('__', '.')}={v}" for k, v in values.items())])
    found = pbs_endings.accounting(text + "\n", [element("1", None, "a")])["1", None]
    return found.cause, found.exit_code, found.signal


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"Exit_status": 0, "substate": 92}, (Cause.COMPLETED, 0, None)),
        ({"Exit_status": 3, "substate": 93}, (Cause.FAILED, 3, None)),
        ({"Exit_status": 137}, (Cause.FAILED, 137, 9)),
        ({"Exit_status": 271, "substate": 91}, (Cause.CANCELLED, None, 15)),
        ({"Exit_status": 143, "comment": "x and terminated by u@vm"}, (Cause.CANCELLED, 143, 15)),
        ({"Exit_status": -29}, (Cause.WALLTIME, None, None)),
        ({"Exit_status": 271, "comment": "x and exceeded resource walltime"}, (Cause.WALLTIME, None, 15)),
        ({"Exit_status": -27}, (Cause.OOM, None, None)),
        ({"Exit_status": -26}, (Cause.OOM, None, None)),
        ({"Exit_status": 265, "comment": "x and exceeded resource mem"}, (Cause.OOM, None, 9)),
        ({"Exit_status": -28}, (Cause.FAILED, None, None)),
        ({"Exit_status": -1}, (Cause.NODE, None, None)),
        ({"Exit_status": -3}, (Cause.NODE, None, None)),
        ({"Exit_status": 265}, (Cause.FAILED, None, 9)),
        (
            {"Exit_status": 271, "resources_used__walltime": "01:00:07", "Resource_List__walltime": "01:00:00"},
            (Cause.WALLTIME, None, 15),
        ),
        (
            {"Exit_status": 271, "resources_used__walltime": "00:10:00", "Resource_List__walltime": "01:00:00"},
            (Cause.FAILED, None, 15),
        ),
        ({"substate": 91}, (Cause.CANCELLED, None, None)),
        ({"Exit_status": 0, "substate": 91, "comment": "x and terminated by u@vm"}, (Cause.CANCELLED, 0, None)),
        ({"Exit_status": -21}, (Cause.NODE, None, None)),
    ],
)
def test_exit_statuses(fields: dict[str, object], expected: tuple[Cause, int | None, int | None]) -> None:
    assert ending(**fields) == expected


def test_what_lives_has_no_ending() -> None:
    text = "Job Id: 1.vm|Job_Name=a|job_state=R|Exit_status=1\n"
    assert pbs_endings.accounting(text, [element("1", None, "a")]) == {}


def test_a_variable_cannot_pretend_to_be_a_field() -> None:
    assert ending(Variable_List=r"A=x\|Exit_status=7\|job_state=R\|y", Exit_status=0) == (Cause.COMPLETED, 0, None)


@given(st.integers(0, 10**6))
def test_walltimes(number: int) -> None:
    assert pbs_endings.seconds(f"{number // 3600:02d}:{number // 60 % 60:02d}:{number % 60:02d}") == number
    assert pbs_endings.seconds(str(number)) == number
