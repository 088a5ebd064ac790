"""PBS's texts for submitting, listing and cancelling: recorded replies, damaged ones, and every error we know."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from hpcflow.schedulers import pbs_text
from hpcflow.schedulers.base import Element, Limits, State, Submission

DATA = Path(__file__).parent / "data" / "pbs"
TABLE = (DATA / "table.txt").read_text()
HEAD = TABLE[: TABLE.index("1[].vm")]


def row(identity: str, name: str, state: str, session: str = "--") -> str:
    return (
        f"{identity[:30]:<30} {'pbsuser':<15} {'workq':<15} {name[:15]:<15} {session:>8} {'1':>4} {'1':>5} "
        f"{'100mb':>6} {'00:01':>5} {state} {'00:00':>5}\n"
    )


def element(job: str, index: int | None, name: str) -> Element:
    return Element(job, index, name, State.UNKNOWN, "")


def arguments(width: int = 1, **keys: object) -> str:
    submission = Submission(Path("/c/job.sh"), "hf001abc", width, **keys)  # type: ignore[arg-type]
    return " ".join(pbs_text.submit_arguments(submission, width, throttle=True, now=1000.0))


def test_width_one_is_no_array() -> None:
    assert " -J " not in arguments()


def test_an_array_starts_at_zero_and_may_be_throttled() -> None:
    assert "-J 0-7 " in arguments(8)
    submission = Submission(Path("/c/job.sh"), "n", 8, throttle=3)
    assert "0-7%3" in pbs_text.submit_arguments(submission, 8, throttle=True, now=0)
    assert "0-7" in pbs_text.submit_arguments(submission, 8, throttle=False, now=0)


def test_pbs_copies_no_log_to_where_nothing_may_be_any_more() -> None:
    assert "-o /dev/null" in arguments(log=Path("/c/log"))


def test_a_begin_is_local_time_and_one_in_the_past_is_left_out() -> None:
    at = time.mktime((2026, 11, 20, 7, 5, 30, 0, 0, -1))
    submission = Submission(Path("/c/job.sh"), "n", 1, not_before=at)
    assert "202611200705.30" in pbs_text.submit_arguments(submission, 1, throttle=True, now=at - 60)
    assert "-a" not in pbs_text.submit_arguments(submission, 1, throttle=True, now=at + 60)


@pytest.mark.parametrize(
    ("stdout", "expected"),
    [
        ("0.vm\n", "0"),
        ("1[].vm\n", "1[]"),
        ("4711.polaris-pbs-01.hsn.cm.polaris.alcf.anl.gov\n", "4711"),
        ("Your project has 3 hours left\n17[].pbs\n\n", "17[]"),
        ("17\n", "17"),
        ("", None),
        ("qsub: waiting for job 17.vm to start\n", None),
    ],
)
def test_job_ids(stdout: str, expected: str | None) -> None:
    assert pbs_text.job_id(stdout) == expected


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("transient", "Connection refused\nqsub: cannot connect to server vm (errno=15010)"),
        ("unclear", "qsub: Premature end of message"),
        ("unclear", "qsub: End of File"),
        ("unclear", "qsub: Batch protocol error"),
        ("transient", "qsub: Request not allowed: Server shutting down"),
        ("transient", "qsub: Queue is not enabled"),
        ("limit", "qsub: Maximum number of jobs for user ada already in queue workq"),
        ("limit", "qsub: would exceed complex's per-user limit"),
        ("limit", "qsub: would exceed queue workq's per-user limit of jobs in 'Q' state"),
        ("limit", "qsub: Maximum number of jobs already in queue for user"),
        ("limit", "qsub: Array job exceeds server or queue size limit"),
        ("transient", "qsub: Retry to submit a job exhausted."),
        ("unclear", "qsub: Error (15010) submitting job"),
        ("permanent", "qsub: Unknown queue"),
        ("permanent", "qsub: Unknown resource Resource_List.foo"),
        ("permanent", "qsub: Illegal attribute or resource value select.mem"),
        ("permanent", "qsub: Job exceeds queue and/or server resource limits"),
        ("permanent", "qsub: cannot send environment with the job"),
        ("permanent", "qsub: illegal -N value\nusage: qsub [-a date_time] [-A account_string]"),
        ("permanent", "qsub: Job violates the policy of this site: no account"),
    ],
)
def test_errors_of_qsub(kind: str, text: str) -> None:
    assert pbs_text.submit_error(text) == kind


def test_a_recorded_table() -> None:
    assert pbs_text.listing(TABLE) == [Element("1[]", None, "arr", State.ENDED, "F")]


def test_a_listing_of_elements_and_plain_jobs() -> None:
    text = HEAD + row("0.vm", "one", "R", "4711") + row("1[0].vm", "arr", "X") + row("1[12].vm", "arr", "Q")
    assert pbs_text.listing(text) == [
        Element("0", None, "one", State.RUNNING, "R"),
        Element("1[]", 0, "arr", State.ENDED, "X"),
        Element("1[]", 12, "arr", State.QUEUED, "Q"),
    ]


def test_a_server_name_that_does_not_fit_its_column_does_not_matter() -> None:
    text = HEAD + row("1234567[123].polaris-pbs-01.hsn.cm.polaris.alcf.anl.gov", "arr", "R")
    assert [(e.job, e.index) for e in pbs_text.listing(text)] == [("1234567[]", 123)]


def test_a_comment_is_the_reason_why_a_job_waits() -> None:
    waits = "   Not Running: Insufficient amount of resource: ncpus (R: 6 A: 0 T: 8)\n"
    never = "   Can Never Run: Insufficient amount of resource: ncpus (R: 100 A: 8 T: 8)\n"
    ran = "   Job run at Fri Nov 20 at 06:57 on (vm:ncpus=1)\n"
    text = HEAD + row("1.vm", "a", "Q") + waits + row("2.vm", "b", "Q") + never + row("3.vm", "c", "R") + ran
    found = pbs_text.listing(text)
    assert [e.state for e in found] == [State.QUEUED, State.HELD, State.RUNNING]
    assert [e.reason for e in found] == [waits.strip(), never.strip(), ""]


def test_an_array_is_held_and_its_elements_look_queued() -> None:
    elements = pbs_text.listing(HEAD + row("1[0].vm", "arr", "Q") + row("1[1].vm", "arr", "Q") + row("2.vm", "b", "Q"))
    assert pbs_text.may_be_held(elements)
    found = pbs_text.with_held(elements, pbs_text.listing(HEAD + row("1[].vm", "arr", "H") + row("3[].vm", "c", "H")))
    assert [(e.job, e.state, e.native) for e in found] == [
        ("1[]", State.HELD, "H"),
        ("1[]", State.HELD, "H"),
        ("2", State.QUEUED, "Q"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        row("1[0].vm", "arr", "X") + row("1[1].vm", "arr", "Q"),
        row("1[0].vm", "arr", "Q") + "   Not Running: Insufficient amount of resource: ncpus (R: 6 A: 0 T: 8)\n",
        row("1.vm", "one", "Q"),
    ],
)
def test_what_has_begun_or_is_explained_is_not_held(text: str) -> None:
    assert not pbs_text.may_be_held(pbs_text.listing(HEAD + text))


@pytest.mark.parametrize(
    ("stderr", "complains"),
    [
        ("", False),
        ("Welcome to the cluster, maintenance on Tuesday\n", False),
        ("qstat: something new\n", True),
        ("Connection refused\n", True),
    ],
)
def test_banners_are_no_complaints(stderr: str, complains: bool) -> None:
    assert pbs_text.complains(stderr) is complains


STATES = {
    **dict.fromkeys("QWT", State.QUEUED),
    **dict.fromkeys("REBSU", State.RUNNING),
    "H": State.HELD,
    **dict.fromkeys("XF", State.ENDED),
    **dict.fromkeys("M?", State.UNKNOWN),
}


@pytest.mark.parametrize(("native", "state"), STATES.items())
def test_every_documented_state(native: str, state: State) -> None:
    (found,) = pbs_text.listing(HEAD + row("1.vm", "a", native))
    assert (found.state, found.native) == (state, native)


def test_no_text_is_an_empty_queue() -> None:
    assert pbs_text.listing("") == []


@pytest.mark.parametrize("text", ["Welcome\n", HEAD[:-40], HEAD + row("1.vm", "a", "R")[:60], "qstat: hm\n"])
def test_a_reply_without_a_table_or_end_is_no_listing(text: str) -> None:
    with pytest.raises(ValueError, match="cut"):
        pbs_text.listing(text)


def test_single_elements_are_deleted_by_range_and_a_whole_array_by_its_id() -> None:
    found = [element("7[]", index, "a") for index in (0, 1, 5)]
    assert pbs_text.cancel_ids("7[]", found, whole=False) == ["7[0-1]", "7[5]"]
    assert pbs_text.cancel_ids("7[]", found, whole=True) == ["7[]"]
    assert pbs_text.cancel_ids("8", [element("8", None, "a")], whole=False) == ["8"]


@pytest.mark.parametrize(
    ("text", "failed"),
    [
        ("", False),
        ("qdel: Unknown Job Id 99999.vm\n", False),
        ("qdel: Job has finished 40.vm\n", False),
        ("qdel: Request invalid for finished array subjob 30[1].vm\n", False),
        ("Connection refused\nCouldn't connect to cluster: vm\n", True),
        ("qdel: Unauthorized Request  35.vm\n", True),
        ("double free or corruption (fasttop)\n", True),
    ],
)
def test_errors_of_qdel(text: str, failed: bool) -> None:
    assert pbs_text.delete_error(text) is failed


def test_limits_of_the_server() -> None:
    text = """Server: vm
    server_state = Active
    max_array_size = 5000
    max_queued = [u:PBS_GENERIC=100]
    max_run = [u:PBS_GENERIC=10],[u:ada=20]
    total_jobs = 0
"""
    assert pbs_text.limits(text, "bob") == Limits(submit=100, running=10, array=5000)
    assert pbs_text.limits(text, "ada") == Limits(submit=100, running=20, array=5000)
    assert pbs_text.limits("Server: vm\n", "ada") == Limits(array=10000)
