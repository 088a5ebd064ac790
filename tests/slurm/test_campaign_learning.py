"""A learning campaign on Slurm that nobody drives: labels, training and sampling as jobs of their classes.

The calls of the workflow, selection and tests among them, run in the links of the chain.
"""

from __future__ import annotations

import json
import shutil

import pytest
from campaign_harness import ROOT, wait_for
from slurm_campaigns import LEARNING, QueueWatch, SlurmCampaign

pytestmark = [
    pytest.mark.slurm,
    # Every task of training and sampling has to import MACE.
    pytest.mark.slow,
]
CLASSES = """
  training: {queue: debug, walltime: 10m, memory: 1500M}
  evaluation: {like: training}
"""


def test_a_learning_campaign_drives_itself_to_its_end(slurm_campaign: SlurmCampaign) -> None:
    for package in ("mace", "openmm", "tblite", "torch"):
        pytest.importorskip(package)
    campaign = slurm_campaign
    shutil.copy(ROOT / "examples" / "learning" / "start.xyz", campaign.directory)
    campaign.write("hpcflow.yaml", LEARNING)
    campaign.site(more=CLASSES, limits="submit: 6")
    site = campaign.directory / "sites" / "cluster.yaml"
    site.write_text(site.read_text().replace("memory: 100M", "memory: 1G"))
    with QueueWatch(campaign) as watch:
        campaign.good("submit", "--yes", "--chain", "5")
        wait_for(lambda: campaign.status()["state"] == "done", 500)
    assert watch.most_links_waiting == 1
    assert watch.most <= 6
    status = campaign.status()
    assert status["tasks"]["failed"] == 0
    assert {array["class"] for array in status["arrays"]} == {"reference", "training", "evaluation"}
    last = json.loads((campaign.directory / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["step"] == "final"
    assert all((campaign.directory / path).is_file() for path in last["models"])
    wait_for(lambda: not campaign.queue(), 30)
    campaign.check_accounts()
