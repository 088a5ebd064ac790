"""What LSF says of jobs that have ended: recorded replies, fields, and every end in words that we know."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpcflow.schedulers import lsf_endings
from hpcflow.schedulers.base import Cause, Element, State

DATA = Path(__file__).parent / "data" / "lsf"


def element(job: str, index: int | None, name: str) -> Element:
    return Element(job, index, name, State.UNKNOWN, "")


def test_recorded_long_listings() -> None:
    asked = [element("1", None, "one"), element("2", 2, "arr")]
    found = lsf_endings.long_accounting((DATA / "bjobs_l.txt").read_text(), asked)
    assert {key: ending.exit_code for key, ending in found.items()} == {("1", None): 7, ("2", 2): 3}
    assert found["2", 2].nodes == "vm"


def test_recorded_history() -> None:
    asked = [element("1", None, "one"), element("2", 1, "arr")]
    found = lsf_endings.long_accounting((DATA / "bhist_l.txt").read_text(), asked)
    assert {key: ending.exit_code for key, ending in found.items()} == {("1", None): 7, ("2", 1): 2}


def test_what_was_killed_while_it_waited_is_cancelled() -> None:
    asked = [element("40", index, "ka") for index in range(6)]
    found = lsf_endings.long_accounting((DATA / "bjobs_l_killed.txt").read_text(), asked)
    assert {index: ending.cause for (_, index), ending in found.items()} == dict.fromkeys((0, 4, 5), Cause.CANCELLED)


def test_what_the_script_says_is_no_end() -> None:
    text = "\nJob <7>, Job Name <a>, User <me>, Status <RUN>, Command <echo Done successfully.>\n"
    assert lsf_endings.long_accounting(text, [element("7", None, "a")]) == {}


def test_a_record_of_a_job_with_the_same_id_and_another_name_is_not_ours() -> None:
    text = (DATA / "bjobs_l.txt").read_text()
    assert lsf_endings.long_accounting(text, [element("1", None, "other")]) == {}


def long_ending(event: str, started: bool = True) -> tuple[Cause, int | None]:
    head = "\nJob <7>, Job Name <a>, User <me>, Status <EXIT>\n"
    start = "Fri Nov 20 07:12:19: Started on <vm>, Execution Home </home/me>;\n" if started else ""
    found = lsf_endings.long_accounting(f"{head}{start}Fri Nov 20 07:12:25: {event}\n", [element("7", None, "a")])
    return found["7", None].cause, found["7", None].exit_code


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        ("Done successfully. The CPU time used is 0.0 seconds.", (Cause.COMPLETED, 0)),
        ("Completed <done>.", (Cause.COMPLETED, 0)),
        ("Exited with exit code 7. The CPU time used is 0.0 seconds.", (Cause.FAILED, 7)),
        ("Exited with exit code 140. The CPU time used is 0.0 seconds.", (Cause.WALLTIME, 140)),
        ("Exited with exit code 130. The CPU time used is 0.0 seconds.", (Cause.CANCELLED, 130)),
        ("Exited by signal 9. The CPU time used is 0.0 seconds.", (Cause.FAILED, 137)),
        ("Completed <exit>; TERM_RUNLIMIT: job killed after reaching LSF run time limit.", (Cause.WALLTIME, None)),
        ("Exited with exit code 137. TERM_MEMLIMIT: job killed", (Cause.OOM, 137)),
        ("Exited with exit code 130. TERM_OWNER: job killed by owner", (Cause.CANCELLED, 130)),
        ("Exited with exit code 143. TERM_PREEMPT: job killed", (Cause.PREEMPTED, 143)),
    ],
)
def test_ends_in_words(event: str, expected: tuple[Cause, int | None]) -> None:
    assert long_ending(event) == expected


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("7|0|DONE|-|-|vm|Nov 20|Nov 20|a", (Cause.COMPLETED, 0, None)),
        ("7|0|EXIT|3|-|vm|Nov 20|Nov 20|a", (Cause.FAILED, 3, None)),
        ("7|0|EXIT|140|TERM_RUNLIMIT: job killed after limit|vm|x|y|a", (Cause.WALLTIME, 140, 12)),
        ("7|0|EXIT|137|TERM_MEMLIMIT: job killed|vm|x|y|a", (Cause.OOM, 137, 9)),
        ("7|0|EXIT|-|-|-|-|-|a", (Cause.CANCELLED, None, None)),
    ],
)
def test_ends_in_fields(row: str, expected: tuple[Cause, int | None, int | None]) -> None:
    found = lsf_endings.accounting(row + "\n", [element("7", None, "a")])["7", None]
    assert (found.cause, found.exit_code, found.signal) == expected


@pytest.mark.parametrize(
    ("start", "nodes"),
    [
        ("Started on <a>, Execution Home </home/me>;", "a"),
        ("[1] started on 4 Hosts/Processors <a> <a> <b> <b>, Execution Home </home/me>;", "a,b"),
        ("Started 4 Task(s) on Host(s) <2*a> <2*b>, Allocated 4 Slot(s) on Host(s) <2*a> <2*b>;", "a,b"),
        ("[1] dispatched to <a>;", "a"),
    ],
)
def test_hosts_of_a_job(start: str, nodes: str) -> None:
    text = f"\nJob <7>, Job Name <a>, User <me>\nFri Nov 20 07:12:19: {start}\nFri Nov 20 07:12:25: Exited\n"
    found = lsf_endings.long_accounting(text, [element("7", None, "a")])["7", None]
    assert (found.nodes, found.cause) == (nodes, Cause.FAILED)


def test_the_last_life_of_a_job_counts() -> None:
    again = "Fri Nov 20 07:12:25: Exited with exit code 9.\nFri Nov 20 07:12:30: Started on <b>;\n"
    text = f"\nJob <7>, Job Name <a>, User <me>\nFri Nov 20 07:12:19: Started on <a>;\n{again}"
    assert lsf_endings.long_accounting(text, [element("7", None, "a")]) == {}
    found = lsf_endings.long_accounting(text + "Fri Nov 20 07:12:35: Done successfully.\n", [element("7", None, "a")])
    assert (found["7", None].cause, found["7", None].nodes) == (Cause.COMPLETED, "b")


def test_a_line_that_was_broken_is_whole_again() -> None:
    text = "\nJob <7>, Job Name <a>, User <me>\nFri Nov 20 07:12:25: Exited with exit\n" + " " * 21 + "code 9. The\n"
    assert lsf_endings.long_accounting(text, [element("7", None, "a")])["7", None].exit_code == 9


@pytest.mark.parametrize("name", ["arr[1-3]", "arr[1-3]%2"])
def test_the_end_of_an_array_that_became_one_plain_job_is_that_of_its_elements(name: str) -> None:
    asked = [element("7", index, "arr") for index in (None, 0, 2)]
    long = f"\nJob <7>, Job Name <{name}>, User <me>\nFri Nov 20 07:12:25: Exited with exit code 9.\n"
    assert set(lsf_endings.long_accounting(long, asked)) == {("7", None), ("7", 0), ("7", 2)}
    assert set(lsf_endings.accounting(f"7|0|EXIT|9|-|vm|x|y|{name}\n", asked)) == {("7", None), ("7", 0), ("7", 2)}


def test_fields_of_elements() -> None:
    text = "7|3|EXIT|3|-|vm|x|y|arr[3]\n7|1|RUN|-|-|vm|x|-|arr[1]\n"
    assert set(lsf_endings.accounting(text, [element("7", i, "arr") for i in range(3)])) == {("7", 2)}
