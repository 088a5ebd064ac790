"""``hpcflow sites check`` on the test cluster, and where there is none."""

from __future__ import annotations

import os
import re

import pytest
from slurm_campaigns import SlurmCampaign

pytestmark = pytest.mark.slurm


def verdicts(text: str) -> dict[str, str]:
    """Verdict of everything that was looked at."""
    return {line.split()[1]: line.split()[0] for line in text.splitlines() if line[:1].isalpha() or line[:2] == "ok"}


def test_a_good_site_with_a_test_job(slurm_campaign: SlurmCampaign) -> None:
    campaign = slurm_campaign.prepare()
    before = set(campaign.directory.iterdir())
    said = campaign.good("sites", "check", "--job")
    assert set(verdicts(said).values()) == {"ok"}, said
    for what in ("commands", "queue", "limits", "submission", "claims", "lock", "clock", "space", "job", "chain"):
        assert what in verdicts(said)
    assert "4 (site file)" in said
    assert "2 elements of job" in said
    assert set(campaign.directory.iterdir()) == before
    assert not campaign.database.exists()


def test_what_the_cluster_would_refuse_is_said_and_no_job_is_submitted(slurm_campaign: SlurmCampaign) -> None:
    campaign = slurm_campaign.prepare(
        limits="submit: 4, array: 5000",
        work=", queue: nowhere, environment: {modules: [no-such-module]}",
    )
    path = campaign.directory / "sites" / "cluster.yaml"
    path.write_text(path.read_text().replace("queues:\n", "queues:\n  nowhere: {options: {partition: nowhere}}\n"))
    done = campaign.hpcflow("sites", "check", "--job")
    assert done.returncode == 2, done.stdout + done.stderr
    assert "work: sbatch --test-only: " in done.stdout
    assert "nvalid partition" in done.stdout
    assert "5000 in the site file, but the cluster allows 1001" in done.stdout
    assert "module load no-such-module" in done.stdout
    assert "No job was submitted" in done.stdout


def test_a_job_whose_environment_fails_shows_its_last_words(slurm_campaign: SlurmCampaign) -> None:
    campaign = slurm_campaign.prepare()
    path = campaign.directory / "sites" / "cluster.yaml"
    path.write_text(path.read_text() + "environment: {lines: [test -d /no/such/place]}\n")
    done = campaign.hpcflow("sites", "check", "--job")
    assert done.returncode == 2
    assert "this line of the job failed with status 1: test -d /no/such/place" in done.stdout


def test_without_slurm_it_says_what_is_missing(slurm_campaign: SlurmCampaign) -> None:
    campaign = slurm_campaign.prepare()
    path = campaign.directory / "sites" / "cluster.yaml"
    empty = campaign.home / "empty"
    empty.mkdir()
    path.write_text(path.read_text().replace(campaign.path, str(empty)))
    done = campaign.hpcflow("sites", "check")
    assert done.returncode == 2
    assert "sbatch, squeue, scancel not found on this machine" in done.stdout
    assert verdicts(done.stdout)["claims"] == "ok"
    assert not os.listdir(empty)


def test_a_site_file_made_of_what_the_cluster_says_stands_the_check(slurm_campaign: SlurmCampaign) -> None:
    campaign = slurm_campaign.prepare()
    of_the_machine = slurm_campaign.cluster.environment
    new = campaign.hpcflow("sites", "new", "found", "--campaign", ".", **of_the_machine)
    assert "queues: debug, high, low" in new.stdout, new.stderr
    path = campaign.directory / "sites" / "found.yaml"
    text = path.read_text()
    assert "4cores-2gpus: {cores: 4, gpus: 2, memory: 4000M}" in text
    assert "array: 1001" in text
    if slurm_campaign.cluster.accounting:
        assert re.search(r"^(account: test|# account: one of root, test)$", text, re.MULTILINE)
    path.write_text(text.replace("  kind: slurm\n", "  kind: slurm\n  min_interval: 0\n"))  # a test looks more often
    done = campaign.hpcflow("sites", "check", "found", "--job", **of_the_machine)
    assert done.returncode == 0, done.stdout
    assert "default, reference, training, evaluation: partition, account and resources are accepted" in done.stdout
    assert verdicts(done.stdout)["job"] == "ok"
