"""Slurm's texts: recorded replies, damaged ones, and every error we know."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcflow.schedulers import slurm_text
from hpcflow.schedulers.base import Cause, Element, Limits, State, Submission

DATA = Path(__file__).parent / "data" / "slurm"
SQUEUE = (DATA / "squeue.txt").read_text()
CLUSTERS = (DATA / "squeue_clusters.txt").read_text()
SACCT = (DATA / "sacct.txt").read_text()
TITLES = "ARRAY_JOB_ID|ARRAY_TASK_ID|STATE|REASON|NAME|.\n"


def element(job: str, index: int | None, name: str) -> Element:
    return Element(job, index, name, State.UNKNOWN, "")


MIX = [element("1", index, "hf001mix") for index in range(10)]


def arguments(**keys: object) -> list[str]:
    keys = {"script": Path("/c/job.sh"), "name": "hf001abc", "width": 1, **keys}
    return slurm_text.submit_arguments(Submission(**keys), (), now=1000.0)  # type: ignore[arg-type]


def test_the_name_is_on_the_command_line() -> None:
    assert "--job-name=hf001abc" in arguments()


def test_width_one_is_no_array() -> None:
    assert not [a for a in arguments() if a.startswith("--array")]


def test_an_array_starts_at_zero_and_may_be_throttled() -> None:
    assert "--array=0-7" in arguments(width=8)
    assert "--array=0-7%3" in arguments(width=8, throttle=3)


def test_a_begin_in_the_past_is_left_out() -> None:
    assert "--begin=now+61" in arguments(not_before=1060.2)
    assert not [a for a in arguments(not_before=999.0) if a.startswith("--begin")]


def test_one_cluster_is_named_and_among_several_the_script_says_which() -> None:
    submission = Submission(Path("/c/job.sh"), "hf001abc", 1)
    assert "--clusters=a" in slurm_text.submit_arguments(submission, ("a",), 0)
    assert not [a for a in slurm_text.submit_arguments(submission, ("a", "b"), 0) if "clusters" in a]


def test_the_script_comes_last_and_the_log_is_appended_to() -> None:
    found = arguments(log=Path("/c/log"))
    assert found[-1] == "/c/job.sh"
    assert {"--output=/c/log/hf001abc.out", "--open-mode=append"} <= set(found)


@pytest.mark.parametrize(
    ("stdout", "clusters", "expected"),
    [
        ("123\n", (), "123"),
        ("123;lumi\n", ("lumi",), "123;lumi"),
        ("123;lumi\n", ("lumi", "roihu"), "123;lumi"),
        ("123\n", ("lumi",), "123;lumi"),
        ("123;lumi\n", (), "123"),
        ("Welcome!\n42 jobs today\n123\nBye\n", (), "123"),
        ("123\n42\n", (), None),  # one is the id and one is not
        ("123\n123\n", (), "123"),
        ("", (), None),
        ("Submitted batch job 123\n", (), None),
        ("12 3\n", (), None),
    ],
)
def test_job_ids(stdout: str, clusters: tuple[str, ...], expected: str | None) -> None:
    assert slurm_text.job_id(stdout, clusters) == expected


FAILED = "sbatch: error: Batch job submission failed: "


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("unclear", FAILED + "Socket timed out on send/recv operation"),
        ("unclear", FAILED + "Unable to contact slurm controller (receive failure)"),
        ("unclear", FAILED + "Zero Bytes were transmitted or received"),
        ("unclear", FAILED + "Transport endpoint is not connected"),
        ("unclear", FAILED + "Unexpected message received"),
        ("transient", FAILED + "Unable to contact slurm controller (connect failure)"),
        ("transient", FAILED + "Rate limit exceeded, please retry momentarily"),
        ("transient", FAILED + "Slurm backup controller in standby mode"),
        ("transient", FAILED + "I/O error writing script/environment to file"),
        ("transient", FAILED + "Protocol authentication error"),
        ("transient", "sbatch: error: Munge encode failed: Failed to access socket: No such file"),
        ("transient", "sbatch: fatal: Could not establish a configuration source"),
        ("transient", FAILED + "Required partition not available (inactive or drain)"),
        ("limit", FAILED + "MaxJobCount limit reached"),
        ("limit", FAILED + "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"),
        ("permanent", FAILED + "Invalid partition name specified"),
        ("permanent", FAILED + "Invalid account or account/partition combination specified"),
        ("permanent", FAILED + "Invalid qos specification"),
        ("permanent", FAILED + "Requested time limit is invalid (missing or exceeds some limit)"),
        ("permanent", FAILED + "Invalid job array specification"),
        ("permanent", FAILED + "Requested node configuration is not available"),
        ("permanent", FAILED + "Node count specification invalid"),
        ("permanent", FAILED + "Unspecified error"),
        ("permanent", "sbatch: unrecognized option '--nonsense'"),
        ("permanent", "sbatch: error: Unable to open file job.sh"),
    ],
)
def test_errors_of_sbatch(kind: str, text: str) -> None:
    assert slurm_text.submit_error(text) == kind


POLICY = FAILED + "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"


@pytest.mark.parametrize("limit", ["QOSMaxSubmitJobPerUserLimit", "AssocMaxSubmitJobLimit", "AssocGrpSubmitJobsLimit"])
def test_a_submit_limit_passes(limit: str) -> None:
    assert slurm_text.submit_error(f"sbatch: error: {limit}\n{POLICY}") == "limit"


@pytest.mark.parametrize("limit", ["QOSMaxWallDurationPerJobLimit", "AssocMaxCpuPerJobLimit", "QOSMaxNodePerJobLimit"])
def test_a_limit_on_the_job_itself_does_not_pass(limit: str) -> None:
    assert slurm_text.submit_error(f"sbatch: error: {limit}\n{POLICY}") == "permanent"


def test_only_how_the_retries_of_sbatch_ended_counts() -> None:
    text = "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying\n"
    assert slurm_text.submit_error(text + FAILED + "Invalid qos specification") == "permanent"


def test_a_recorded_listing() -> None:
    found = {(e.name, e.index): (e.state, e.native, e.reason) for e in slurm_text.listing(SQUEUE, ())}
    assert found["hf001mix", 0] == (State.ENDED, "COMPLETED", "")
    assert found["hf001mix", 3] == (State.ENDED, "OUT_OF_MEMORY", "OutOfMemory")
    assert found["hf001mix", 6] == (State.QUEUED, "PENDING", "BeginTime")
    assert found["hf001plain", None] == (State.HELD, "PENDING", "JobHeldUser")
    assert found["hf001never", None] == (State.HELD, "PENDING", "DependencyNeverSatisfied")
    assert found["hf001long", None] == (State.HELD, "PENDING", "PartitionTimeLimit")
    assert found["hf001big", None] == (State.HELD, "PENDING", "PartitionConfig")
    assert found["hf001node", None] == (State.RUNNING, "RUNNING", "")
    # 10 + 5 elements and 6 plain jobs; of the one with a newline in its name nothing is known.
    assert len(found) == 21


def test_a_recorded_listing_of_a_cluster_has_its_name_in_the_ids() -> None:
    assert {e.job for e in slurm_text.listing(CLUSTERS, ("test",)) if e.name == "hf001mix"} == {"1;test"}


def test_nothing_but_titles_is_an_empty_queue() -> None:
    assert slurm_text.listing(TITLES, ()) == []


@pytest.mark.parametrize(
    "text", ["", "\n", "Welcome\n", TITLES[:-3], TITLES + "13|1|RUNN", TITLES + "13|1|RUNNING|None|x\n"]
)
def test_a_reply_without_titles_or_end_is_no_listing(text: str) -> None:
    with pytest.raises(ValueError, match="reply"):
        slurm_text.listing(text, ())


def test_a_listing_without_one_of_its_clusters_is_none() -> None:
    with pytest.raises(ValueError, match="cluster roihu"):
        slurm_text.listing(CLUSTERS + "CLUSTER: lumi\n" + TITLES, ("lumi", "roihu"))


@given(st.integers(0, len(SQUEUE) - 2))
def test_a_listing_cut_anywhere_inside_a_line_is_noticed(length: int) -> None:
    cut = SQUEUE[:length]
    if cut.endswith("\n") and cut.splitlines()[-1].endswith("|."):
        assert len(slurm_text.listing(cut, ())) < 21
    else:
        with pytest.raises(ValueError, match="reply"):
            slurm_text.listing(cut, ())


def test_an_unknown_state_is_unknown() -> None:
    (found,) = slurm_text.listing(TITLES + "7|N/A|LEVITATING|None|hf001abc|.\n", ())
    assert (found.state, found.native) == (State.UNKNOWN, "LEVITATING")


# All states of Slurm's manual, and what they are to us.
STATES = {
    State.QUEUED: ["PENDING", "CONFIGURING", "REQUEUED", "REQUEUE_FED", "EXPEDITING"],
    State.HELD: ["REQUEUE_HOLD", "SPECIAL_EXIT", "RESV_DEL_HOLD"],
    State.RUNNING: ["RUNNING", "COMPLETING", "SUSPENDED", "STOPPED", "SIGNALING", "STAGE_OUT", "RESIZING"],
    State.ENDED: [
        *("COMPLETED", "CANCELLED", "FAILED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "BOOT_FAIL"),
        *("DEADLINE", "OUT_OF_MEMORY", "REVOKED", "LAUNCH_FAILED", "RECONFIG_FAIL"),
    ],
}


@pytest.mark.parametrize(("native", "state"), [(native, state) for state in STATES for native in STATES[state]])
def test_every_documented_state(native: str, state: State) -> None:
    (found,) = slurm_text.listing(TITLES + f"7|N/A|{native}|None|hf001abc|.\n", ())
    assert found.state is state


@pytest.mark.parametrize(
    ("reason", "state"),
    [
        ("Resources", State.QUEUED),
        ("Priority", State.QUEUED),
        ("QOSMaxJobsPerUserLimit", State.QUEUED),
        ("AssocGrpCPURunMinutesLimit", State.QUEUED),
        ("ReqNodeNotAvail, UnavailableNodes:n2", State.QUEUED),
        ("launch failed requeued held", State.HELD),
        ("Nodes required for job are DOWN, DRAINED or reserved, JobHeldUser", State.HELD),
        ("QOSMaxWallDurationPerJobLimit", State.HELD),
        ("AssocGrpCPUMinutesLimit", State.HELD),
        ("InvalidAccount", State.HELD),
    ],
)
def test_a_pending_job_is_held_if_only_a_person_can_help(reason: str, state: State) -> None:
    (found,) = slurm_text.listing(TITLES + f"7|N/A|PENDING|{reason}|hf001abc|.\n", ())
    assert (found.state, found.reason) == (state, reason)


@given(name=st.text(st.characters(codec="utf-8"), max_size=20))
def test_no_name_of_a_foreign_job_hides_or_changes_ours(name: str) -> None:
    ours = "7|0|RUNNING|None|hf001abc|.\n"
    text = f"{TITLES}{ours}8|N/A|PENDING|None|{name}|.\n{ours.replace('|0|', '|1|')}"
    found = {e.index for e in slurm_text.listing(text, ()) if e.name == "hf001abc" and e.job == "7"}
    assert {0, 1} <= found


def test_recorded_accounting() -> None:
    found = slurm_text.accounting(SACCT, MIX)
    assert {index: found["1", index].cause for index in range(10)} == {
        0: Cause.COMPLETED,
        1: Cause.FAILED,
        2: Cause.FAILED,
        3: Cause.OOM,
        4: Cause.FAILED,
        5: Cause.CANCELLED,
        6: Cause.NODE,  # it runs again: what ended is its first life
        7: Cause.NODE,
        8: Cause.COMPLETED,
        9: Cause.COMPLETED,
    }
    assert (found["1", 1].exit_code, found["1", 1].signal) == (7, None)
    assert (found["1", 2].exit_code, found["1", 2].signal) == (0, 9)
    assert found["1", 3].signal is None
    assert (found["1", 5].native, found["1", 5].nodes) == ("CANCELLED by 0", "n2")
    assert (found["1", 5].start, found["1", 5].end) == (1795170476.0, 1795170478.0)


def test_what_was_cancelled_while_it_waited_is_one_row_for_all() -> None:
    asked = [element("4", index, "hf001cancelled") for index in (1, 5, 6)]
    assert set(slurm_text.accounting(SACCT, asked)) == {("4", 1), ("4", 5)}


def test_accounting_of_a_cluster() -> None:
    assert set(slurm_text.accounting(SACCT, [element("1;test", 1, "hf001mix")])) == {("1;test", 1)}
    assert slurm_text.accounting(SACCT, [element("1;other", 1, "hf001mix")]) == {}


def test_what_lives_has_no_ending() -> None:
    asked = [element("2", None, "hf001plain"), element("6", None, "hf001node")]
    assert slurm_text.accounting(SACCT, asked) == {}


def test_a_row_of_a_job_with_the_same_id_and_another_name_is_not_ours() -> None:
    assert slurm_text.accounting(SACCT, [element("1", 0, "hf002mix")]) == {}


def test_a_row_for_a_whole_array_explains_no_element() -> None:
    placeholder = "7541|test|COMPLETED|0:0|n1|1|2|hf001mix\n"
    assert slurm_text.accounting(placeholder, [element("7541", 0, "hf001mix")]) == {}


def test_the_last_life_counts() -> None:
    lives = (
        "7|test|NODE_FAIL|0:0|n2|10|20|hf001abc\n"
        "7|test|TIMEOUT|0:0|n1|30|40|hf001abc\n"
        "7|test|REQUEUED|0:0|n3|21|25|hf001abc\n"
    )
    assert slurm_text.accounting(lives, [element("7", None, "hf001abc")])["7", None].cause is Cause.WALLTIME


def test_a_life_that_goes_on_is_told_with_those_that_ended() -> None:
    ending = slurm_text.accounting(SACCT, MIX)["1", 6]
    assert [(life.cause, life.start, life.end) for life in ending.lives] == [
        (Cause.NODE, 1795170476.0, 1795170478.0),
        (Cause.UNKNOWN, 1795170484.0, None),
    ]
    assert slurm_text.accounting(SACCT, MIX)["1", 5].lives == ()


def test_the_configuration_limits_arrays() -> None:
    assert slurm_text.configured_limits((DATA / "config.txt").read_text()) == Limits(array=1001)
    text = "MaxArraySize            = 5001\nSchedulerParameters     = bf_interval=1,max_array_tasks=200\n"
    assert slurm_text.configured_limits(text) == Limits(array=200)
    assert slurm_text.configured_limits("MaxArraySize            = 0\n") == Limits(array=1)


QUALITIES = "normal||\nlim|2|5\n"


@pytest.mark.parametrize(
    ("associations", "account", "expected"),
    [
        ("test||||normal\n", None, Limits()),
        ("test||3|7|normal\n", None, Limits(submit=7, running=3)),
        ("test||3|7|lim\n", None, Limits(submit=5, running=2)),
        ("test||3|7|normal\nbig|||100|normal\n", None, Limits(submit=100)),
        ("test||3|7|normal\nbig|||100|normal\n", "test", Limits(submit=7, running=3)),
        ("test|gpu|1|1|normal\ntest||3|7|normal\n", "test", Limits(submit=7, running=3)),
        ("", None, Limits()),
    ],
)
def test_accounting_limits_users(associations: str, account: str | None, expected: Limits) -> None:
    assert slurm_text.user_limits(associations, QUALITIES, account) == expected


@pytest.mark.parametrize(
    ("path", "expected"),
    [("/a b/x.out", "/a b/x.out"), ("/100%/x.out", "/100%%/x.out"), ("/a\\b/%j.out", "/a\\\\b/%j.out")],
)
def test_nothing_in_a_path_is_replaced(path: str, expected: str) -> None:
    assert slurm_text.output_path(path) == expected
