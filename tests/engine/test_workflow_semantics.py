"""What a workflow may rely on: frozen reads, branches, keys, identities, growth, answers to changes."""

from __future__ import annotations

import json

import pytest
from campaign_harness import Campaign, MakeCampaign, wait_for

GATED = """
import os, time
import hpcflow as hf

def gated(x, gate):
    while x == 0 and not os.path.exists(gate):
        time.sleep(0.02)
    return 10 * x

def total(values):
    return sum(values)

def flow(run: hf.Run, gate: str):
    a = run.map(gated, range(4), min_success=0.75, gate=gate)
    run.call(total, a.results())
    with run.scope("later"):
        if GO_ON:
            run.call(total, a.late().results(), name="rest")
"""


def test_a_read_is_frozen_and_stragglers_come_with_late(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign(GATED.replace("GO_ON", "False"))
    gate = campaign.home / "gate"
    campaign.write("hpcflow.yaml", f"workflow: flow.py:flow\nparameters: {{gate: {gate}}}\n")
    campaign.good("submit")

    def frozen() -> list[list[list[int]]]:
        campaign.poll()
        return [line["accepted"] for line in campaign.journal() if line["kind"] == "freeze" and line["read"] == "gated"]

    wait_for(frozen)
    assert frozen() == [[[1, 4]]]
    assert campaign.results("total") == [60]
    gate.touch()
    campaign.finish()
    campaign.write("flow.py", GATED.replace("GO_ON", "os.path.exists(gate)"))
    campaign.poll()
    campaign.finish()
    assert frozen() == [[[1, 4]]]
    assert campaign.results("total") == [60], "a later replay must read what the first one read"
    assert campaign.results("later/rest") == [0]


def test_a_branch_that_waits_does_not_stop_the_others(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign(
        "import os, time\nimport hpcflow as hf\n"
        "def wait(x, gate):\n"
        "    while not os.path.exists(gate): time.sleep(0.02)\n"
        "    return x\n"
        "def quick(x): return x\n"
        "def slow_part(run, gate):\n    return sum(run.map(wait, [1], gate=gate).results())\n"
        "def quick_part(run):\n    first = run.map(quick, [2]).results()\n"
        "    return sum(run.map(quick, [first[0] + 1], name='second').results())\n"
        "def flow(run, gate: str):\n"
        "    a = run.branch('a', slow_part, run, gate)\n"
        "    b = run.branch('b', quick_part, run)\n"
        "    run.map(quick, [a.result() + b.result()], name='end')\n"
    )
    gate = campaign.home / "gate"
    campaign.write("hpcflow.yaml", f"workflow: flow.py:flow\nparameters: {{gate: {gate}}}\n"
                   "classes: {default: {workers: 1}}\n")  # fmt: skip
    campaign.good("submit")
    campaign.poll_until(lambda status: {a["name"]: a["state"] for a in status["arrays"]}.get("b/second") == "done")
    assert campaign.status()["arrays"][0]["state"] == "live"
    gate.touch()
    campaign.finish()
    assert campaign.results("end") == [4]


SQUARES = """
import os
import hpcflow as hf

def square(x, log, power=2):
    with open(log, "a") as stream:
        stream.write(f"{x}\\n")
    return {"x": x, "y": x ** power}

def total(results):
    return sum(r["y"] for r in results)

def flow(run: hf.Run, log: str, n: int = 3, power: int = 2):
    squares = run.map(square, [INPUTS for i in range(n)], log=log, power=power)
    run.map(total, [squares.results()])
"""


def squares(make_campaign: MakeCampaign, inputs: str = "i", **parameters: object) -> Campaign:
    campaign = make_campaign(SQUARES.replace("INPUTS", inputs))
    configure(campaign, **parameters)
    campaign.good("submit")
    campaign.finish()
    return campaign


def configure(campaign: Campaign, **parameters: object) -> None:
    campaign.write(
        "hpcflow.yaml",
        f"workflow: flow.py:flow\nparameters: {json.dumps({'log': str(campaign.home / 'log'), **parameters})}\n",
    )


def ran(campaign: Campaign) -> list[str]:
    return sorted((campaign.home / "log").read_text().split())


def test_more_inputs_compute_only_what_is_new_and_keep_the_order(make_campaign: MakeCampaign) -> None:
    campaign = squares(make_campaign, "100 - i", n=3)
    configure(campaign, n=5)
    said = campaign.good("submit")
    assert "square  default      5              3" in said, said
    campaign.finish()
    assert ran(campaign) == ["100", "96", "97", "98", "99"]
    assert [r["x"] for r in campaign.results("square")] == [100, 99, 98, 97, 96]
    assert campaign.results("total") == [sum((100 - i) ** 2 for i in range(5))]


def test_a_plan_names_a_step_with_other_inputs_whose_results_were_used(make_campaign: MakeCampaign) -> None:
    campaign = squares(make_campaign, n=3)
    configure(campaign, n=5)
    assert "Changed after others had read the results: square." in campaign.good("submit", "--dry-run")
    campaign.good("submit")
    campaign.finish()
    assert "Changed" not in campaign.good("submit", "--dry-run")


def test_other_inputs_are_asked_about_unless_somebody_submits_them(make_campaign: MakeCampaign) -> None:
    campaign = squares(make_campaign, n=3)
    configure(campaign, n=2)
    assert "its inputs changed" in campaign.poll().stdout
    assert campaign.results("total") == [5]
    campaign.good("submit")
    campaign.finish()
    assert campaign.results("total") == [1]


def test_a_question_about_a_file_names_it_also_after_cancel_and_resume(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign(
        "import hpcflow as hf\ndef size(path):\n    import os; return os.path.getsize(path)\n"
        "def flow(run):\n    run.map(size, hf.files('m.txt'))\n"
    )
    campaign.write("m.txt", "1")
    campaign.good("submit")
    campaign.finish()
    campaign.write("m.txt", "12")
    assert "its inputs changed (m.txt)" in campaign.poll().stdout
    campaign.good("cancel")
    said = campaign.hpcflow("resume")
    assert said.returncode == 4
    assert said.stdout.count("its inputs changed (m.txt)") == 1
    campaign.write("m.txt", "1")
    assert campaign.hpcflow("resume").returncode == 0


def test_fewer_inputs_compute_nothing(make_campaign: MakeCampaign) -> None:
    campaign = squares(make_campaign, n=3)
    configure(campaign, n=2)
    campaign.good("submit")
    campaign.finish()
    assert ran(campaign) == ["0", "1", "2"]
    assert campaign.results("total") == [1]


def test_equal_inputs_are_different_tasks_with_different_seeds(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign(
        "import os\ndef walk(x): return int(os.environ['HPCFLOW_SEED'])\n"
        "def flow(run, n: int = 4, seed: int = 0): run.map(walk, [7] * n)\n"
    )
    campaign.good("submit")
    campaign.finish()
    seeds = campaign.results()
    assert len(set(seeds)) == 4
    campaign.write("hpcflow.yaml", "workflow: flow.py:flow\nparameters: {n: 6}\n")
    campaign.good("submit")
    campaign.finish()
    assert campaign.results()[:4] == seeds
    assert len(set(campaign.results())) == 6


def test_a_changed_parameter_is_named_and_keep_goes_on_with_what_there_is(make_campaign: MakeCampaign) -> None:
    campaign = squares(make_campaign)
    configure(campaign, power=3)
    assert campaign.poll().returncode == 4
    (message,) = campaign.status()["attention"].values()
    assert "its parameter power changed from 2 to 3" in message
    assert "square: its parameter" in campaign.refused("submit")
    campaign.good("submit", "--keep", "square")
    campaign.finish()
    assert campaign.results("square")[2] == {"x": 2, "y": 4}
    assert ran(campaign) == ["0", "1", "2"]
    campaign.poll()
    assert campaign.status()["state"] == "done"


def test_rerun_computes_a_changed_step_and_what_depends_on_it(make_campaign: MakeCampaign) -> None:
    campaign = squares(make_campaign)
    configure(campaign, power=3)
    campaign.good("submit", "--rerun", "square")
    campaign.finish()
    assert campaign.results("square")[2] == {"x": 2, "y": 8}
    assert campaign.results("total") == [9]


ITERATIONS = """
def step(x):
    return x + ADD

def flow(run):
    value = 0
    for i in run.iterations(3):
        value = run.map(step, [value]).results()[0]
"""


def iterations(make_campaign: MakeCampaign) -> Campaign:
    """Three iterations, done, whose function was changed then."""
    campaign = make_campaign(ITERATIONS.replace("ADD", "1"))
    campaign.good("submit")
    campaign.finish()
    campaign.write("flow.py", ITERATIONS.replace("ADD", "10"))
    assert campaign.poll().returncode == 4
    return campaign


def test_an_answer_holds_for_all_steps_that_changed_in_the_same_way(make_campaign: MakeCampaign) -> None:
    campaign = iterations(make_campaign)
    (message,) = campaign.status()["attention"].values()
    assert "its function step changed (flow.py) since" in message
    assert "--rerun 'iterations[0]/step'" in message
    campaign.good("submit", "--rerun", "iterations[0]/step")
    campaign.finish()
    assert campaign.results("iterations[2]/step") == [30]


def test_a_kept_step_can_still_be_computed_anew(make_campaign: MakeCampaign) -> None:
    campaign = iterations(make_campaign)
    campaign.good("submit", "--keep", "iterations[0]/step")
    campaign.finish()
    assert campaign.results("iterations[2]/step") == [3]
    campaign.good("submit", "--rerun", "iterations[0]/step")
    campaign.finish()
    assert campaign.results("iterations[2]/step") == [30]


def test_an_answer_does_not_hold_for_a_change_that_is_made_again_later(make_campaign: MakeCampaign) -> None:
    campaign = squares(make_campaign)
    for power in (3, 2):
        configure(campaign, power=power)
        campaign.good("submit", "--rerun", "square")
        campaign.finish()
    configure(campaign, power=3)
    assert campaign.poll().returncode == 4


def test_all_that_changed_is_named(make_campaign: MakeCampaign) -> None:
    flow = "def f(x, a, b, c): return x\ndef flow(run): run.map(f, [1], a=A, b=B, c=0)\n"
    campaign = make_campaign(flow.replace("A", "{'p': 1}").replace("B", "2"))
    campaign.good("submit")
    campaign.finish()
    campaign.write("flow.py", flow.replace("A", "{'p': 3}").replace("B", "4"))
    assert "f: its parameters a and b (from 2 to 4) changed (flow.py) since" in campaign.refused("submit")


def test_a_step_of_which_nothing_succeeded_begins_anew_once_it_is_corrected(make_campaign: MakeCampaign) -> None:
    flow = (
        "def f(x, how):\n    return {'right': x}[how]\n"
        "def flow(run, how: str = 'wrong'):\n    run.map(f, range(20), how=how)\n"
    )
    campaign = make_campaign(flow)
    campaign.good("submit")
    assert campaign.run_to_end().returncode == 4
    wait_for(lambda: not list(campaign.processes()))
    submitted = len([line for line in campaign.journal() if line["kind"] == "intent"])
    campaign.write("hpcflow.yaml", "workflow: flow.py:flow\nparameters: {how: right}\n")
    said = campaign.good("resume")
    assert 'from "wrong" to "right" (hpcflow.yaml); nothing had been computed' in said
    assert {line["array"] for line in campaign.journal() if line["kind"] == "intent"} == {1, 2}
    assert [line["array"] for line in campaign.journal() if line["kind"] == "intent"][submitted:] == [2]
    campaign.finish()
    assert campaign.results() == list(range(20))


def test_no_more_of_the_old_work_is_submitted_while_a_change_is_open(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign(
        "import os, time\n"
        "def f(x, gate, how):\n"
        "    while x == 0 and not os.path.exists(gate): time.sleep(0.02)\n"
        "    return how\n"
        "def flow(run, gate: str, how: int): run.map(f, range(4), gate=gate, how=how)\n"
    )
    gate = campaign.home / "gate"

    def say(how: int) -> None:
        campaign.write("hpcflow.yaml", f"workflow: flow.py:flow\nparameters: {{gate: {gate}, how: {how}}}\n")

    say(1)
    campaign.good("submit")
    campaign.poll_until(lambda status: status["tasks"]["succeeded"])
    campaign.good("cancel")
    say(2)
    before = len([line for line in campaign.journal() if line["kind"] == "intent"])
    assert "--rerun f" in campaign.hpcflow("resume").stdout
    assert campaign.poll().returncode == 4
    assert len([line for line in campaign.journal() if line["kind"] == "intent"]) == before
    gate.touch()
    campaign.good("submit", "--rerun", "f")
    campaign.finish()
    assert campaign.results() == [2, 2, 2, 2]


def test_taking_a_change_back_needs_no_answer(make_campaign: MakeCampaign) -> None:
    campaign = squares(make_campaign)
    configure(campaign, power=3)
    assert campaign.poll().returncode == 4
    configure(campaign)
    assert campaign.poll().returncode == 0
    assert campaign.status()["attention"] == {}


def test_results_come_over_from_earlier_arrays_of_the_same_computation(make_campaign: MakeCampaign) -> None:
    campaign = squares(make_campaign, n=3)
    campaign.write(
        "flow.py", SQUARES.replace("INPUTS", "i") + "    run.map(square, [2, 5], name='again', log=log, power=power)\n"
    )
    campaign.good("submit")
    campaign.finish()
    assert campaign.results("again") == [{"x": 2, "y": 4}, {"x": 5, "y": 25}]
    assert ran(campaign) == ["0", "1", "2", "5"]


def test_files_are_known_by_what_is_in_them_and_not_by_where_they_are(make_campaign: MakeCampaign) -> None:
    flow = (
        "import hpcflow as hf\n"
        "def read(path, log):\n"
        "    with open(log, 'a') as stream: stream.write('read ')\n"
        "    return open(path).read()\n"
        "def flow(run, log: str, pattern: str): run.map(read, hf.files(pattern), log=log)\n"
    )
    campaign = make_campaign(flow)
    campaign.write("old/a.txt", "content")
    configure(campaign, pattern="old/*.txt")
    campaign.good("submit")
    campaign.finish()
    (campaign.directory / "old").rename(campaign.directory / "new")
    configure(campaign, pattern="new/*.txt")
    campaign.good("submit")
    campaign.finish()
    assert (campaign.home / "log").read_text() == "read "


def test_a_comment_in_the_flow_file_changes_nothing(make_campaign: MakeCampaign) -> None:
    campaign = squares(make_campaign)
    campaign.write("flow.py", "# a comment\n\n" + (campaign.directory / "flow.py").read_text())
    assert campaign.poll().returncode == 0
    assert ran(campaign) == ["0", "1", "2"]


def test_a_declared_version_decides_what_is_the_same_function(make_campaign: MakeCampaign) -> None:
    flow = (
        "import hpcflow as hf\n@hf.task(version=VERSION)\ndef f(x):\n    return x + ADD\n"
        "def flow(run): run.map(f, [1])\n"
    )
    campaign = make_campaign(flow.replace("VERSION", "1").replace("ADD", "1"))
    campaign.good("submit")
    campaign.finish()
    campaign.write("flow.py", flow.replace("VERSION", "1").replace("ADD", "5"))
    assert campaign.poll().returncode == 0
    campaign.write("flow.py", flow.replace("VERSION", "2").replace("ADD", "5"))
    assert "its function f changed" in campaign.refused("submit")
    campaign.good("submit", "--rerun", "f")
    campaign.finish()
    assert campaign.results() == [6]


def test_a_failing_call_is_told_with_its_last_lines_and_tried_again_on_demand(make_campaign: MakeCampaign) -> None:
    flow = (
        "def judge(x):\n    print('I looked at', x)\n    raise ValueError('cannot judge')\n"
        "def after(x): return x\n"
        "def flow(run):\n    run.map(after, [run.call(judge, 3).result()])\n"
    )
    campaign = make_campaign(flow)
    assert campaign.hpcflow("submit").returncode == 4
    assert campaign.poll().returncode == 4
    (message,) = campaign.status()["attention"].values()
    assert "ValueError: cannot judge" in message
    assert "I looked at 3" in message
    assert "--retry-failed" in message
    campaign.write("flow.py", flow.replace("raise ValueError('cannot judge')", "return 7"))
    campaign.hpcflow("resume", "--retry-failed")
    campaign.finish()
    assert campaign.results("after") == [7]


def test_an_exception_in_the_flow_is_told_at_its_line_and_running_work_goes_on(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign(
        "import time\ndef f(x):\n    time.sleep(0.3)\n    return x\n"
        "def flow(run):\n    values = list(run.map(f, range(3)).results())\n    values[17]\n"
    )
    campaign.good("submit")
    status = campaign.poll_until(lambda status: status["state"] == "attention")
    assert status["tasks"]["succeeded"] == 3
    (message,) = status["attention"].values()
    assert "flow.py, line 7, in flow: IndexError" in message
    campaign.write("flow.py", (campaign.directory / "flow.py").read_text().replace("17", "1"))
    campaign.finish()


def test_tasks_with_resources_of_their_own_share_lists_by_what_they_need(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign(
        "import os\ndef f(x): return os.environ['HPCFLOW_CORES']\n"
        "def need(x): return {'cores': 2} if x % 2 else {}\n"
        "def flow(run): run.map(f, range(6), resources=need)\n"
    )
    campaign.good("submit")
    campaign.finish()
    assert campaign.results() == ["1", "2"] * 3
    cuts = [line for line in campaign.journal() if line["kind"] == "cut"]
    assert sorted((str(cut["request"]), cut["tasks"]) for cut in cuts) == [
        ("{'cores': 2}", [[1, 2], [3, 4], [5, 6]]),
        ("{}", [[0, 1], [2, 3], [4, 5]]),
    ]


def test_an_empty_map_is_done_at_once(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign("def f(x): return x\ndef flow(run): return list(run.map(f, []).results())\n")
    campaign.good("submit")
    campaign.finish()
    assert campaign.results() == []


def test_a_generator_of_inputs_is_read_once_however_often_its_step_waits(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign(
        "def f(x, y=(0,)): return x + y[0]\n"
        "def flow(run):\n"
        "    first = run.map(f, [1])\n"
        "    run.map(f, (i for i in range(3)), name='second', y=first.results())\n"
    )
    campaign.good("submit")
    campaign.finish()
    assert campaign.results("second") == [1, 2, 3]


def test_metrics_are_written_by_step(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign(
        "def flow(run):\n    for i in run.iterations(2):\n        run.metrics({'error': 1 / (i + 1)})\n"
    )
    campaign.good("submit")
    assert campaign.status()["metrics"] == [
        {"step": "iterations[0]", "error": 1.0},
        {"step": "iterations[1]", "error": 0.5},
    ]


def test_leaving_an_iteration_in_the_middle_leaves_its_scope(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign(
        "def f(x): return x\n"
        "def part(run):\n    for i in run.iterations(3):\n        list(run.map(f, [i]).results())\n"
        "def flow(run):\n    run.branch('a', part, run)\n    run.map(f, [9], name='other')\n"
        "    for i in run.iterations(3):\n        if i == 1: break\n"
        "    run.map(f, [8], name='last')\n"
    )
    done = campaign.hpcflow("submit")
    assert "Exception ignored" not in done.stderr
    campaign.finish()
    names = [array["name"] for array in campaign.status()["arrays"]]
    assert names == ["a/iterations[0]/f", "other", "last", "a/iterations[1]/f", "a/iterations[2]/f"]


def test_an_edit_counts_for_steps_that_are_made_later_in_the_same_run(make_campaign: MakeCampaign) -> None:
    flow = (
        "import os, time\n"
        "def wait(gate):\n    while not os.path.exists(gate): time.sleep(0.02)\n    return 1\n"
        "def later(x): return x + 1\n"
        "def flow(run, gate: str):\n    first = run.map(wait, [gate]).results()\n    run.map(later, list(first))\n"
    )
    campaign = make_campaign(flow)
    gate = campaign.home / "gate"
    campaign.write("hpcflow.yaml", f"workflow: flow.py:flow\nparameters: {{gate: {gate}}}\n")
    process = campaign.start("run")
    wait_for(campaign.slots)
    campaign.write("flow.py", flow.replace("x + 1", "x + 100"))
    gate.touch()
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert campaign.results("later") == [101]


@pytest.mark.parametrize("change", ["the campaign's helper", "the table"])
def test_all_files_that_a_replay_reads_are_watched(make_campaign: MakeCampaign, change: str) -> None:
    campaign = make_campaign(
        "import hpcflow as hf\nfrom helper import power\ndef f(row): return int(row['a'])\n"
        "def flow(run):\n    run.map(f, [r for r in hf.rows('rows.csv') for _ in range(power)])\n"
    )
    campaign.write("helper.py", "power = 1\n")
    campaign.write("rows.csv", "a\n1\n")
    campaign.good("submit")
    campaign.finish()
    if change == "the table":
        campaign.write("rows.csv", "a\n1\n2\n")
        name = "rows.csv"
    else:
        campaign.write("helper.py", "power = 2\n")
        name = "helper.py"
    assert campaign.poll().returncode == 4
    assert f"its inputs changed ({name})" in " ".join(campaign.status()["attention"].values())
