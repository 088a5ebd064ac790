"""Which programs the Slurm back end starts, and how often."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_programs import Programs

from hpcflow.schedulers.base import Cause, Element, SchedulerError, State, Submission
from hpcflow.schedulers.slurm import Slurm

DATA = Path(__file__).parent / "data" / "slurm"
TITLES = "ARRAY_JOB_ID|ARRAY_TASK_ID|STATE|REASON|NAME|.\n"
GONE = Element("7", 1, "ours", State.UNKNOWN, "")
ROW = "7_1|test|TIMEOUT|0:0|n1|1|2|ours\n"


@pytest.fixture
def slurm(programs: Programs) -> Slurm:
    return Slurm(environment=programs.environment, submit_timeout=20, query_timeout=20)


def test_a_listing_is_one_process(slurm: Slurm, programs: Programs) -> None:
    programs.says("squeue", (DATA / "squeue.txt").read_text())
    assert len(slurm.listing()) == 21
    assert len(programs.calls) == 1


def test_a_listing_asks_for_everything_of_one_user(slurm: Slurm, programs: Programs) -> None:
    programs.says("squeue", TITLES)
    slurm.listing()
    assert {"--states=all", "--array"} <= set(programs.calls[0].split())
    assert "--user=" in programs.calls[0]


@pytest.mark.parametrize(
    ("stdout", "stderr", "exit_code"),
    [
        ("", "slurm_load_jobs error: Unable to contact slurm controller (connect failure)", 1),
        (TITLES, "squeue: error: Invalid user: 1000", 0),
        ("", "", 0),
        (TITLES + "7|1|RUNN", "", 0),
        (TITLES, "", 1),
    ],
)
def test_a_listing_that_failed_is_none(
    slurm: Slurm, programs: Programs, stdout: str, stderr: str, exit_code: int
) -> None:
    programs.says("squeue", stdout, stderr, exit_code)
    with pytest.raises(SchedulerError) as caught:
        slurm.listing()
    assert caught.value.transient


def test_a_listing_that_never_ends_is_none(programs: Programs) -> None:
    programs.add("squeue", f"printf '{TITLES}'", "sleep 60")
    with pytest.raises(SchedulerError, match="squeue did not answer"):
        Slurm(environment=programs.environment, query_timeout=0.5).listing()


def test_endings_are_one_question_however_many_elements(slurm: Slurm, programs: Programs) -> None:
    programs.says("sacct", ROW)
    asked = [GONE, Element("8", None, "other", State.UNKNOWN, ""), Element("7", 2, "ours", State.UNKNOWN, "")]
    assert {key: ending.cause for key, ending in slurm.endings(asked).items()} == {("7", 1): Cause.WALLTIME}
    (call,) = programs.calls
    assert "--jobs=7,8" in call


def test_a_submission_without_an_id_is_asked_for_by_name_in_the_same_question(slurm: Slurm, programs: Programs) -> None:
    programs.says("sacct", ROW + "9_0|test|RUNNING|0:0|n1|1|Unknown|lost\n9_1|test|RUNNING|0:0|n1|1|Unknown|lost\n")
    sought = Element("", None, "lost", State.UNKNOWN, "")
    unknown = Element("", None, "never", State.UNKNOWN, "")
    found = slurm.endings([GONE, sought, unknown])
    (call,) = programs.calls
    assert "--name=lost,never,ours" in call
    assert "--jobs" not in call
    assert set(found) == {("7", 1), ("lost", None)}
    assert (found["lost", None].job, found["lost", None].cause) == ("9", Cause.UNKNOWN)


def test_an_id_that_is_found_by_name_has_its_cluster(programs: Programs) -> None:
    programs.says("sacct", "9|test|FAILED|1:0|n1|1|2|lost\n")
    slurm = Slurm(environment=programs.environment, clusters=["test"])
    assert slurm.endings([Element("", None, "lost", State.UNKNOWN, "")])["lost", None].job == "9;test"


def test_no_elements_are_no_question(slurm: Slurm, programs: Programs) -> None:
    programs.says("sacct", "")
    assert slurm.endings([]) == {}
    assert programs.calls == []


def test_accounting_that_is_disabled_is_asked_once(slurm: Slurm, programs: Programs) -> None:
    programs.says("sacct", "", "Slurm accounting storage is disabled\n", 1)
    assert slurm.endings([GONE]) == {}
    assert slurm.endings([GONE]) == {}
    assert len(programs.calls) == 1


def test_a_site_without_sacct_has_no_accounting(programs: Programs) -> None:
    slurm = Slurm(environment={"PATH": str(programs.directory)})
    assert slurm.endings([GONE]) == {}


def test_what_the_listing_said_needs_no_accounting(slurm: Slurm, programs: Programs) -> None:
    programs.says("squeue", TITLES + "7|1|NODE_FAIL|NodeDown|ours|.\n")
    programs.says("sacct", "", "Slurm accounting storage is disabled\n", 1)
    slurm.listing()
    assert slurm.endings([GONE])["7", 1].cause is Cause.NODE


def test_a_window_that_is_too_wide_becomes_narrower(slurm: Slurm, programs: Programs) -> None:
    programs.says("row", ROW)
    programs.add(
        "sacct",
        'case "$*" in *2days*) row;; *) echo "sacct: error: Too wide of a date range in query" >&2; exit 1;; esac',
    )
    assert set(slurm.endings([GONE])) == {("7", 1)}


@pytest.mark.parametrize(("stdout", "exit_code"), [("", 1), (ROW[:-1], 0)])
def test_accounting_that_failed_is_transient(slurm: Slurm, programs: Programs, stdout: str, exit_code: int) -> None:
    programs.says("sacct", stdout, "", exit_code)
    with pytest.raises(SchedulerError) as caught:
        slurm.endings([GONE])
    assert caught.value.transient


QUEUE = TITLES + "".join(f"7|{i}|PENDING|None|ours|.\n" for i in range(4)) + "8|N/A|RUNNING|None|mine|.\n"


def test_single_elements_are_cancelled_by_id(slurm: Slurm, programs: Programs) -> None:
    programs.says("squeue", QUEUE)
    programs.says("scancel", "")
    slurm.cancel([Element("7", index, "ours", State.QUEUED, "") for index in (0, 1, 3)])
    assert programs.calls[1:] == ["scancel 7_[0-1,3]"]


def test_whole_jobs_are_cancelled_by_id_and_name(slurm: Slurm, programs: Programs) -> None:
    programs.says("squeue", QUEUE)
    programs.says("scancel", "")
    slurm.cancel([Element("7", None, "ours", State.QUEUED, ""), Element("8", None, "mine", State.RUNNING, "")])
    assert programs.calls[1:] == ["scancel --name=ours 7", "scancel --name=mine 8"]


def test_a_listing_of_a_moment_ago_is_enough_to_cancel_but_not_one_before_a_submission(
    slurm: Slurm, programs: Programs, tmp_path: Path
) -> None:
    programs.says("squeue", QUEUE)
    programs.says("scancel", "")
    programs.says("sbatch", "9\n")
    whole = Element("7", None, "ours", State.QUEUED, "")
    slurm.listing()
    slurm.cancel([whole])
    slurm.submit(Submission(tmp_path / "job.sh", "new", 1))
    slurm.cancel([whole])
    assert [call.split()[0] for call in programs.calls] == ["squeue", "scancel", "sbatch", "squeue", "scancel"]


def test_one_job_that_cannot_be_cancelled_does_not_keep_the_others(slurm: Slurm, programs: Programs) -> None:
    programs.says("squeue", QUEUE)
    programs.add("scancel", 'case "$*" in *7) echo "scancel: error: Kill job error on job id 7: away" >&2;; esac')
    both = [Element("7", None, "ours", State.QUEUED, ""), Element("8", None, "mine", State.RUNNING, "")]
    with pytest.raises(SchedulerError, match="job id 7"):
        slurm.cancel(both)
    assert programs.calls[1:] == ["scancel --name=ours 7", "scancel --name=mine 8"]


def test_what_is_no_longer_there_under_its_name_is_not_cancelled(slurm: Slurm, programs: Programs) -> None:
    programs.says("squeue", QUEUE)
    slurm.cancel([Element("7", None, "lost", State.QUEUED, ""), Element("9", None, "ours", State.RUNNING, "")])
    assert len(programs.calls) == 1


def test_what_ended_meanwhile_is_no_error(slurm: Slurm, programs: Programs) -> None:
    programs.says("squeue", QUEUE)
    programs.says("scancel", "", "scancel: error: Kill job error on job id 8: Invalid job id specified\n", 1)
    slurm.cancel([Element("8", None, "mine", State.RUNNING, "")])
    assert len(programs.calls) == 2


def test_an_error_of_scancel_is_one_even_if_it_exits_with_0(slurm: Slurm, programs: Programs) -> None:
    programs.says("squeue", QUEUE)
    programs.says("scancel", "", "scancel: error: Kill job error on job id 8: Access/permission denied\n", 0)
    with pytest.raises(SchedulerError, match="permission denied"):
        slurm.cancel([Element("8", None, "mine", State.RUNNING, "")])


def test_a_submission_runs_in_its_log_directory(slurm: Slurm, programs: Programs, tmp_path: Path) -> None:
    programs.add("sbatch", 'echo "$PWD" >where', "echo 12")
    script = tmp_path / "job.sh"
    assert slurm.submit(Submission(script, "hf001abc", 1, log=tmp_path / "new" / "log")) == "12"
    assert (tmp_path / "new" / "log" / "where").read_text().strip() == str(tmp_path / "new" / "log")


def test_a_refusal_carries_command_and_reply(slurm: Slurm, programs: Programs, tmp_path: Path) -> None:
    said = "sbatch: error: QOSMaxSubmitJobPerUserLimit\nsbatch: error: Batch job submission failed: "
    said += "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"
    programs.says("sbatch", "", said, 1)
    with pytest.raises(SchedulerError, match="QOSMaxSubmitJobPerUserLimit") as caught:
        slurm.submit(Submission(tmp_path / "job.sh", "hf001abc", 1))
    assert (caught.value.kind, caught.value.reply) == ("limit", said)
    assert caught.value.command[0] == "sbatch"


def test_an_sbatch_that_was_killed_is_unclear(slurm: Slurm, programs: Programs, tmp_path: Path) -> None:
    programs.add("sbatch", "kill -9 $$")
    with pytest.raises(SchedulerError, match="signal 9") as caught:
        slurm.submit(Submission(tmp_path / "job.sh", "hf001abc", 1))
    assert caught.value.kind == "unclear"


def test_limits_without_accounting_are_those_of_the_configuration(slurm: Slurm, programs: Programs) -> None:
    programs.says("scontrol", (DATA / "config.txt").read_text().replace("slurmdbd", "none"))
    programs.add("sacctmgr", "exit 9")  # is not asked
    found = slurm.limits()
    assert (found.submit, found.running, found.array, found.whole) == (None, None, 1001, True)


def test_accounting_that_does_not_answer_says_nothing_about_limits(slurm: Slurm, programs: Programs) -> None:
    programs.says("scontrol", (DATA / "config.txt").read_text())
    programs.says("sacctmgr", "", "sacctmgr: error: Problem talking to the database: Connection refused\n", 1)
    found = slurm.limits()
    assert (found.submit, found.running, found.array, found.whole) == (None, None, 1001, False)
