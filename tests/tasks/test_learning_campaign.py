"""The learning workflow as a campaign: every stage once or twice, with the smallest of everything."""

from __future__ import annotations

import itertools
import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from campaign_harness import Campaign, MakeCampaign

from hpcflow.tasks.frames import is_isolated, parent, read_frames

ROOT = Path(__file__).resolve().parents[2]
YAML = """
workflow: learning
site: local
seed: 3
parameters:
  start: start.xyz
  arguments: {{method: GFN2-xTB}}
  iterations: 1
  members: 2
  copies: 1
  rattle: 0.05
  valid: 0.15
  test: 0.2
  mace: {mace}
  walkers: 4
  temperatures: [200, 400]
  steps: 20
  every: 5
  lo: 0.0
  hi: 50.0
  max_new: 6
  min_new: 2
  device: cpu
{more}
"""


@pytest.fixture
def learning(make_campaign: MakeCampaign, tiny: dict[str, Any]) -> Campaign:
    campaign = make_campaign(None, YAML.format(mace=json.dumps(tiny), more=""))
    shutil.copy(ROOT / "examples" / "learning" / "start.xyz", campaign.directory / "start.xyz")
    return campaign


def metrics(campaign: Campaign) -> dict[str, Any]:
    lines = (campaign.directory / "metrics.jsonl").read_text().splitlines()
    return {line["step"]: line for line in map(json.loads, lines)}


def documented() -> set[str]:
    """The keys in the first table of the reference page."""
    text = (ROOT / "docs" / "reference" / "metrics.md").read_text().split("## Errors")[0]
    return set(re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE))


@pytest.mark.slow  # trains, explores and tests in processes of their own, each of which has to import MACE
def test_a_learning_campaign_runs_through_every_stage(learning: Campaign) -> None:
    learning.good("submit")
    status = learning.finish(limit=500)
    assert status["state"] == "done"
    assert status["tasks"]["failed"] == 0
    lines = metrics(learning)
    assert list(lines) == ["iterations[0]", "final"]
    assert set(lines["iterations[0]"]) | set(lines["final"]) == documented() | {"step"}

    first, last = lines["iterations[0]"], lines["final"]
    assert len(first["explore"]["walkers"]) == 4
    assert first["explore"]["frames"] == 16
    assert first["labels"]["asked"] == first["select"]["selected"] == 6
    assert sum(last["frames"].values()) == sum(first["frames"].values()) + first["labels"]["accepted"]
    assert [line["name"] for line in last["curve"]] == ["iteration 0", "final"]
    assert last["curve"][-1]["force_rmse"] == last["test"]["force_rmse"]
    assert all((learning.directory / path).is_file() for path in last["models"])

    splits = sorted((learning.database / "arrays").glob("*split/files/0"))
    sets = [{side: read_frames(path / f"{side}.xyz") for side in ("train", "valid", "test")} for path in splits]
    families = [{side: {parent(f) for f in frames} for side, frames in found.items()} for found in sets]
    for before, after in itertools.pairwise(families):
        for side in after:
            assert before[side] <= after[side]
    assert not families[-1]["test"] & (families[-1]["train"] | families[-1]["valid"])


SLOW_ATOMS = """
import os, time
from hpcflow.tasks.reference import ase_calculator

def emt(atoms, stress=None, force_cap=None):
    while len(atoms) == 1 and not os.path.exists(os.path.join(os.environ["HPCFLOW_CAMPAIGN"], "go")):
        time.sleep(0.05)
    return ase_calculator(atoms, "ase.calculators.emt.EMT", stress=False)
"""


def test_no_model_is_trained_before_every_element_has_its_energy(learning: Campaign) -> None:
    learning.write("flow.py", SLOW_ATOMS)
    yaml = (learning.directory / "hpcflow.yaml").read_text()
    learning.write("hpcflow.yaml", yaml.replace("arguments: {method: GFN2-xTB}", "calculator: flow.py:emt"))
    learning.good("submit")

    def arrays(status: dict[str, Any]) -> dict[str, Any]:
        return {array["name"]: array for array in status["arrays"]}

    status = learning.poll_until(lambda found: arrays(found)["label"]["unfinished"] == 0)
    learning.poll()
    assert arrays(status)["atoms"]["unfinished"] == 3
    assert "iterations[0]/train" not in arrays(learning.status())
    learning.write("go", "")
    learning.poll_until(lambda found: "iterations[0]/train" in arrays(found))
    (split,) = (learning.database / "arrays").glob("*split/files/0")
    assert sum(map(is_isolated, read_frames(split / "train.xyz"))) == 3
    learning.good("cancel")


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ("  guards: {forces: 3.0}", "guards: unknown key 'forces'. Did you mean 'force'"),
        ("  judge: {discard: 3.0}", "judge: unknown key 'discard'. Did you mean 'discard_"),
        ("  walker: 3", "walker"),
    ],
)
def test_parameters_that_nobody_reads_are_refused(
    make_campaign: MakeCampaign, tiny: dict[str, Any], more: str, message: str
) -> None:
    campaign = make_campaign(None, YAML.format(mace=json.dumps(tiny), more=more))
    shutil.copy(ROOT / "examples" / "learning" / "start.xyz", campaign.directory / "start.xyz")
    assert message in campaign.refused("submit", "--dry-run")


def test_a_committee_of_one_is_refused(make_campaign: MakeCampaign, tiny: dict[str, Any]) -> None:
    campaign = make_campaign(None, YAML.format(mace=json.dumps(tiny), more="").replace("members: 2", "members: 1"))
    shutil.copy(ROOT / "examples" / "learning" / "start.xyz", campaign.directory / "start.xyz")
    assert "members: expected 2 or more" in campaign.refused("submit", "--dry-run")
