"""Whole campaigns on the stand-ins for PBS and LSF: what can happen to one, from submission to results."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from batch_campaigns import STEPS, BatchCampaign
from campaign_harness import wait_for

KINDS = ["pbs", "lsf"]
SQUARES = [x * x for x in range(8)]


@pytest.fixture
def campaign(tmp_path: Path) -> Iterator[BatchCampaign]:
    campaign = BatchCampaign(tmp_path / "campaign", tmp_path / "home")
    yield campaign
    campaign.end()


@pytest.mark.parametrize("kind", KINDS)
def test_a_campaign_keeps_its_limit_and_tries_again_what_failed(campaign: BatchCampaign, kind: str) -> None:
    campaign.prepare(kind, parameters="count: 8, seconds: 0.3, fails: [2]", history="1")
    campaign.good("submit")
    most = campaign.living()
    while campaign.poll().returncode != 0:
        most = max(most, campaign.living())
        time.sleep(0.1)
    assert most == 3
    assert campaign.results() == SQUARES
    assert any("[" in element for _, element, _ in campaign.lines("begin"))  # an array


@pytest.mark.parametrize("kind", KINDS)
def test_a_single_worker_is_a_plain_job(campaign: BatchCampaign, kind: str) -> None:
    campaign.prepare(kind, parameters="count: 1")
    campaign.good("submit")
    campaign.finish()
    ((_, element, _),) = campaign.lines("begin")
    assert "[" not in element


@pytest.mark.parametrize("kind", KINDS)
def test_cancelling_ends_the_jobs_and_keeps_the_results(campaign: BatchCampaign, kind: str) -> None:
    campaign.prepare(kind, parameters="count: 8, seconds: 0.5", history="1")
    campaign.good("submit")
    wait_for(lambda: campaign.lines("end"))
    campaign.good("cancel")
    wait_for(lambda: campaign.living() == 0)
    campaign.poll()
    assert campaign.status()["tasks"]["succeeded"] >= 1
    assert len(campaign.submissions()) == 1


@pytest.mark.parametrize(
    ("kind", "limit"), [("pbs", "walltime: '00:00:02'"), ("lsf", "W: '00:01'")], ids=["pbs", "lsf"]
)
@pytest.mark.slow  # a job must reach its walltime
def test_at_the_walltime_a_task_goes_on_from_its_checkpoint(campaign: BatchCampaign, kind: str, limit: str) -> None:
    """The worker believes in ten minutes: it is the scheduler that ends it."""
    campaign.prepare(kind, STEPS, "steps: 18", f", options: {{{limit}}}", history="1", minute="2")
    campaign.good("submit")
    campaign.finish()
    assert campaign.results() == [18]
    assert ("walltime", []) in campaign.closed()


@pytest.mark.parametrize(
    ("kind", "settings", "cause"),
    [
        ("pbs", {"history": "1", "memory": "1"}, "oom"),
        ("lsf", {"lsf": "10", "memory": "1"}, "oom"),
        ("pbs", {"history": "1"}, "lost"),
        ("lsf", {}, "lost"),
        ("pbs", {}, "lost"),
    ],
    ids=["pbs memory", "lsf memory", "pbs", "lsf", "pbs without history"],
)
@pytest.mark.slow  # the scheduler is asked when the settle time is over
def test_a_job_that_dies_of_sigkill_is_explained(
    campaign: BatchCampaign, kind: str, settings: dict[str, str], cause: str
) -> None:
    campaign.prepare(kind, parameters="count: 1, seconds: 2", work=", memory: 100M", **settings)
    campaign.good("submit")
    campaign.at_work(1)
    campaign.kill()
    campaign.finish()
    assert campaign.closed() == [(cause, [cause])]
    assert campaign.submissions()[-1]["request"] == ({"memory": 150} if cause == "oom" else {})


@pytest.mark.parametrize("kind", KINDS)
def test_a_job_that_somebody_cancels_is_not_submitted_again(campaign: BatchCampaign, kind: str) -> None:
    campaign.prepare(kind, parameters="count: 1, seconds: 30", history="1")
    campaign.good("submit")
    campaign.at_work(1)
    (element,) = campaign.elements()
    (campaign.state / str(element["job"]) / f"{0}.end").write_text("deleted")  # what qdel and bkill do
    campaign.said_until("was cancelled, and not by hpcflow")
    assert len(campaign.submissions()) == 1


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        *((kind, "") for kind in KINDS),
        ("pbs", "qsub: Premature end of message"),
        ("lsf", "Failed in an LSF library call: Communication time out. Job not submitted."),
    ],
)
def test_a_submission_without_an_answer_is_found_in_the_queue(campaign: BatchCampaign, kind: str, text: str) -> None:
    campaign.prepare(kind, parameters="count: 8, seconds: 0.3", history="1")
    campaign.turn("mute", True, text)
    assert "did not say whether it took the job" in campaign.good("submit")
    campaign.turn("mute", False)
    campaign.finish()
    assert campaign.results() == SQUARES
    assert len({element["name"] for element in campaign.elements()}) == len(campaign.submissions()) == 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.slow  # it is looked for twice, a settle time apart
def test_workers_tell_the_id_of_a_job_that_nobody_could_list_and_it_can_be_cancelled(
    campaign: BatchCampaign, kind: str
) -> None:
    campaign.prepare(kind, parameters="count: 8, seconds: 30", history="1")
    campaign.turn("mute", True)
    campaign.good("submit")
    campaign.turn("mute", False)
    campaign.turn("away", True)
    campaign.at_work(3)
    campaign.said_until("its workers say that it is")
    campaign.turn("away", False)
    campaign.good("cancel")
    wait_for(lambda: campaign.living() == 0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.slow  # the scheduler is away for longer than the settle time
def test_a_scheduler_that_is_away_changes_nothing(campaign: BatchCampaign, kind: str) -> None:
    campaign.prepare(kind, parameters="count: 8, seconds: 0.5", history="1")
    campaign.good("submit")
    campaign.at_work(1)
    campaign.turn("away", True)
    campaign.said_until("nothing is concluded from that")
    campaign.finish()  # the workers' goodbyes are enough
    assert campaign.results() == SQUARES
    assert len(campaign.submissions()) == 1


def test_an_array_that_lsf_silently_made_one_plain_job_of_does_all_the_work(campaign: BatchCampaign) -> None:
    campaign.prepare("lsf", parameters="count: 8, seconds: 0.1", largest="2")
    campaign.good("submit")
    campaign.finish()
    assert campaign.results() == SQUARES
    assert {element for _, element, _ in campaign.lines("begin")} == {"1"}


def test_an_array_that_is_held_says_so(campaign: BatchCampaign) -> None:
    campaign.prepare("pbs", parameters="count: 8", work=', options: {h: ""}')
    campaign.good("submit")
    assert "is held" in campaign.said_until("is held")


@pytest.mark.parametrize("kind", KINDS)
def test_a_full_queue_is_filled_as_far_as_it_goes(campaign: BatchCampaign, kind: str) -> None:
    campaign.prepare(kind, parameters="count: 8, seconds: 0.1", most="2")
    campaign.good("submit")
    campaign.finish()
    assert campaign.results() == SQUARES
    assert campaign.status()["tasks"]["failed"] == 0


def test_an_array_that_is_too_large_for_its_queue_is_submitted_in_parts(campaign: BatchCampaign) -> None:
    campaign.prepare("pbs", parameters="count: 8, seconds: 0.1", largest="2")
    campaign.good("submit")
    campaign.finish()
    assert campaign.results() == SQUARES
    assert {e["width"] for e in campaign.submissions()} == {3, 1}


@pytest.mark.parametrize("kind", KINDS)
def test_a_scheduler_that_cannot_say_its_limits_is_asked_for_nothing_else(campaign: BatchCampaign, kind: str) -> None:
    campaign.prepare(kind, limits="{}")
    campaign.turn("away", True)
    done = campaign.hpcflow("submit")
    assert "nothing is submitted now" in done.stdout
    assert campaign.calls("bparams") + campaign.calls("qstat") == 2  # once for the plan, and once in the tick
    assert campaign.submissions() == []
    campaign.turn("away", False)
    campaign.finish()
    assert campaign.results() == SQUARES


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.slow  # a pause between two looks at the queue is two seconds
def test_a_test_job_that_fails_is_shown_with_what_it_printed(campaign: BatchCampaign, kind: str) -> None:
    campaign.prepare(kind)
    site = campaign.directory / "sites" / "standin.yaml"
    site.write_text(site.read_text() + "environment: {lines: [module load nothing]}\n")
    done = campaign.hpcflow("sites", "check", "--job")
    assert "and left nothing in" in done.stdout
    assert "this line of the job failed with status 127: module load nothing" in done.stdout


@pytest.mark.parametrize("kind", KINDS)
def test_the_log_of_a_job_is_there_while_it_runs(campaign: BatchCampaign, kind: str) -> None:
    campaign.prepare(kind, parameters="count: 4, seconds: 60", work=", nodes: 2, workers: 2")
    site = campaign.directory / "sites" / "standin.yaml"
    site.write_text(site.read_text() + "environment: {lines: [echo made ready]}\n")
    campaign.good("submit")
    campaign.at_work(4)
    (log,) = (campaign.database / "arrays").glob("*/work/log/*")
    wait_for(lambda: log.read_text().count("made ready") == 2, say=log.read_text())
    campaign.good("cancel")
    wait_for(lambda: log.read_text().count("leaves: ") == 4, say=log.read_text())  # of every node's worker
    assert "made ready" in campaign.good("logs", "-n", "200")


@pytest.mark.parametrize("kind", KINDS)
def test_an_element_of_two_nodes_has_a_worker_on_each(campaign: BatchCampaign, kind: str) -> None:
    campaign.prepare(kind, parameters="count: 8, seconds: 0.5", work=", nodes: 2, workers: 1")
    campaign.good("submit")
    campaign.finish()
    assert campaign.results() == SQUARES
    assert {node for _, _, node in campaign.lines("begin")} == {"node0", "node1"}
    assert len(campaign.elements()) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_task_larger_than_a_node_has_one_worker_for_all_of_them(campaign: BatchCampaign, kind: str) -> None:
    campaign.prepare(kind, parameters="count: 2", work=", nodes: 2, span: true, workers: 1")
    campaign.good("submit")
    campaign.finish()
    assert {node for _, _, node in campaign.lines("begin")} == {"-"}
    assert len({element for _, element, _ in campaign.lines("begin")}) == 1
