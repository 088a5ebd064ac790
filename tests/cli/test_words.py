"""What commands say to people, and the exit codes that go with it."""

from __future__ import annotations

import pytest
from campaign_harness import MakeCampaign

from hpcflow.cli.table import seconds, show

FLOW = """
import hpcflow as hf

def odd(x, rounds=1):
    if x % 2:
        raise ValueError("odd")
    return x

def flow(run: hf.Run, n: int = 4, rounds: int = 1):
    for i in run.iterations(rounds):
        run.map(odd, list(range(n)), rounds=rounds).results()[0]
"""


@pytest.mark.parametrize(
    ("value", "text"),
    [(4e-6, "<0.001"), (0.00717, "0.00717"), (36.71, "36.7"), (999.7, "1000"), (1234.5, "1234"), (36000.0, "36000")],
)
def test_times_have_no_powers_of_ten(value: float, text: str) -> None:
    assert seconds(value) == text


def test_hints_can_be_typed_into_any_shell_and_say_how_to_go_on(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign(FLOW, "workflow: flow.py:flow\n")
    campaign.good("submit")
    campaign.finish()
    shown = campaign.good("explain")
    # Without the quotes zsh takes [0] for a pattern that matches no file.
    assert "hpcflow explain 'iterations[0]/odd/1'" in shown
    assert "hpcflow resume --retry-failed" in shown


def test_a_plan_has_no_column_for_what_nobody_counts(make_campaign: MakeCampaign) -> None:
    shown = make_campaign(FLOW, "workflow: flow.py:flow\n").good("submit", "--dry-run").splitlines()
    assert shown[1].split()[0] == "step"
    assert "node-hours" not in shown[1]


def test_resume_and_submit_say_by_their_exit_code_that_a_person_is_needed(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign(FLOW, "workflow: flow.py:flow\n")
    campaign.good("submit")
    campaign.finish()
    campaign.write("hpcflow.yaml", "workflow: flow.py:flow\nparameters: {rounds: 2}\n")
    resumed = campaign.hpcflow("resume")
    assert "--rerun" in resumed.stdout
    assert resumed.returncode == 4


def test_the_last_job_of_a_finished_array_is_no_news(capsys: pytest.CaptureFixture[str]) -> None:
    job = {"id": "vm:1", "name": "hf1", "workers": 2, "state": "running", "reason": ""}
    array = {"name": "label", "class": "reference", "succeeded": 3, "failed": 0, "unfinished": 0, "running_workers": 0,
             "mean_seconds": 1.5, "ended_by": {}, "hold": "", "state": "done", "jobs": [job]}  # fmt: skip
    summary = {"campaign": "/c", "state": "done", "paused": False, "cancelled": False, "arrays": [array],
               "tasks": {"total": 3, "succeeded": 3, "failed": 0, "unfinished": 0},
               "unknown_states": {}, "attention": {}}  # fmt: skip
    show(summary)
    assert "vm:1" not in capsys.readouterr().out
    show({**summary, "arrays": [{**array, "jobs": [{**job, "state": "queued"}]}]})
    assert "job vm:1 for label: queued" in capsys.readouterr().out
    show({**summary, "arrays": [{**array, "state": "live"}]})
    assert "job vm:1 for label: running" in capsys.readouterr().out
