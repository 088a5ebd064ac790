"""A campaign that drives itself: nobody types a command after ``submit --chain``."""

from __future__ import annotations

import pytest
from campaign_harness import wait_for
from private_slurm import Cluster
from slurm_campaigns import QueueWatch, SlurmCampaign

pytestmark = pytest.mark.slurm

STAGES = """
import flow as tasks
import hpcflow as hf

def total(values):
    return sum(values)

def stages(run: hf.Run, seconds: float):
    seed = 0
    for i in run.iterations(2):
        squares = run.map(tasks.work, range(10 * i, 10 * i + 4), task_class="work", seconds=seconds)
        seed = run.call(total, [seed, *squares.results()]).result()
"""
YAML = "workflow: stages.py:stages\nsite: cluster\nparameters: {seconds: 0.2}\n"
INTERVAL = "2"


@pytest.fixture
def campaign(slurm_campaign: SlurmCampaign) -> SlurmCampaign:
    slurm_campaign.prepare(limits="submit: 6")
    slurm_campaign.write("stages.py", STAGES)
    slurm_campaign.write("hpcflow.yaml", YAML)
    return slurm_campaign


def wait_until_done(campaign: SlurmCampaign, limit: float = 120.0) -> None:
    wait_for(lambda: campaign.status()["state"] == "done", limit, f"still not done: {campaign.status()}")


def all_done_once(campaign: SlurmCampaign) -> None:
    assert set(campaign.ran().values()) == {1}
    assert len(campaign.ran()) == 8
    assert campaign.results("total") == [14 + 100 + 121 + 144 + 169]
    wait_for(lambda: not campaign.queue(), 30, "something is left in the queue")
    campaign.check_accounts()


@pytest.mark.slow  # several links, each of which waits for its time
def test_two_iterations_with_nobody(campaign: SlurmCampaign) -> None:
    with QueueWatch(campaign) as watch:
        campaign.good("submit", "--chain", INTERVAL)
        wait_until_done(campaign)
    all_done_once(campaign)
    assert watch.most_links_waiting == 1
    assert watch.most <= 6


@pytest.mark.slow  # several links, each of which waits for its time
@pytest.mark.parametrize(
    "when",
    [
        pytest.param('"$REAL" "$@"; kill -KILL $PPID; exit', id="after its successor was taken"),
        pytest.param('"$REAL" "$@" >/dev/null; echo timed out >&2; exit 1', id="told that it timed out"),
    ],
)
def test_a_link_killed_at_its_work_has_a_successor(campaign: SlurmCampaign, when: str) -> None:
    # The third submission, after workers and first link, is that of the second link.
    campaign.stand_in(
        "sbatch",
        'echo x >>"$HERE/calls"',
        f'if [ $(wc -l <"$HERE/calls") = 3 ]; then {when}; fi',
        'exec "$REAL" "$@"',
    )
    with QueueWatch(campaign) as watch:
        campaign.good("submit", "--chain", INTERVAL)
        wait_until_done(campaign)
    all_done_once(campaign)
    assert watch.most_links_waiting == 1


def test_a_link_killed_before_anything_is_mended_by_the_next_tick(campaign: SlurmCampaign, cluster: Cluster) -> None:
    campaign.good("submit", "--chain", "600")
    (link,) = [e["token"] for e in campaign.journal() if e["kind"] == "intent" and e["array"] == 0]
    cluster.run("scancel", f"--name={link}")
    campaign.poll()
    waiting = [token for token in campaign.intents() if token.startswith("hf000")]
    assert len(waiting) == 2
    assert cluster.run("squeue", "-h", "-o%j", f"--name={','.join(waiting)}").split() == waiting[1:]
    campaign.finish_saying()
    all_done_once(campaign)  # and the link that waited is gone


@pytest.mark.slow  # the successor that never was is looked for twice
def test_a_link_killed_before_its_successor_is_mended_by_the_next_tick(campaign: SlurmCampaign) -> None:
    campaign.write("hpcflow.yaml", YAML.replace("0.2", "4"))
    campaign.stand_in(
        "sbatch",
        'echo x >>"$HERE/calls"',
        'if [ $(wc -l <"$HERE/calls") = 3 ]; then kill -KILL $PPID; sleep 9; fi',
        'exec "$REAL" "$@"',
    )
    campaign.good("submit", "--chain", INTERVAL)
    wait_for((campaign.home / "calls").exists)
    wait_for(lambda: (campaign.home / "calls").read_text().count("x") == 3)
    wait_for(lambda: not campaign.queue())  # workers and link have ended, and nobody comes any more
    assert campaign.status()["state"] != "done"
    campaign.poll_until(lambda: len([token for token in campaign.submitted() if token.startswith("hf000")]) == 2)
    wait_until_done(campaign)
    all_done_once(campaign)


def test_a_campaign_that_waits_for_a_person_is_not_looked_at_for_ever(
    campaign: SlurmCampaign, cluster: Cluster
) -> None:
    campaign.site(work=", environment: {lines: ['false']}")
    campaign.good("submit", "--chain", "600")
    assert campaign.run_to_end().returncode == 4
    campaign.poll()
    wait_for(lambda: not campaign.queue(), 30)
    campaign.site()
    campaign.good("resume")
    assert any(name.startswith("hf000") for name in cluster.run("squeue", "-ho%j").split())
    campaign.good("cancel")
    wait_for(lambda: not campaign.queue(), 30)


def test_where_jobs_may_not_submit_jobs_there_is_no_chain(campaign: SlurmCampaign) -> None:
    path = campaign.directory / "sites" / "cluster.yaml"
    path.write_text(path.read_text().replace("submit_from_nodes: true", "submit_from_nodes: false"))
    assert "hpcflow cron" in campaign.refused("submit", "--chain")
