"""What ``submit`` says before it does it."""

from __future__ import annotations

import json

import pytest
from campaign_harness import MakeCampaign

CALLS_FIRST = """
import hpcflow as hf

def count(x):
    return x + 2

def double(x):
    return 2 * x

def flow(run: hf.Run):
    first = run.call(count, 1)
    run.map(double, range(first.result()))
"""


@pytest.mark.parametrize("site", ["local", "slurm-generic"])
def test_a_step_that_the_submission_computes_itself_is_part_of_the_plan(make_campaign: MakeCampaign, site: str) -> None:
    campaign = make_campaign(CALLS_FIRST)
    shown = campaign.good("submit", "--dry-run", "--site", site)
    assert "At once, on this machine: count." in shown
    assert f"hpcflow sites render {site}" in shown
    assert "Nothing new" not in shown
    plan = json.loads(campaign.good("submit", "--dry-run", "--json", "--site", site))
    assert (plan["arrays"], plan["calls"]) == ([], ["count"])


def test_a_first_submission_whose_first_step_is_a_call_does_not_claim_to_have_nothing_to_do(
    make_campaign: MakeCampaign,
) -> None:
    campaign = make_campaign(CALLS_FIRST)
    assert "Nothing new" not in campaign.good("submit")
    assert campaign.finish()["tasks"]["succeeded"] == 3
    campaign.poll()
    assert "Nothing new to submit" in campaign.good("submit")


def test_new_steps_behind_results_that_no_tick_has_seen_are_announced(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign(
        "import hpcflow as hf\nfrom hpcflow import task\n"
        "def same(atoms):\n    return atoms\n"
        "def flow(run, again: bool = False):\n"
        "    first = run.map(same, hf.frames('a.xyz'), name='first')\n"
        "    if again:\n        run.map(same, first.frames(), name='again')\n"
    )
    campaign.write("a.xyz", "1\nProperties=species:S:1:pos:R:3\nO 0 0 0\n")
    campaign.good("submit")
    campaign.finish()
    campaign.write("hpcflow.yaml", "workflow: flow.py:flow\nparameters: {again: true}\n")
    assert "New steps follow" in campaign.good("submit", "--dry-run")
    campaign.good("submit")
    assert campaign.finish()["tasks"]["succeeded"] == 2


def test_with_json_nothing_else_is_printed_where_programs_read(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign(CALLS_FIRST)
    done = campaign.hpcflow("submit", "--json", "--yes")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["calls"] == ["count"]
    assert "double" in done.stderr
