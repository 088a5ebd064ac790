"""LSF's texts for submitting, listing and cancelling: recorded replies, damaged ones, and every error we know."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from hpcflow.schedulers import lsf_text
from hpcflow.schedulers.base import Element, Limits, State, Submission

DATA = Path(__file__).parent / "data" / "lsf"
BJOBS = (DATA / "bjobs_aw.txt").read_text()
TITLES = BJOBS.splitlines()[0] + "\n"


def element(job: str, index: int | None, name: str) -> Element:
    return Element(job, index, name, State.UNKNOWN, "")


def arguments(now: float = 1000.0, **keys: object) -> list[str]:
    keys = {"script": Path("/c/job.sh"), "name": "hf001abc", "width": 1, **keys}
    return lsf_text.submit_arguments(Submission(**keys), now)  # type: ignore[arg-type]


def test_width_one_is_no_array() -> None:
    assert arguments()[:2] == ["-J", "hf001abc"]


def test_an_array_starts_at_one_and_may_be_throttled() -> None:
    assert arguments(width=8)[:2] == ["-J", "hf001abc[1-8]"]
    assert arguments(width=8, throttle=3)[:2] == ["-J", "hf001abc[1-8]%3"]


def test_lsf_writes_no_log_which_it_would_do_by_mail_in_the_end() -> None:
    assert arguments(log=Path("/c/log"))[-2:] == ["-o", "/dev/null"]


def test_a_begin_is_the_next_full_minute_and_one_in_the_past_is_left_out() -> None:
    at = time.mktime((2026, 11, 20, 7, 5, 30, 0, 0, -1))
    assert "11:20:07:06" in arguments(now=at - 60, not_before=at)
    assert "-b" not in arguments(now=at + 1, not_before=at)


@pytest.mark.parametrize(
    ("stdout", "expected"),
    [
        ("Job <2> is submitted to default queue <normal>.\n", "2"),
        ("Checking your project\nJob <17> is submitted to queue <gpu>.\nHave fun\n", "17"),
        ("", None),
        ("Job not submitted.\n", None),
    ],
)
def test_job_ids(stdout: str, expected: str | None) -> None:
    assert lsf_text.job_id(stdout) == expected


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("permanent", "nosuch: No such queue. Job not submitted."),
        ("permanent", "Too many processors requested. Job not submitted."),
        ("permanent", "Bad resource requirement syntax. Job not submitted."),
        ("permanent", "abc: Bad RUNLIMIT specification. Job not submitted."),
        ("permanent", "Bad job name. Job not submitted."),
        ("limit", "User job limit has been reached. Job not submitted."),
        ("limit", "Pending job threshold reached. Retrying in 60 seconds..."),
        ("limit", "Pending slots threshold reached. Job not submitted."),
        ("transient", "normal: Queue has been closed. Job not submitted."),
        ("transient", "LSF is down. Please wait ..."),
        ("transient", "Failed in an LSF library call: LIM is down; try later. Job not submitted."),
        ("transient", "Failed in an LSF library call: Slave LIM configuration is not ready yet. Job not submitted."),
        ("transient", "Connection refused by server. Job not submitted."),
        ("transient", "Timeout on connect call to server. Job not submitted."),
        ("transient", "Batch daemon cannot fork. Job not submitted."),
        # The request was sent; whether it was done, nobody said.
        ("unclear", "Failed in an LSF library call: Communication time out. Job not submitted."),
        ("unclear", "Failed in an LSF library call: Connection reset by peer. Job not submitted."),
        ("unclear", "System call failed: Connection reset by peer. Job not submitted."),
        ("unclear", "Contacting batch daemon: Communication timeout. Job not submitted."),
        ("unclear", "Master batch daemon internal error. Job not submitted."),
    ],
)
def test_errors_of_bsub(kind: str, text: str) -> None:
    assert lsf_text.submit_error(text) == kind


def test_units_of_memory_are_left_out_of_directives_alone() -> None:
    script = '#BSUB -R "rusage[mem=100MB] span[hosts=1]"\n#BSUB -W 5\necho "rusage[mem=100MB]"\n'
    assert lsf_text.without_units(script) == script.replace("100MB", "100", 1)


def test_a_recorded_listing() -> None:
    found = {(e.job, e.index): (e.name, e.state) for e in lsf_text.listing(BJOBS, "")}
    assert found["1", None] == ("one", State.ENDED)
    assert found["2", 2] == ("arr", State.ENDED)  # arr[3]: LSF counts from one
    assert found["34", 0] == ("wlarr", State.RUNNING)
    assert found["17", None] == ("bigmem", State.QUEUED)
    assert found["31", None] == ("held", State.HELD)
    assert found["13", None] == ("a b", State.ENDED)
    assert len(found) == len(BJOBS.splitlines()) - 1


def test_an_array_that_became_one_plain_job_keeps_its_name() -> None:
    found = {e.job: (e.index, e.name) for e in lsf_text.listing(BJOBS, "")}
    assert found["10"] == (None, "a")  # submitted as a[1-1001]


@pytest.mark.parametrize(
    "text", ["No unfinished job found\n", "No job found\n", "No job found \n", "No matching job found\n"]
)
def test_the_sentence_that_there_is_no_job_is_an_empty_queue(text: str) -> None:
    assert lsf_text.listing("", text) == []


@pytest.mark.parametrize(
    ("stdout", "stderr"),
    [
        ("", ""),
        ("", "LSF daemon (LIM) not responding ... still trying\n"),
        (TITLES[:-5], ""),
        (TITLES + "2       pbsuser RUN   normal     vm \n", ""),
        (BJOBS[:-1], ""),
        (TITLES, "lsb_readjobinfo: Failed in an LSF library call: Communication time out\n"),
        (BJOBS, "Failed in an LSF library call: Connection reset by peer\n"),
        (BJOBS, "Connection refused by server\n"),
        ("Welcome\n", ""),
    ],
)
def test_a_reply_without_table_or_sentence_is_no_listing(stdout: str, stderr: str) -> None:
    with pytest.raises(ValueError, match="cut"):
        lsf_text.listing(stdout, stderr)


STATES = {
    State.QUEUED: ["PEND", "WAIT", "PROV"],
    State.HELD: ["PSUSP"],
    State.RUNNING: ["RUN", "USUSP", "SSUSP"],
    State.ENDED: ["DONE", "EXIT"],
    State.UNKNOWN: ["UNKWN", "ZOMBI", "DREAM"],
}


@pytest.mark.parametrize(("native", "state"), [(native, state) for state in STATES for native in STATES[state]])
def test_every_documented_state(native: str, state: State) -> None:
    (found,) = lsf_text.listing(TITLES + f"7 me {native} normal a b hf001abc Nov 20 07:12\n", "")
    assert (found.state, found.native) == (state, native)


def test_single_elements_are_killed_by_index_and_a_whole_array_by_its_id() -> None:
    found = [element("7", index, "a") for index in (0, 1, 5)]
    assert lsf_text.cancel_argument("7", found, whole=False) == "7[1-2,6]"
    assert lsf_text.cancel_argument("7", found, whole=True) == "7"
    assert lsf_text.cancel_argument("8", [element("8", None, "a")], whole=False) == "8"


@pytest.mark.parametrize(
    ("stderr", "stdout", "failed"),
    [
        ("", "Job <42> is being terminated\n", False),
        ("Job <40>: Operation is in progress\n", "", False),
        ("Job <40>: Job has already finished\n", "", False),
        ("Job <40[77]>: No matching job found\n", "", False),
        ("Job <40>: User permission denied\n", "", True),
        ("LSF daemon (LIM) not responding ... still trying\n", "", True),
        ("", "", True),
    ],
)
def test_errors_of_bkill(stderr: str, stdout: str, failed: bool) -> None:
    assert lsf_text.kill_error(stderr, stdout) is failed


def test_limits_of_the_batch_system() -> None:
    assert lsf_text.limits("    MAX_JOB_ARRAY_SIZE = 2000\n    MAX_JOBID = 999999\n") == Limits(array=2000)
    assert lsf_text.limits("Default Queues:  normal\n") == Limits(array=1000)
