"""The learning workflow where nothing has to be labelled: neither in the beginning nor of what the walkers see.

Every step is the real one, but for those that need a model: these stand in flow.py.
"""

from __future__ import annotations

import json

import pytest
from ase import Atoms
from campaign_harness import MakeCampaign

from hpcflow.tasks.frames import write_frames

FLOW = """
import hpcflow as hf
from hpcflow.tasks import evaluation, sampling, training
from hpcflow.tasks.frames import read_frames
from hpcflow.tasks.metrics import errors_by_type
from hpcflow.workflows.learning import learning

@hf.task(keep=["model"])
def train(member, **parameters):
    open("model", "w").write(str(member["member"]))
    return {"member": member["member"], "valid": {"energy_rmse": 0.1, "force_rmse": 0.1}, "history": []}

def explore(walker, steps, **parameters):
    seen = walker.copy()
    seen.positions += 0.01
    seen.info |= {"kind": "sample", "deviation": 0.01, "step": steps}
    state = walker.copy()
    state.info["kind"] = "state"
    result = {"walker": walker.info["walker"], "status": "done", "reason": None, "steps": steps, "temperature": 300.0}
    return hf.Output(result, [seen, state])

def compare(committee, frames, **parameters):
    found = read_frames(frames)
    for frame in found:
        frame.info |= {"predicted_energy": frame.info["REF_energy"] + 0.1, "deviation": 0.01}
        frame.arrays["predicted_forces"] = frame.arrays["REF_forces"] + 0.1
    fractions = {"accurate": 1.0, "candidate": 0.0, "failed": 0.0}
    return hf.Output({"name": committee["name"], **errors_by_type(found), "fractions": fractions}, found)

def flow(run):
    training.train, sampling.explore, evaluation.compare = train, explore, compare
    learning(run, "start.xyz", min_new=0, control=0.0, walkers=2, members=2, iterations=4)
"""


def labelled(number: int) -> Atoms:
    frame = Atoms("OH", [[0, 0, 0], [0, 0, 1 + 0.01 * number]], info={"REF_energy": -2.0 - number})
    frame.arrays["REF_forces"] = frame.positions * 0.1
    return frame


def atom(symbol: str) -> Atoms:
    return Atoms(symbol, info={"config_type": "IsolatedAtom", "REF_energy": -1.0})


@pytest.mark.slow  # 26 steps, each in a process of its own
def test_a_campaign_that_has_all_labels_and_selects_nothing_ends_well(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign(FLOW)
    frames = [atom("O"), atom("H"), *(labelled(number) for number in range(12))]
    write_frames(campaign.directory / "start.xyz", frames)
    campaign.good("submit")
    status = campaign.finish()
    assert (status["state"], status["tasks"]["failed"]) == ("done", 0)
    labels = [array for array in status["arrays"] if array["class"] == "reference"]
    assert [array["name"] for array in labels] == ["label", "iterations[0]/label", "iterations[1]/label"]
    assert all(array["total"] == 0 and array["jobs"] == [] for array in labels)
    lines = [json.loads(line) for line in (campaign.directory / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == ["iterations[0]", "iterations[1]", "final"]
    assert all(line["select"]["selected"] == line["labels"]["asked"] == 0 for line in lines[:2])
    assert all(line["explore"]["fractions"]["accurate"] == 1.0 for line in lines[:2])
    assert lines[1]["decision"] == {"stop": True, "reason": "accurate, and the last training gained 0%"}
    assert lines[0]["frames"] == lines[2]["frames"]
    assert sum(lines[0]["frames"].values()) == 14
    assert len(lines[2]["models"]) == 2
    campaign.good("report")
