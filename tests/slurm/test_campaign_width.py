"""How many elements a campaign has in the queue, and what happens when there is no room for more."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from private_slurm import Cluster
from slurm_campaigns import QueueWatch, SlurmCampaign

pytestmark = pytest.mark.slurm


def test_one_worker_is_a_plain_job(slurm_campaign: SlurmCampaign) -> None:
    campaign = slurm_campaign.prepare(parameters="count: 1")
    campaign.good("submit")
    campaign.finish_saying()
    (token,) = campaign.intents()
    assert campaign.lives()[0].element == campaign.submitted()[token]  # and not 7_0


def test_a_second_campaign_of_the_same_user_leaves_room_for_the_first(
    slurm_campaign: SlurmCampaign, cluster: Cluster
) -> None:
    first = slurm_campaign.prepare(parameters="count: 6, seconds: 100", limits="submit: 3")
    second = SlurmCampaign(first.directory.with_name("second"), first.home, cluster)
    second.prepare(parameters="count: 6", limits="submit: 4")
    first.good("submit")
    said = second.good("submit")
    assert "with 1 worker" in said
    second.finish_saying()
    first.good("cancel")


def test_more_than_may_run_wait_behind_the_others(slurm_campaign: SlurmCampaign, cluster: Cluster) -> None:
    campaign = slurm_campaign.prepare(parameters="count: 8, seconds: 0.5", limits="submit: 8, running: 2")
    with QueueWatch(campaign) as watch:
        assert "with 4 workers" in campaign.good("submit")
        throttled = cluster.run("squeue", "-h", "-o", "%i %r")
        campaign.finish_saying()
    assert "%2]" in throttled
    assert watch.most_running <= 2
    assert watch.most == 4


def test_queued_workers_without_work_are_cancelled(slurm_campaign: SlurmCampaign) -> None:
    # Each of the four nodes has room for one such worker.
    campaign = slurm_campaign.prepare(parameters="count: 8, seconds: 1.5", limits="submit: 7", work=", cores: 4")
    campaign.stand_in("squeue", 'echo x >>"$HERE/listed"', 'exec "$REAL" "$@"')
    campaign.good("submit")
    said = campaign.finish_saying()
    assert "cancelled 3 queued workers for which no work is left" in said
    assert (campaign.home / "listed").read_text().count("x") <= 1 + campaign.polls  # also when it cancelled
    assert campaign.queue() == []
    assert set(campaign.ran().values()) == {1}


def test_where_there_is_no_room_at_all_the_campaign_waits_and_says_so_once(
    slurm_campaign: SlurmCampaign, cluster: Cluster
) -> None:
    first = slurm_campaign.prepare(parameters="count: 2, seconds: 100", limits="submit: 2")
    second = SlurmCampaign(first.directory.with_name("second"), first.home, cluster)
    second.prepare(parameters="count: 2", limits="submit: 2")
    first.good("submit")
    said = second.good("submit") + second.good("poll") + second.good("poll")
    first.good("cancel")
    said += second.finish_saying()
    assert said.count("has no room for more elements of this user now") == 1


@pytest.fixture
def limited(cluster: Cluster) -> Iterator[Cluster]:
    """A cluster whose user may submit no more than five elements."""
    if not cluster.accounting:
        pytest.skip("no accounting here: slurmdbd and mariadb are not installed")
    cluster.run("sacctmgr", "-i", "modify", "user", "root", "set", "MaxSubmitJobs=5")
    yield cluster
    cluster.run("sacctmgr", "-i", "modify", "user", "root", "set", "MaxSubmitJobs=-1")


def test_limits_that_the_site_file_lacks_come_from_the_cluster(limited: Cluster, slurm_campaign: SlurmCampaign) -> None:
    campaign = slurm_campaign.prepare(parameters="count: 40, seconds: 0.1", limits="")
    campaign.stand_in("sacctmgr", 'echo x >>"$HERE/asked"', 'exec "$REAL" "$@"')
    with QueueWatch(campaign) as watch:
        assert "with 5 workers" in campaign.good("submit")
        said = campaign.finish_saying()
    assert watch.most == 5
    assert "no room" not in said
    questions = (campaign.home / "asked").read_text().count("x")
    assert questions == 4  # of two kinds: for the plan that is shown, and once for all ticks


def test_a_limit_that_nobody_knows_is_found_and_kept(limited: Cluster, slurm_campaign: SlurmCampaign) -> None:
    campaign = slurm_campaign.prepare(parameters="count: 40, seconds: 0.2", limits="")
    campaign.stand_in("sacctmgr", "echo 'sacctmgr: error: not for you' >&2", "exit 1")
    said = campaign.good("submit")
    said += campaign.finish_saying()
    waits = [line for line in said.splitlines() if "the rest waits" in line]
    assert len([line for line in waits if "takes no more jobs now" in line]) == 1
    assert len(waits) <= 3
    refused = [e for e in campaign.journal() if e["kind"] == "refused"]
    assert 1 <= len(refused) <= 5
    assert set(campaign.ran().values()) == {1}
    campaign.check_accounts()
