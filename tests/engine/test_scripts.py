"""Campaigns that a script drives itself: handles wait, and running the script again goes on."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from campaign_harness import Campaign, MakeCampaign

SCRIPT = """
import hpcflow as hf

def double(x, add=0):
    with open("log", "a") as stream:
        pass
    return 2 * x + add

def total(values):
    return sum(values)

if __name__ == "__main__":
    with hf.Campaign("runs/first", site="local") as run:
        numbers = run.map(double, range(5), add=ADD)
        print("numbers", list(numbers.results()), max(numbers.results()))
        print("total", run.call(total, numbers.results()).result())
"""


def run_script(campaign: Campaign, text: str) -> subprocess.CompletedProcess[str]:
    script = campaign.directory / "script.py"
    script.write_text(text)
    return subprocess.run(
        [sys.executable, "script.py"],
        cwd=campaign.directory,
        env=campaign.environment,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )


@pytest.fixture
def place(make_campaign: MakeCampaign) -> Campaign:
    campaign = make_campaign()
    (campaign.directory / "hpcflow.yaml").unlink()
    return campaign


def test_a_script_waits_for_its_results_and_its_own_functions_travel(place: Campaign) -> None:
    done = run_script(place, SCRIPT.replace("ADD", "0"))
    assert done.returncode == 0, done.stderr
    assert done.stdout == "numbers [0, 2, 4, 6, 8] 8\ntotal 20\n"
    inside = place.at(place.directory / "runs" / "first")
    assert inside.status()["state"] == "done"
    assert inside.status()["tasks"]["succeeded"] == 5
    assert inside.poll().returncode == 0


def test_running_it_again_computes_nothing(place: Campaign) -> None:
    run_script(place, SCRIPT.replace("ADD", "0"))
    inside = place.at(place.directory / "runs" / "first")
    arrays = len([line for line in inside.journal() if line["kind"] == "array"])
    done = run_script(place, SCRIPT.replace("ADD", "0"))
    assert done.stdout == "numbers [0, 2, 4, 6, 8] 8\ntotal 20\n"
    assert len([line for line in inside.journal() if line["kind"] == "array"]) == arrays


@pytest.mark.parametrize(("answer", "result"), [("--rerun", [1, 3, 5, 7, 9]), ("--keep", [0, 2, 4, 6, 8])])
def test_a_change_is_named_and_can_be_answered_without_hpcflow_yaml(
    place: Campaign, answer: str, result: list[int]
) -> None:
    run_script(place, SCRIPT.replace("ADD", "0"))
    done = run_script(place, SCRIPT.replace("ADD", "1"))
    assert done.returncode != 0
    assert "its parameter add changed from 0 to 1" in done.stderr
    assert "-C " in done.stderr
    place.good("submit", answer, "double", "-C", "runs/first")
    done = run_script(place, SCRIPT.replace("ADD", "1"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"numbers {result}")


def test_paths_in_a_script_are_relative_to_where_it_runs(place: Campaign) -> None:
    place.write("data/a.txt", "abc")
    place.write("data/b.txt", "de")
    done = run_script(
        place,
        "import hpcflow as hf\nfrom pathlib import Path\n"
        "def length(path): return len(open(path).read())\n"
        "def both(x, path): return x + len(open(path).read())\n"
        "with hf.Campaign('runs/x') as run:\n"
        "    print(list(run.map(length, hf.files('data/*.txt')).results()))\n"
        "    print(list(run.map(both, [1], path=Path('data/a.txt')).results()))\n",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[3, 2]\n[4]\n"


def test_a_failing_call_ends_the_script_with_what_it_printed(place: Campaign) -> None:
    done = run_script(
        place,
        "import hpcflow as hf\n"
        "def bad():\n    print('half way')\n    raise ValueError('no')\n"
        "with hf.Campaign('runs/x') as run:\n    run.call(bad).result()\n",
    )
    assert done.returncode != 0
    assert "ValueError: no" in done.stderr
    assert "half way" in done.stderr


def test_a_killed_script_goes_on_when_it_is_run_again(place: Campaign) -> None:
    text = (
        "import hpcflow as hf, os, sys\n"
        "def work(x, log):\n"
        "    import time\n"
        "    with open(log, 'a') as stream: stream.write(f'{x}\\n')\n"
        "    time.sleep(0.1)\n    return x\n"
        "with hf.Campaign('runs/x') as run:\n"
        "    handle = run.map(work, range(6), log=os.path.abspath('log'))\n"
        "    if not os.path.exists('again'):\n"
        "        open('again', 'w').close()\n"
        "        os.kill(os.getpid(), 9)\n"
        "    print(list(handle.results()))\n"
    )
    assert run_script(place, text).returncode == -9
    done = run_script(place, text)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[0, 1, 2, 3, 4, 5]\n"
    assert sorted((place.directory / "log").read_text().split()) == list("012345")


def test_late_results_in_a_script(place: Campaign) -> None:
    text = (
        "import hpcflow as hf, os\n"
        "def work(x, gate):\n"
        "    import os, time\n"
        "    while x == 0 and not os.path.exists(gate): time.sleep(0.02)\n"
        "    return x\n"
        "with hf.Campaign('runs/x') as run:\n"
        "    gate = os.path.abspath('gate')\n"
        "    handle = run.map(work, range(4), min_success=0.75, gate=gate)\n"
        "    print(list(handle.results()))\n"
        "    open(gate, 'w').close()\n"
        "    import time; time.sleep(1)\n"
        "    run._session._tick()\n"
        "    with run.scope('later'): print(list(handle.late().results()))\n"
        "    print(list(handle.results()))\n"
    )
    done = run_script(place, text)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "[1, 2, 3]\n[0]\n[1, 2, 3]\n"


def test_a_function_that_declares_its_version_keeps_its_results_when_its_text_changes(place: Campaign) -> None:
    text = (
        "import hpcflow as hf\n"
        "@hf.task(version=1)\ndef f(x): return x + ADD\n"
        "with hf.Campaign('runs/x') as run: print(list(run.map(f, [1]).results()))\n"
    )
    assert run_script(place, text.replace("ADD", "1")).stdout == "[2]\n"
    done = run_script(place, text.replace("ADD", "5"))
    assert done.stdout == "[2]\n", done.stderr


def test_the_directory_of_a_script_is_left_as_it_was(place: Campaign, tmp_path: Path) -> None:
    run_script(place, SCRIPT.replace("ADD", "0"))
    assert sorted(p.name for p in place.directory.iterdir()) == ["runs", "script.py"]


def test_the_marker_of_tasks_can_be_used_more_than_once(place: Campaign) -> None:
    done = run_script(
        place,
        "import hpcflow as hf\nimport hpcflow.task\nfrom hpcflow.task import Output\n"
        "@hf.task(version=1)\ndef f(x): return x + 1\n"
        "@hf.task(version=1)\ndef g(x): return x + 2\n"
        "print(f(1), g(1))\n",
    )
    assert done.stdout == "2 3\n", done.stderr


def test_failed_tasks_are_warned_of_and_the_rest_says_which_inputs_it_is_of(place: Campaign) -> None:
    done = run_script(
        place,
        "import hpcflow as hf\n"
        "def third(x):\n    return 3 / x\n"
        "with hf.Campaign('runs/x') as run:\n"
        "    handle = run.map(third, [1, 0, 3])\n"
        "    print(handle, list(handle.results()), handle.indices())\n",
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout == "<step 'third': 3 tasks> [3.0, 1.0] [0, 2]\n"
    assert done.stderr.count("third: 1 of 3 tasks failed") == 1


def test_a_script_on_a_terminal_shows_how_far_it_is(place: Campaign) -> None:
    place.write(
        "script.py",
        "import hpcflow as hf\ndef double(x):\n    return 2 * x\n"
        "with hf.Campaign('runs/x') as run:\n    print(list(run.map(double, [1, 2]).results()))\n",
    )
    command = ["script", "-qec", f"{sys.executable} script.py", "/dev/null"]
    done = subprocess.run(
        command, cwd=place.directory, env=place.environment, capture_output=True, text=True, timeout=90, check=True
    )
    assert "double 0/2" in done.stdout
    assert "[2, 4]" in done.stdout


@pytest.mark.parametrize("verb", ["submit", "run"])
def test_a_campaign_of_a_script_goes_on_by_its_script(place: Campaign, verb: str) -> None:
    run_script(place, SCRIPT.replace("ADD", "0"))
    assert "run the script again" in place.refused(verb, "-C", "runs/first")
