"""Polls from cron, with nothing but what cron gives; and several commands at once."""

from __future__ import annotations

import re
import subprocess

import pytest
from campaign_harness import wait_for
from private_cron import running_cron, why_not
from slurm_campaigns import SlurmCampaign

pytestmark = pytest.mark.slurm

FOREIGN = ["# my own", "#SCRON --time=5", "0 4 * * * /bin/true 100\\%", ""]
BUSY = 75


@pytest.fixture
def campaign(slurm_campaign: SlurmCampaign) -> SlurmCampaign:
    """Six tasks, and stand-ins for crontab and scrontab that already hold somebody's lines."""
    slurm_campaign.prepare(parameters="count: 6, seconds: 0.1")
    for name in ("crontab", "scrontab"):
        table = slurm_campaign.home / f"{name}.table"
        table.write_text("\n".join(FOREIGN))
        script = slurm_campaign.bin / name
        write = f"cat >{table}.new && mv {table}.new {table}"
        script.write_text(f'#!/bin/sh\nif [ "$1" = -l ]; then cat {table}; else {write}; fi\n')
        script.chmod(0o755)
    return slurm_campaign


def table(campaign: SlurmCampaign, tool: str = "crontab") -> list[str]:
    return (campaign.home / f"{tool}.table").read_text().splitlines()


def run_entries(campaign: SlurmCampaign, tool: str = "crontab") -> list[int]:
    """Do what cron does at its time: run the commands in an almost empty environment."""
    commands = [re.sub(r"^(\S+ ){5}", "", line) for line in table(campaign, tool) if line.startswith("*")]
    empty = ["env", "-i", "SHELL=/bin/sh", "PATH=/usr/bin:/bin", "/bin/sh", "-c"]
    return [subprocess.run([*empty, c.replace("\\%", "%")], cwd="/", check=False).returncode for c in commands]


@pytest.mark.parametrize("tool", ["crontab", "scrontab"])
def test_cron_moves_the_campaign_and_its_line_goes_when_it_is_done(campaign: SlurmCampaign, tool: str) -> None:
    campaign.good("submit")
    which = ["--scron"] if tool == "scrontab" else []
    printed = campaign.good("cron", *which).splitlines()
    assert table(campaign, tool) == FOREIGN[:-1]
    campaign.good("cron", "--install", *which)
    assert table(campaign, tool)[: len(FOREIGN) - 1] == FOREIGN[:-1]
    added = table(campaign, tool)[len(FOREIGN) - 1 :]
    assert added == printed
    assert added[-1].startswith("*/5 * * * * /bin/sh ")
    assert all(line.startswith("#SCRON --") for line in added[:-1])
    assert ("#SCRON --partition=debug" in added) == (tool == "scrontab")
    wait_for(lambda: run_entries(campaign, tool) == [0], 60)
    assert table(campaign, tool) == FOREIGN[:-1]
    assert campaign.results() == [x * x for x in range(6)]
    log = (campaign.database / "cron.log").read_text()
    assert "the workflow is finished" in log
    assert "its cron line was removed" in log


@pytest.mark.slow  # cron looks at its tables at full minutes
def test_a_real_cron_finishes_the_campaign_and_its_line_goes(slurm_campaign: SlurmCampaign) -> None:
    if why := why_not():
        pytest.skip(f"no cron here: {why}")
    campaign = slurm_campaign.prepare(parameters="count: 6, seconds: 0.1")
    with running_cron(campaign.home / "cron") as cron:
        subprocess.run(cron.inside(["crontab", "-"]), input="# my own\n", text=True, check=True)
        campaign.good("submit")
        install = campaign.command("cron", "--install", "--minutes", "1", "-C", str(campaign.directory))
        subprocess.run(cron.inside(install), env=campaign.environment, check=True)
        mine, line = cron.table()
        assert mine == "# my own"
        assert line.startswith("*/1 * * * * /bin/sh ")
        wait_for(lambda: cron.table() == ["# my own"], 150, "cron never finished it")
    assert campaign.status()["state"] == "done"
    assert campaign.results() == [x * x for x in range(6)]
    log = (campaign.database / "cron.log").read_text()
    assert "its cron line was removed" in log


def test_installing_twice_leaves_one_line_and_removing_none(campaign: SlurmCampaign) -> None:
    campaign.good("submit")
    for minutes in ("10", "7"):
        campaign.good("cron", "--install", "--minutes", minutes)
    assert [line[:4] for line in table(campaign) if "hpcflow" in line] == ["*/7 "]
    campaign.good("cron", "--remove", "--scron")
    campaign.good("cron", "--remove")
    assert table(campaign) == FOREIGN[:-1]


def test_a_poll_without_news_writes_nothing(campaign: SlurmCampaign) -> None:
    campaign.site(limits="submit: 2")
    campaign.write("hpcflow.yaml", "workflow: flow.py:flow\nsite: cluster\nparameters: {count: 2, seconds: 60}\n")
    campaign.good("submit")
    campaign.good("cron", "--install")
    wait_for(lambda: len(campaign.running()) == 2)
    run_entries(campaign)
    before = (campaign.database / "cron.log").read_text()
    assert run_entries(campaign) == [3]
    assert (campaign.database / "cron.log").read_text() == before


@pytest.mark.slow  # run waits for a moment before it leaves
def test_several_at_once_one_works_and_the_others_leave(campaign: SlurmCampaign) -> None:
    campaign.good("submit")
    # The one that works is asked to take its time: its squeue does.
    wait = 'touch "$HERE/asked"; for i in $(seq 300); do [ -e "$HERE/go" ] || sleep 0.1; done'
    campaign.stand_in("squeue", wait, 'exec "$REAL" "$@"')
    worker = campaign.start("poll")
    wait_for((campaign.home / "asked").exists)
    others = [campaign.start(*words) for words in (["poll"], ["resume"], ["run"])]
    for other in others:
        said, _ = other.communicate(timeout=30)
        assert other.returncode == BUSY, said
        assert f"process {worker.pid} on " in said
        assert "is running the engine of this campaign" in said
    (campaign.home / "go").touch()
    worker.communicate(timeout=30)
    assert worker.returncode in (0, 3)
    campaign.honest("squeue")
    campaign.finish_saying()
    assert set(campaign.ran().values()) == {1}
