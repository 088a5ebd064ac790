"""The main road: a workflow of three steps from the first submission to its end."""

import json
import socket

from campaign_harness import MakeCampaign

FLOW = """
import hpcflow as hf

def square(x, power=2):
    return x ** power

def total(values):
    return sum(values)

def flow(run: hf.Run, n: int = 10):
    squares = run.map(square, range(n))
    run.map(square, [run.call(total, squares.results()).result()], name="again", power=1)
"""


def test_a_workflow_runs_to_its_end(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign(FLOW)
    campaign.good("submit")
    status = campaign.finish()
    assert status["state"] == "done"
    assert status["tasks"] == {"total": 11, "succeeded": 11, "failed": 0, "unfinished": 0}
    assert campaign.results("square") == [x * x for x in range(10)]
    assert campaign.results("again") == [285]


def test_a_second_submit_finds_nothing_to_do(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign(FLOW)
    campaign.good("submit")
    campaign.finish()
    campaign.poll()
    before = campaign.journal()
    assert "Nothing new to submit" in campaign.good("submit")
    assert campaign.journal() == before


def test_a_finished_array_leaves_few_files(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign(FLOW)
    campaign.good("submit")
    campaign.finish()
    for array in (campaign.database / "arrays").iterdir():
        assert sum(1 for path in array.rglob("*") if not path.is_dir()) <= 8


def test_where_a_task_ran_is_known_when_its_array_is_done_and_where_its_result_was_taken_over(
    make_campaign: MakeCampaign,
) -> None:
    campaign = make_campaign("def same(x):\n    return x\ndef flow(run, n: int = 2):\n    run.map(same, range(n))\n")
    for n in (2, 3):
        campaign.write("hpcflow.yaml", f"workflow: flow.py:flow\nparameters: {{n: {n}}}\n")
        campaign.good("submit")
        campaign.finish()
        (attempt,) = json.loads(campaign.good("explain", "--json", "same/1"))["attempts"]
        assert attempt["host"] == socket.gethostname()


def test_a_function_named_in_the_configuration_keeps_the_files_that_stand_there(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign(
        "def write(x):\n    open('out.txt', 'w').write(str(x))\n",
        "workflow: map\nparameters: {items: [7], function: 'flow.py:write', keep: [out.txt]}\n",
    )
    campaign.good("submit")
    campaign.finish()
    assert (campaign.array("map") / "files" / "0" / "out.txt").read_text() == "7"
