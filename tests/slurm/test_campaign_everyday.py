"""What works on one machine works on Slurm: the same campaigns, with another ``--site``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from campaign_harness import ROOT
from private_slurm import Cluster
from slurm_campaigns import QueueWatch, SlurmCampaign, as_user

pytestmark = pytest.mark.slurm

STAGES = """
import hpcflow as hf

def square(x, plus=0):
    return x * x + plus

def total(values):
    return sum(values)

def flow(run: hf.Run):
    seed = 1
    for i in run.iterations(2):
        squares = run.map(square, range(8), task_class="work", plus=seed)
        seed = run.call(total, squares.results()).result()
    run.map(square, [seed], name="last", task_class="work")
"""
SUM_OF_SQUARES = 140
TINY = """
import hpcflow as hf

def nothing(x):
    return x

def flow(run: hf.Run, count: int):
    run.map(nothing, range(count), task_class="work").results()
"""


def test_the_label_example_runs_with_another_site_and_nothing_else_changed(slurm_campaign: SlurmCampaign) -> None:
    pytest.importorskip("tblite")
    campaign = slurm_campaign
    example = ROOT / "examples" / "label"
    for name in ("hpcflow.yaml", "make_structures.py"):
        shutil.copy(example / name, campaign.directory)
    subprocess.run([sys.executable, "make_structures.py"], cwd=campaign.directory, check=True, capture_output=True)
    frames = campaign.directory / "structures.xyz"
    text = frames.read_text().splitlines(keepends=True)
    end = 0
    for _ in range(40):
        end += int(text[end]) + 2
    frames.write_text("".join(text[:end]))
    campaign.site()
    campaign.good("submit", "--site", "cluster")
    campaign.finish_saying()
    campaign.good("results", "-o", "labelled.xyz")
    labelled = (campaign.directory / "labelled.xyz").read_text()
    assert labelled.count("REF_energy=") == 40
    campaign.check_accounts()


def test_maps_calls_and_iterations_run_as_on_one_machine(slurm_campaign: SlurmCampaign) -> None:
    campaign = slurm_campaign.prepare(STAGES)
    campaign.good("submit")
    campaign.finish_saying()
    first = SUM_OF_SQUARES + 8
    second = SUM_OF_SQUARES + 8 * first
    assert campaign.results("last") == [second**2]
    assert campaign.queue() == []
    campaign.check_accounts()


@pytest.fixture
def of_nobody(cluster: Cluster) -> Iterator[SlurmCampaign]:
    """A campaign of an ordinary user, if the tests run as root; elsewhere all campaigns are of one."""
    if os.getuid() != 0:
        pytest.skip("the tests run as an ordinary user: every other test is this one")
    directory = Path(tempfile.mkdtemp(prefix="hpcflow-nobody-"))  # those of pytest are private
    directory.chmod(0o755)
    try:
        campaign = SlurmCampaign(directory / "campaign", directory / "home", cluster, "nobody", _python_for("nobody"))
        yield campaign
    finally:
        shutil.rmtree(directory)


def _python_for(user: str) -> tuple[str, str]:
    """An interpreter that a user may start, and a PYTHONPATH with which it finds what hpcflow needs."""
    import msgspec

    packages = f"{ROOT}:{Path(msgspec.__file__).parent.parent}"
    version = f"python{sys.version_info[0]}.{sys.version_info[1]}"
    for python in (sys.executable, f"/usr/bin/{version}", f"/usr/local/bin/{version}"):
        done = subprocess.run(
            [*as_user(user), python, "-c", "import hpcflow.cli.main, msgspec, jinja2"],
            env={"PYTHONPATH": packages, "PATH": os.environ["PATH"]},
            cwd="/",
            capture_output=True,
            check=False,
        )
        if done.returncode == 0:
            return python, packages
    pytest.skip(f"no Python {version} that user {user} may start and read")


def twenty_thousand(campaign: SlurmCampaign) -> None:
    """As many tasks, where sixteen elements may be submitted, and nobody who does more than poll."""
    campaign.prepare(TINY, parameters="count: 20000", limits="submit: 16")
    if campaign.user is not None:
        campaign.give_to_user()
    with QueueWatch(campaign) as watch:
        campaign.good("submit")
        said = campaign.finish_saying()
    assert campaign.status()["tasks"]["succeeded"] == 20_000, said
    assert 0 < watch.most <= 16
    assert campaign.queue() == []
    campaign.check_accounts()


@pytest.mark.slow  # 16 Python interpreters
def test_twenty_thousand_tasks_need_no_more_than_sixteen_elements(slurm_campaign: SlurmCampaign) -> None:
    twenty_thousand(slurm_campaign)


@pytest.mark.slow  # 16 Python interpreters
def test_an_ordinary_user_needs_nothing_else(of_nobody: SlurmCampaign) -> None:
    twenty_thousand(of_nobody)
    assert {path.owner() for path in of_nobody.database.rglob("*")} == {"nobody"}
