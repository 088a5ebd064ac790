"""Slurm's reasons for waiting in plain words."""

import pytest

from hpcflow.schedulers import slurm_text
from hpcflow.schedulers.slurm_reasons import plain

TITLES = "ARRAY_JOB_ID|ARRAY_TASK_ID|STATE|REASON|NAME|.\n"


@pytest.mark.parametrize(
    ("reason", "meaning"),
    [
        ("JobHeldUser", "scontrol release 7"),
        ("JobHeldAdmin", "administrator"),
        ("Nodes required for job are DOWN, DRAINED or reserved,JobHeldUser", "scontrol release 7"),
        ("launch failed requeued held", "scontrol release 7"),
        ("job requeued in held state", "scontrol release 7"),
        ("BeginTime", "its time has not come"),
        ("Dependency", "another job"),
        ("DependencyNeverSatisfied", "never start"),
        ("QOSMaxSubmitJobPerUserLimit", "in the queue as you may"),
        ("AssocMaxSubmitJobLimit", "in the queue as you may"),
        ("QOSMaxJobsPerUserLimit", "as much at once as is allowed"),
        ("AssocGrpCPURunMinutesLimit", "as much at once as is allowed"),
        ("AssocGrpCPUMinutesLimit", "budget of the account is used up"),
        ("QOSMaxWallDurationPerJobLimit", "more time than you may have"),
        ("QOSMaxCpuPerJobLimit", "more than one job may have"),
        ("PartitionTimeLimit", "more time than its partition gives"),
        ("PartitionConfig", "no node of its partition"),
        ("ReqNodeNotAvail, UnavailableNodes:n2", "down, drained or reserved"),
        ("InvalidAccount", "may not compute here"),
        ("JobArrayTaskLimit", "as the site file allows"),
        ("Priority", "others are before it"),
    ],
)
def test_a_reason_that_is_known_gets_a_sentence(reason: str, meaning: str) -> None:
    assert meaning in plain(reason, "7")


def test_a_reason_that_is_not_known_gets_none() -> None:
    assert plain("SomethingNew", "7") == plain("", "7") == ""


def test_the_listing_has_both() -> None:
    rows = "7|0|PENDING|JobHeldUser|hf001abc|.\n7|1|RUNNING|None|hf001abc|.\n7|2|PENDING|SomethingNew|hf001abc|.\n"
    held, running, new = slurm_text.listing(TITLES + rows, ())
    assert (held.reason, held.plain) == ("JobHeldUser", "somebody holds it; let it go with: scontrol release 7")
    assert (running.reason, running.plain) == ("", "")
    assert (new.reason, new.plain) == ("SomethingNew", "")
