"""What commands say to people, and the exit codes that go with it."""

from __future__ import annotations

import pytest
from campaign_harness import MakeCampaign

from hpcflow.cli.table import about, seconds, show

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


def test_failures_that_differ_in_numbers_only_are_one_cause_and_the_rest_is_counted(
    make_campaign: MakeCampaign,
) -> None:
    campaign = make_campaign(
        "def read(x):\n    raise ValueError(f'bad row mol {x}' if x < 3 else 'cause ' + 'x' * x)\n"
        "def flow(run):\n    run.map(read, range(15))\n",
        "workflow: flow.py:flow\nclasses: {default: {retries: {error: 0}, slots: 4}}\n",
    )
    campaign.good("submit")
    campaign.finish()
    shown = campaign.good("explain")
    assert "3 failed: ValueError: bad row mol 0 (numbers differ)" in shown
    assert shown.count("bad row") == 1
    assert "and 3 more causes" in shown


def test_commands_that_do_not_exist_are_answered_with_those_of_the_help(make_campaign: MakeCampaign) -> None:
    message = make_campaign(FLOW, "workflow: flow.py:flow\n").refused("zzz")
    assert "explain, init" in message
    assert "link" not in message


def test_the_tab_key_knows_sites_and_arrays(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign(FLOW, "workflow: flow.py:flow\n")

    def offered(words: str) -> str:
        last = str(len(words.split()) - 1)
        completing = {"_HPCFLOW_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": last}
        return campaign.hpcflow(**completing).stdout

    assert offered("hpcflow explain it").split() == []
    campaign.good("submit")
    campaign.finish()
    assert offered("hpcflow explain it").split() == ["plain,iterations[0]/odd"]
    assert offered("hpcflow submit --site loc").split() == ["plain,local"]


def test_an_option_before_the_command_is_told_its_place(make_campaign: MakeCampaign) -> None:
    done = make_campaign(FLOW).hpcflow("-C", ".", "status")
    assert done.returncode == 2
    assert "hpcflow status -C DIR" in done.stderr


def test_long_lists_of_names_are_not_printed(make_campaign: MakeCampaign) -> None:
    message = make_campaign(FLOW, "workflow: os:qqqqqq\n").refused("submit", "--dry-run")
    assert "qqqqqq" in message
    assert len(message) < 300


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
             "mean_seconds": 1.5, "left_seconds": None, "ended_by": {}, "failures": {}, "never_started": None,
             "hold": "", "state": "done", "jobs": [job]}  # fmt: skip
    summary = {"campaign": "/c", "state": "done", "paused": False, "cancelled": False, "arrays": [array],
               "tasks": {"total": 3, "succeeded": 3, "failed": 0, "unfinished": 0},
               "unknown_states": {}, "attention": {}, "conditions": []}  # fmt: skip
    show(summary)
    assert "vm:1" not in capsys.readouterr().out
    show({**summary, "arrays": [{**array, "jobs": [{**job, "state": "queued"}]}]})
    assert "job vm:1 for label: queued" in capsys.readouterr().out
    show({**summary, "arrays": [{**array, "state": "live"}]})
    assert "job vm:1 for label: running" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("value", "text"), [(0.2, "about 1 s"), (80, "about 80 s"), (720, "about 12 min"), (9000, "about 2.5 h")]
)
def test_what_is_left_is_told_roughly(value: float, text: str) -> None:
    assert about(value) == text


def test_what_is_left_is_estimated_from_what_is_done(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign(
        "import time\ndef wait(x):\n    time.sleep(0.05 if x < 4 else 600)\n"
        "def flow(run):\n    run.map(wait, range(40))\n",
        "workflow: flow.py:flow\nclasses: {default: {slots: 1, workers: 1}}\n",
    )
    campaign.good("submit")
    (array,) = campaign.poll_until(lambda status: status["arrays"][0]["left_seconds"])["arrays"]
    assert array["left_seconds"] == pytest.approx(array["unfinished"] * array["mean_seconds"], abs=0.01)
    assert array["in_flight"] <= 1
    assert "wait: about " in campaign.good("status")


def test_attention_is_said_once(make_campaign: MakeCampaign) -> None:
    flow = (
        "def bad(x):\n    raise ValueError(x)\n"
        "def flow(run):\n    for i in run.iterations(1):\n"
        "        list(run.map(bad, range(2), min_success=1.0).results())\n"
    )
    campaign = make_campaign(flow, "workflow: flow.py:flow\nclasses: {default: {retries: {error: 0}}}\n")
    for arguments in (["run"], ["resume"]):
        done = campaign.hpcflow(*arguments)
        assert done.returncode == 4
        assert done.stdout.count("Needs attention") == 1
        assert done.stdout.count("its tasks failed") == 1, done.stdout
        assert "hpcflow explain 'iterations[0]/bad'" in done.stdout
