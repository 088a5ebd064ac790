"""Which commands a campaign runs: with which cluster, in which environment, and how often."""

from __future__ import annotations

from pathlib import Path

import pytest
from campaign_harness import wait_for
from private_slurm import Cluster
from slurm_campaigns import SlurmCampaign

pytestmark = pytest.mark.slurm

COMMANDS = ("sbatch", "squeue", "scancel", "sacct")
TWO = """
import flow as tasks
import hpcflow as hf

def flow(run: hf.Run):
    run.map(tasks.work, range(2), name="one", task_class="work", seconds=60)
    run.map(tasks.work, range(2), name="two", task_class="work", seconds=60)
"""


@pytest.fixture
def campaign(slurm_campaign: SlurmCampaign) -> SlurmCampaign:
    """Two arrays of long tasks, and stand-ins that write down how they are called."""
    slurm_campaign.prepare()
    slurm_campaign.write("two.py", TWO)
    slurm_campaign.write("hpcflow.yaml", "workflow: two.py:flow\nsite: cluster\n")
    for name in COMMANDS:
        note = f'echo {name} "$@" >>"$HERE/calls"; env | grep -E "^(SLURM|SBATCH|SQUEUE|SCANCEL)_" >>"$HERE/seen"'
        slurm_campaign.stand_in(name, note, 'exec "$REAL" "$@"')
    return slurm_campaign


def calls(campaign: SlurmCampaign, command: str) -> list[str]:
    lines = (campaign.home / "calls").read_text().splitlines()
    return [line for line in lines if line.partition(" ")[0] == command]


def site_file(campaign: SlurmCampaign) -> Path:
    return campaign.directory / "sites" / "cluster.yaml"


def test_a_site_with_a_cluster_names_it_in_every_command(campaign: SlurmCampaign, cluster: Cluster) -> None:
    if not cluster.accounting:
        pytest.skip("no accounting here: without it Slurm knows no clusters by name")
    path = site_file(campaign)
    path.write_text(path.read_text().replace("debug: {options", "debug: {cluster: test, options"))
    campaign.good("submit")
    wait_for(lambda: len(campaign.running()) == 4)
    assert all(identity.endswith(";test") for identity in campaign.submitted().values())
    campaign.good("cancel")
    cluster.until(lambda: not campaign.queue())
    campaign.poll()
    for command in ("sbatch", "squeue", "scancel"):
        assert calls(campaign, command)
        assert all("--clusters=test" in call.split() for call in calls(campaign, command))


def test_cancel_lists_the_queue_once_however_many_jobs_there_are(campaign: SlurmCampaign, cluster: Cluster) -> None:
    campaign.good("submit")
    wait_for(lambda: len(campaign.running()) == 4)
    (campaign.home / "calls").unlink()
    assert "2 jobs were asked to end" in campaign.good("cancel")
    assert len(calls(campaign, "squeue")) == 1
    cluster.until(lambda: not campaign.queue())


def test_what_a_surrounding_job_set_changes_nothing(campaign: SlurmCampaign, cluster: Cluster) -> None:
    inherited = {
        "SBATCH_JOB_NAME": "wrong",
        "SBATCH_PARTITION": "nowhere",
        "SBATCH_ARRAY_INX": "0-7",
        "SBATCH_CLUSTERS": "elsewhere",
        "SQUEUE_STATES": "FAILED",
        "SQUEUE_FORMAT": "%i",
        "SLURM_CLUSTERS": "elsewhere",
        "SLURM_JOB_ID": "1",
        "SCANCEL_STATE": "PENDING",
    }
    assert campaign.hpcflow("submit", **inherited).returncode in (0, 3)
    wait_for(lambda: len(campaign.running()) == 4)
    assert campaign.hpcflow("poll", **inherited).returncode == 3
    assert campaign.hpcflow("cancel", **inherited).returncode == 0
    cluster.until(lambda: not campaign.queue())
    names = {line.partition("=")[0] for line in (campaign.home / "seen").read_text().splitlines()}
    assert "SLURM_CONF" in names
    assert not names & set(inherited)


def test_the_configuration_of_the_environment_counts_where_the_site_has_none(
    campaign: SlurmCampaign, cluster: Cluster
) -> None:
    path = site_file(campaign)
    configuration = cluster.environment["SLURM_CONF"]
    path.write_text(path.read_text().replace(f"SLURM_CONF: {configuration}, ", ""))
    done = campaign.hpcflow("submit", SLURM_CONF=configuration)
    assert done.returncode in (0, 3), done.stdout + done.stderr
    wait_for(lambda: len(campaign.running()) == 4)
    campaign.hpcflow("cancel", SLURM_CONF=configuration)
    cluster.until(lambda: not campaign.queue())
