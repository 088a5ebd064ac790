"""Steps without frames: nothing found, nothing late, nothing chosen is no mistake, and nothing is submitted for it."""

from __future__ import annotations

import json

import pytest
from campaign_harness import MakeCampaign

TWO = "1\nProperties=species:S:1:pos:R:3\nAr 0 0 0\n" * 2
FLOW = """
import hpcflow as hf

def same(x): return x

def nothing(atoms): return hf.Output(result=len(atoms), frames=[])

def lines(x, data): return [len(open(path).readlines()) for path in data]

@hf.task(keep=["none.xyz"])
def keep(): open("none.xyz", "w").close()

def flow(run):
    a = run.map(same, hf.frames("a.xyz"), name="a")
    none = run.map(nothing, hf.frames("a.xyz")).frames()
    run.map(same, none, name="returned")
    run.map(same, a.frames() + a.late().frames(), name="with late")
    run.map(same, a.late().frames(), name="late")
    run.map(same, list(range(len(a.late().frames()))), name="counted")
    run.map(same, [len(atoms) for atoms in a.late().frames()], name="listed")
    run.map(same, hf.frames(run.call(keep).file("none.xyz")), name="kept")
    run.map(lines, [1], name="argument", data=[none, none + hf.frames("a.xyz")])
"""


def test_no_frames_are_no_tasks_and_need_no_job(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign(FLOW)
    campaign.write("a.xyz", TWO)
    campaign.good("submit")
    status = campaign.finish()
    assert status["state"] == "done"
    sizes = {array["name"]: (array["total"], len(array["jobs"])) for array in status["arrays"]}
    for step in ("returned", "late", "counted", "listed", "kept"):
        assert sizes[step] == (0, 0), step
        assert campaign.good("results", step) == ""
        campaign.good("explain", step)
    assert sizes["with late"][0] == 2
    assert json.loads(campaign.good("results", "argument", "--json"))["result"] == [0, 6]
    assert not list(campaign.database.glob("arrays/*/work"))
    campaign.good("report")


@pytest.mark.parametrize("use", ["run.map(same, frames)", "run.map(lines, [1], data=[frames])", "list(frames)"])
def test_an_empty_file_of_ones_own_is_a_mistake(make_campaign: MakeCampaign, use: str) -> None:
    campaign = make_campaign(
        f"{FLOW.partition('def flow')[0]}def flow(run):\n    frames = hf.frames('*.xyz')\n    {use}\n"
    )
    campaign.write("a.xyz", TWO)
    campaign.write("b.xyz", "\n")
    for arguments in (("submit", "--dry-run"), ("submit",)):
        assert "b.xyz: the file is empty" in campaign.refused(*arguments)
    assert not list(campaign.database.glob("arrays/*"))
