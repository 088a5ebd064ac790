"""Every mistake gives one message with file, line or key and what to do, exit code 2, and an untouched database."""

from __future__ import annotations

import json
import os
import re
import shutil
import threading
from pathlib import Path

import pytest
from campaign_harness import Campaign, MakeCampaign, wait_for

FLOW = """
import hpcflow as hf

def double(x, times=2):
    return x * times

def flow(run: hf.Run, n: int = 3, factor: float = 1.0, words: list[str] = [], cls: str = "default"):
    run.map(double, range(n), task_class=cls)
"""
WATER = """3
Properties=species:S:1:pos:R:3 name=a
O 0 0 0
H 0 0 1
H 0 1 0
"""

# What is wrong, the YAML, and words that the message must hold.
MISTAKES: dict[str, tuple[str, list[str]]] = {
    "unknown key": ("workflow: flow.py:flow\nparamters: {}\n", ["hpcflow.yaml, line 2", "paramters", "parameters"]),
    "unknown parameter": ("workflow: flow.py:flow\nparameters:\n  m: 3\n", ["hpcflow.yaml, line 3", "parameters.m"]),
    "wrong type": ("workflow: flow.py:flow\nparameters:\n  n: many\n", ["hpcflow.yaml, line 3", "parameters.n",
                                                                        "whole number", "many"]),
    "a fraction for a whole number": ("workflow: flow.py:flow\nparameters: {n: 1.5}\n", ["line 2", "1.5"]),
    "a text for a list": ("workflow: flow.py:flow\nparameters: {words: abc}\n", ["line 2", "parameters.words", "list"]),
    "seed that is no number": ("workflow: flow.py:flow\nseed: lucky\n", ["line 2", "seed", "lucky"]),
    "negative budget": ("workflow: flow.py:flow\nbudget: -1\n", ["line 2", "budget", "-1"]),
    "misspelled class": ("workflow: flow.py:flow\nclasses:\n  referense: {cores: 2}\n", ["hpcflow.yaml, line 3",
                                                                        "referense", "Did you mean 'reference'"]),
    "misspelled class with a walltime": ("workflow: flow.py:flow\nclasses:\n  refrence: {walltime: 1:00:00}\n",
                                         ["hpcflow.yaml, line 3", "refrence", "Did you mean 'reference'", "like:"]),
    "more cores than there are": ("workflow: flow.py:flow\nclasses:\n  default: {cores: 5000}\n",
                                  ["hpcflow.yaml, line 3", "5000 cores", f"has: {len(os.sched_getaffinity(0))}"]),
    "budget that is no number": ("workflow: flow.py:flow\nbudget: much\n", ["line 2", "budget", "much"]),
    "parameters that are a list": ("workflow: flow.py:flow\nparameters: [1]\n", ["line 2", "parameters"]),
    "no workflow": ("site: local\n", ["hpcflow.yaml", "workflow", "missing"]),
    "empty file": ("", ["hpcflow.yaml", "workflow"]),
    "a list instead of keys": ("- workflow\n", ["hpcflow.yaml"]),
    "not YAML": ("workflow: [flow\n", ["hpcflow.yaml", "line"]),
    "a tab": ("workflow: flow.py:flow\nparameters:\n\tn: 3\n", ["hpcflow.yaml", "line 3"]),
    "a key twice": ("workflow: flow.py:flow\nseed: 1\nseed: 2\n", ["line 3", "seed"]),
    "workflow of a wrong type": ("workflow: [flow]\n", ["line 1", "workflow"]),
    "unknown workflow": ("workflow: lable\n", ["line 1", "lable", "'label'"]),
    "unknown function": ("workflow: flow.py:flwo\n", ["line 1", "flow.py", "flwo", "'flow'"]),
    "unknown file": ("workflow: flwo.py:flow\n", ["line 1", "flwo.py", "'flow.py'"]),
    "a file elsewhere": ("workflow: ../other/flow.py:flow\n", ["line 1", "flow.py"]),
    "unknown site": ("workflow: flow.py:flow\nsite: lcoal\n", ["lcoal", "'local'"]),
    "unknown class": ("workflow: flow.py:flow\nparameters: {cls: defualt}\n", ["defualt", "'default'"]),
    "unknown key of a class": ("workflow: flow.py:flow\nclasses:\n  default:\n    walltme: 3h\n",
                               ["line 4", "walltme", "'walltime'"]),
    "unknown key of the site": ("workflow: flow.py:flow\nclasses:\n  default:\n    environment:\n      module: [a]\n",
                                ["line 5", "module"]),
    "nonsense for a time": ("workflow: flow.py:flow\nclasses:\n  default:\n    walltime: soon\n",
                            ["line 4", "walltime", "soon"]),
    "label without structures": ("workflow: label\n", ["structures", "missing"]),
    "label of a missing file": ("workflow: label\nparameters: {structures: missing.xyz}\n", ["missing.xyz"]),
    "label of a pattern that matches nothing": ("workflow: label\nparameters: {structures: 'none*.xyz'}\n",
                                                ["none*.xyz"]),
    "map without a command": ("workflow: map\nparameters: {items: [1]}\n", ["command", "function"]),
    "map of nothing": ("workflow: map\nparameters: {command: 'true'}\n", ["rows", "items"]),
    "map of a command with arguments": (
        "workflow: map\nparameters: {command: 'true', items: [1], arguments: {depth: 2}}\n", ["arguments", "'depth'"]),
    "map of a table with a column twice": ("workflow: map\nparameters: {command: 'echo {a}', rows: twice.csv}\n",
                                           ["twice.csv, line 1", "column 'a'", "twice"]),
    "map of two inputs": ("workflow: map\nparameters: {command: 'true', rows: a.csv, items: [1]}\n",
                          ["rows", "items"]),
    "map of a missing table": ("workflow: map\nparameters: {command: 'true', rows: a.csv}\n", ["a.csv"]),
    "map of a missing function": ("workflow: map\nparameters: {function: flow.py:tripel, items: [1]}\n", ["tripel"]),
    "map of a function in a missing module": ("workflow: map\nparameters: {function: 'nomod:f', items: [1]}\n",
                                              ["hpcflow.yaml: key parameters.function", "no module 'nomod'"]),
    "map of a misspelled module": ("workflow: map\nparameters: {function: 'flo:double', items: [1]}\n",
                                   ["key parameters.function", "Did you mean 'flow'"]),
    "map of a dotted name": ("workflow: map\nparameters: {function: flow.double, items: [1]}\n",
                             ["key parameters.function", "'flow.double'", "file.py:function"]),
    "label with a function in a missing module": (
        "workflow: label\nparameters: {structures: rows.csv, calculator: 'nomod:f'}\n",
        ["hpcflow.yaml: key parameters.calculator", "no module 'nomod'"]),
    "a workflow in a missing module": ("workflow: nomod:flow\n", ["hpcflow.yaml, line 1", "no module 'nomod'"]),
    "map of a directory": ("workflow: map\nparameters: {command: 'true', files: .}\n", ["'.' is a directory", "'./*'"]),
    "map of a pattern that means a directory": ("workflow: map\nparameters: {command: 'true', files: 'sub*'}\n",
                                                ["subdirectory: cannot be read as a file: Is a directory"]),
    "label of a directory": ("workflow: label\nparameters: {structures: ., calculator: tblite.ase.TBLite}\n",
                             ["'.' is a directory"]),
    "map with a field that no row has": ("workflow: map\nparameters: {command: 'echo {nmae}', rows: rows.csv}\n",
                                         ["nmae", "name"]),
}  # fmt: skip


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_mistake_in_the_configuration_is_said_before_anything_is_made(
    make_campaign: MakeCampaign, mistake: str
) -> None:
    yaml, words = MISTAKES[mistake]
    campaign = make_campaign(FLOW, yaml)
    campaign.write("rows.csv", "name,value\na,1\n")
    campaign.write("twice.csv", "a,b,a\n1,2,3\n")
    campaign.write("subdirectory/file", "")
    for arguments in (("submit", "--dry-run"), ("submit",), ("run",)):
        message = campaign.refused(*arguments)
        for word in words:
            assert word in message, message
        assert "frozen importlib" not in message
        assert not campaign.database.exists()


RESOURCES = "def f(x): return x\ndef flow(run):\n    run.map(f, [1], resources=lambda x: %s)\n"
FLOWS: dict[str, tuple[str, list[str]]] = {
    "a syntax error": ("def flow(run:\n", ["flow.py, line 1", "SyntaxError"]),
    "a failing import": ("import hpcflow\nimport nonsuch_module\n", ["flow.py, line 2", "nonsuch_module"]),
    "an exception on import": ("x = 1\ny = x / 0\ndef flow(run): pass\n", ["flow.py, line 2", "ZeroDivisionError"]),
    "an exit on import": ("import sys\nsys.exit('no')\n", ["flow.py, line 2", "SystemExit"]),
    "an exception": ("def flow(run):\n    helper()\ndef helper():\n    raise ValueError('bad day')\n",
                     ["flow.py, line 4", "helper", "ValueError: bad day"]),
    "an exit": ("import sys\ndef flow(run):\n    sys.exit(0)\n", ["flow.py, line 3", "SystemExit"]),
    "no argument for the run": ("def flow():\n    pass\n", ["flow.py", "run"]),
    "an unreadable annotation": ("def flow(run, n: 'Nonsuch' = 1):\n    pass\n", ["flow.py", "Nonsuch"]),
    "a class for a function": ("class flow:\n    pass\n", ["flow.py", "function"]),
    "a lambda": ("def flow(run):\n    run.map(lambda x: x, [1])\n", ["lambda"]),
    "an inner function": ("def flow(run):\n    def f(x): return x\n    run.map(f, [1])\n", ["f"]),
    "a step met twice": ("def f(x): return x\ndef flow(run):\n    run.map(f, [1])\n    run.map(f, [2])\n",
                         ["'f'", "twice", "name="]),
    "one text for inputs": ("def f(x): return x\ndef flow(run):\n    run.map(f, 'a.xyz')\n", ["hf.frames"]),
    "a number for inputs": ("def f(x): return x\ndef flow(run):\n    run.map(f, 3)\n", ["int"]),
    "an input that is no JSON": ("def f(x): return x\ndef flow(run):\n    run.map(f, [{1, 2}])\n", ["set"]),
    "a handle as it is": ("def f(x, y=0): return x\ndef flow(run):\n    run.map(f, [2], y=run.map(f, [1], name='b'))\n",
                          ["Handle", ".results()"]),
    "a missing file": ("import hpcflow as hf\ndef f(x): pass\ndef flow(run): run.map(f, hf.files('rows.txt'))\n",
                       ["rows.txt", "'rows.csv'"]),
    "resources of an unknown kind": (RESOURCES % "{'nodes': 2}", ["nodes", "cores"]),
    "resources that are no numbers": (RESOURCES % "{'memory': '4GB'}", ["memory", "4GB"]),
    "resources with more cores than there are": (
        RESOURCES % "{'cores': 5000}", ["f: resources() returned {'cores': 5000} for task 0", "5000 cores are more"]),
    "resources with more memory than there is": (
        RESOURCES % "{'memory': 10**9}", ["{'memory': 1000000000} for task 0", "MiB of memory are more than"]),
    "resources that fail": (RESOURCES % "x['n']", ["flow.py, line 3", "TypeError"]),
    "a fraction of successes above one": (
        "def f(x): return x\ndef flow(run):\n    run.map(f, [1], min_success=1.5)\n", ["f: min_success=1.5", "0 to 1"]),
    "an empty command": ("def flow(run):\n    run.map('  ', [{}])\n", ["command"]),
}  # fmt: skip


@pytest.mark.parametrize("mistake", FLOWS)
def test_a_mistake_in_the_workflow_names_the_place(make_campaign: MakeCampaign, mistake: str) -> None:
    flow, words = FLOWS[mistake]
    campaign = make_campaign(flow)
    campaign.write("rows.csv", "name\na\n")
    for arguments in (("submit", "--dry-run"), ("submit",)):
        message = campaign.refused(*arguments)
        for word in words:
            assert word in message, message
        assert not campaign.database.exists()


TEMPLATE = """&FORCE_EVAL
  &SUBSYS
    &KIND O
      BASIS_SET DZVP-MOLOPT-GTH
    &END KIND
  &END SUBSYS
&END FORCE_EVAL
"""
LABEL = """workflow: label
parameters:
  structures: frames.xyz
  calculator: hpcflow.tasks.reference_cp2k:cp2k
  arguments: {template: water.inp}
"""


@pytest.mark.parametrize(
    ("template", "words"),
    [
        (TEMPLATE, ["frames.xyz: frame 1 has H", "&KIND H"]),
        (TEMPLATE.replace("&END SUBSYS", "&END XC"), ["water.inp", "line"]),
        (None, ["water.inp", "No such file"]),
    ],
    ids=["without the elements of a frame", "not an input", "missing"],
)
def test_a_template_that_cannot_compute_the_frames_is_said_before_anything_is_made(
    make_campaign: MakeCampaign, template: str | None, words: list[str]
) -> None:
    campaign = make_campaign(FLOW, LABEL)
    campaign.write("frames.xyz", "1\noxygen\nO 0 0 0\n" + WATER)
    if template is not None:
        campaign.write("water.inp", template)
    for arguments in (("submit", "--dry-run"), ("submit",)):
        message = campaign.refused(*arguments)
        for word in words:
            assert word in message, message
        assert not campaign.database.exists()


TABLES = {
    "empty": ("rows.csv", "", ["rows.csv", "empty"]),
    "a row too long": ("rows.csv", "a,b\n1,2\n1,2,3\n", ["rows.csv, line 3", "3 fields"]),
    "a row too short": ("rows.csv", "a,b\n1\n", ["rows.csv, line 2"]),
    "not JSON": ("rows.jsonl", '{"a": 1}\n{"a": \n', ["rows.jsonl, line 2"]),
    "not an object": ("rows.jsonl", "[1]\n", ["rows.jsonl, line 1", "object"]),
}


@pytest.mark.parametrize("mistake", TABLES)
def test_a_mistake_in_a_table_names_the_line(make_campaign: MakeCampaign, mistake: str) -> None:
    name, text, words = TABLES[mistake]
    campaign = make_campaign(None, f"workflow: map\nparameters: {{command: 'echo {{a}}', rows: {name}}}\n")
    campaign.write(name, text)
    message = campaign.refused("submit")
    for word in words:
        assert word in message, message
    assert not campaign.database.exists()


XYZ = {
    "cut in the middle of a frame": WATER + WATER[: WATER.index("H 0 1")],
    "cut in the middle of a line": WATER + "3\nPropert",
    "no number of atoms": WATER + "three\ncomment\n",
    "empty": "",
}


@pytest.mark.parametrize("mistake", XYZ)
def test_a_damaged_file_of_frames_is_refused_with_its_place(make_campaign: MakeCampaign, mistake: str) -> None:
    campaign = make_campaign(None, "workflow: label\nparameters: {structures: start.xyz}\n")
    campaign.write("start.xyz", XYZ[mistake])
    message = campaign.refused("submit")
    assert "start.xyz" in message
    assert "line" in message or mistake == "empty", message
    assert not campaign.database.exists()


TEMPLATES = {
    "an undefined variable": ("{{ tokn }}\n", ["local.sh.j2, line 1", "tokn", "'token'"]),
    "a syntax error": ("line\n{% if %}\n", ["local.sh.j2, line 2"]),
    "an unknown base": ("{% extends 'nonsuch.j2' %}\n", ["nonsuch.j2"]),
}


@pytest.mark.parametrize("mistake", TEMPLATES)
def test_a_mistake_in_a_template_is_said_before_anything_is_made(make_campaign: MakeCampaign, mistake: str) -> None:
    text, words = TEMPLATES[mistake]
    campaign = make_campaign(FLOW)
    campaign.write("templates/local.sh.j2", text)
    for arguments in (("submit", "--dry-run"), ("submit",)):
        message = campaign.refused(*arguments)
        for word in words:
            assert word in message, message
        assert not campaign.database.exists()


@pytest.mark.parametrize(
    ("written", "seconds"),
    [("12:00:00", 43200), ("24:00", 86400), ("1-12:00:00", 129600), ("90m", 5400), ("2h", 7200)],
)
def test_times_mean_what_they_say(make_campaign: MakeCampaign, written: str, seconds: int) -> None:
    yaml = f"workflow: flow.py:flow\nclasses:\n  default:\n    walltime: {written}\n"
    campaign = make_campaign(FLOW, yaml)
    assert f"--walltime {seconds} " in campaign.good("submit", "--dry-run")


def test_an_account_stays_as_it_was_typed(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign(FLOW)
    campaign.write("sites/mine.yaml", "scheduler:\n  kind: slurm\naccount: 2026_042\noptions:\n  account: '{account}'\n"
                   "classes:\n  default:\n    walltime: 24:00\n")  # fmt: skip
    shown = campaign.good("submit", "--site", "mine", "--dry-run")
    assert "#SBATCH --account=2026_042" in shown


# -- with a database that must stay as it was


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Campaign:
    """A campaign that has come to its end."""
    directory = tmp_path_factory.mktemp("original")
    campaign = Campaign(directory / "campaign", directory / "home")
    campaign.write("flow.py", FLOW)
    campaign.write("hpcflow.yaml", "workflow: flow.py:flow\n")
    campaign.good("submit")
    campaign.finish()
    campaign.poll()
    return campaign


@pytest.fixture
def submitted(original: Campaign, tmp_path: Path) -> Campaign:
    """A copy of it that does not know that it is one."""
    campaign = Campaign(tmp_path / "campaign", tmp_path / "home")
    shutil.copytree(original.directory, campaign.directory, dirs_exist_ok=True)
    identity = campaign.database / "campaign.json"
    identity.write_text(identity.read_text().replace(str(original.directory), str(campaign.directory)))
    campaign.good("poll")
    return campaign


def untouched(campaign: Campaign, *arguments: str) -> str:
    """The message of a refused command, which must not have changed anything."""
    before = campaign.snapshot()
    message = campaign.refused(*arguments)
    after = campaign.snapshot()
    assert sorted(before) == sorted(after)
    assert before == after
    return message


COMMANDS = [
    (("explain", "dubble"), "'double'"),
    (("explain", "double/17"), "0 to 2"),
    (("results", "dubble"), "'double'"),
    (("drop", "double/0-9"), "0 to 2"),
    (("drop", "double/2-1"), "3-9,12"),
    (("drop", "double/1-2-3"), "3-9,12"),
    (("drop", "double/0"), "done"),
    (("set",), "--width"),
    (("submit", "--rerun", "dubble"), "dubble"),
    (("submit", "--site", "lcoal"), "'local'"),
    (("resume", "--moved"), "where it was made"),
    (("resume", "--copied"), "where it was made"),
    (("sumbit",), "'submit'"),
    (("logs", "dubble"), "'double'"),
    (("init", "lable"), "lable"),
]


@pytest.mark.parametrize(("arguments", "word"), COMMANDS, ids=[" ".join(a) for a, _ in COMMANDS])
def test_a_mistake_on_the_command_line_changes_nothing(
    submitted: Campaign, arguments: tuple[str, ...], word: str
) -> None:
    assert word in untouched(submitted, *arguments)


@pytest.mark.parametrize("arguments", [("set", "--width", "none"), ("set", "--width", "0"), ("status", "--jsno"),
                                       ("drop",), ("submit", "--budget", "1")])  # fmt: skip
def test_click_refuses_with_the_same_exit_code(submitted: Campaign, arguments: tuple[str, ...]) -> None:
    before = submitted.snapshot()
    done = submitted.hpcflow(*arguments)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert submitted.snapshot() == before


@pytest.mark.parametrize("verb", ["status", "poll", "resume", "explain", "results", "submit", "run", "cancel", "pause"])
def test_a_newer_database_is_left_alone(submitted: Campaign, verb: str) -> None:
    path = submitted.database / "campaign.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "version": 999}))
    message = untouched(submitted, verb)
    assert "999" in message
    assert "newer" in message
    assert "pip install" in message


@pytest.mark.parametrize("content", ["{", "[]", "{}", '"x"'])
def test_a_damaged_identity_is_named(submitted: Campaign, content: str) -> None:
    (submitted.database / "campaign.json").write_text(content)
    assert "campaign.json" in untouched(submitted, "poll")


@pytest.mark.parametrize("verb", ["status", "poll", "submit"])
def test_a_damaged_journal_is_named_with_its_line(submitted: Campaign, verb: str) -> None:
    path = submitted.database / "journal.1.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = lines[2].replace(b"1", b"7", 1)
    path.write_bytes(b"".join(lines))
    for state in submitted.database.glob("state.*"):
        state.unlink()
    message = untouched(submitted, verb)
    assert "journal.1.jsonl, line 3" in message


def test_a_journal_line_of_an_unknown_kind_is_of_a_newer_version(submitted: Campaign) -> None:
    from hpcflow.database.journal import encode_line

    path = submitted.database / "journal.1.jsonl"
    path.write_bytes(path.read_bytes() + encode_line({"kind": "teleport", "time": 0}))
    message = untouched(submitted, "poll")
    assert "teleport" in message
    assert "newer" in message


def test_outside_of_a_campaign_the_message_says_how_to_start_one(make_campaign: MakeCampaign, tmp_path: Path) -> None:
    campaign = make_campaign(FLOW)
    empty = campaign.at(tmp_path / "empty")
    for verb in ("status", "poll", "submit"):
        assert "hpcflow init" in empty.refused(verb)
    assert "no such directory" in campaign.refused("status", "-C", "nonsuch")


def test_before_the_first_submission_the_message_says_so(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign(FLOW)
    for verb in ("status", "poll", "resume", "explain", "results", "cancel", "pause", "logs"):
        message = campaign.refused(verb)
        assert "hpcflow submit" in message
        assert "write hpcflow.yaml" not in message
        assert not campaign.database.exists()


# -- edits while work is going on

SLOW = FLOW.replace("return x * times", "import time; time.sleep(0.5); return x * times")


def test_a_changed_function_is_refused_while_workers_run_and_queued_work_keeps_the_old_one(
    make_campaign: MakeCampaign,
) -> None:
    campaign = make_campaign(SLOW)
    campaign.good("submit")
    wait_for(campaign.workers)
    flow = campaign.write("flow.py", SLOW.replace("x * times", "x * times + 1000"))
    message = campaign.refused("submit")
    assert "double" in message
    assert "its function double changed (flow.py)" in message
    assert "hpcflow submit --rerun double" in message
    assert flow.exists()
    status = campaign.poll_until(lambda status: status["tasks"]["unfinished"] == 0)
    assert status["state"] == "attention"
    assert campaign.results("double") == [0, 2, 4]


def test_an_input_file_edited_while_its_tasks_wait_stops_the_array_and_is_named(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign(
        "import hpcflow as hf\n"
        "def read(path):\n    return open(path).read()\n"
        "def flow(run):\n    run.map(read, hf.files('inputs/*.txt'))\n"
    )
    for name in "abc":
        campaign.write(f"inputs/{name}.txt", name)
    campaign.good("submit", "--dry-run")
    campaign.good("set", "--help")
    # Workers must not start before the edit.
    campaign.write("sites/local.yaml", "classes:\n  default:\n    environment:\n      lines: [sleep 1]\n")
    campaign.good("submit")
    campaign.write("inputs/b.txt", "B")
    status = campaign.poll_until(lambda status: status["arrays"][0]["hold"] and not campaign.workers())
    assert all("b.txt" in text for text in status["attention"].values()), status["attention"]
    assert status["arrays"][0]["failed"] == 0
    campaign.poll()
    journal = len(campaign.journal())
    campaign.poll()
    campaign.poll()
    assert len(campaign.journal()) == journal
    campaign.write("inputs/b.txt", "b")
    campaign.hpcflow("resume")
    campaign.finish()
    assert campaign.results() == ["a", "b", "c"]


def test_an_edited_file_of_frames_does_not_touch_tasks_that_wait(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign(None, "workflow: map\nparameters: {frames: start.xyz, command: 'sed -n 3p input.xyz'}\n")
    campaign.write("start.xyz", WATER)
    campaign.good("submit")
    campaign.write("start.xyz", WATER.replace("O 0 0 0", "N 9 9 9"))
    status = campaign.poll_until(lambda status: status["tasks"]["unfinished"] == 0)
    text = " ".join(status["attention"].values())
    assert "its inputs changed (start.xyz)" in text
    assert "--rerun" in text
    assert campaign.results()[0]["stdout"] == "O 0 0 0\n"


def test_two_submissions_at_once_make_one_campaign(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign(FLOW)
    both = [campaign.start("submit") for _ in range(2)]
    said = [process.communicate(timeout=120)[0] for process in both]
    assert [process.returncode for process in both] in ([0, 0], [0, 75], [75, 0]), said
    assert not any("Traceback" in text for text in said)
    status = campaign.finish()
    assert status["tasks"]["total"] == 3
    assert len([line for line in campaign.journal() if line["kind"] == "array"]) == 1


def test_two_ticks_at_once_leave_the_second_busy(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign(
        "import time\ndef f():\n    time.sleep(2)\n    return 1\ndef flow(run):\n    run.call(f).result()\n"
    )
    first = campaign.start("submit")
    wait_for(campaign.workers)
    done = campaign.hpcflow("poll")
    assert done.returncode == 75
    assert str(first.pid) in done.stderr
    assert "Traceback" not in done.stderr
    assert campaign.hpcflow("status").returncode == 0
    assert first.wait(60) == 0
    first.communicate()


def test_a_misspelled_argument_of_a_calculator_is_refused_before_anything_is_written(
    make_campaign: MakeCampaign,
) -> None:
    yaml = "workflow: label\nparameters:\n  structures: a.xyz\n  calculator: ase.calculators.emt.EMT\n"
    campaign = make_campaign(None, yaml + "  arguments: {asap_cutof: true}\n")
    campaign.write("a.xyz", WATER)
    for arguments in (("submit", "--dry-run"), ("submit",)):
        assert "Did you mean 'asap_cutoff'" in campaign.refused(*arguments)
    assert not list(campaign.database.glob("arrays/*"))


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ("run.map(f, [1], scal=2.0)", "has no parameter 'scal'. Did you mean 'scale'?"),
        ("run.map(f, [1])", "missing a required"),
        ("run.call(f, 1, 2.0, scale=3.0)", "multiple values for argument 'scale'"),
        ("run.call(f)", "missing a required"),
    ],
)
def test_a_function_that_cannot_be_called_so_is_refused_before_anything_is_written(
    make_campaign: MakeCampaign, call: str, expected: str
) -> None:
    campaign = make_campaign(f"def f(x, scale):\n    return x * scale\ndef flow(run):\n    {call}\n")
    said = campaign.refused("submit")
    assert "f: flow.f" in said
    assert expected in said
    assert not list(campaign.database.glob("arrays/*"))


def test_a_labelling_function_of_ones_own_takes_only_what_was_asked_for(make_campaign: MakeCampaign) -> None:
    yaml = "workflow: label\nparameters:\n  structures: a.xyz\n  calculator: flow.py:mine\n  arguments: {sise: 2}\n"
    campaign = make_campaign(
        "import hpcflow.tasks.reference as reference\n"
        "def mine(atoms, size):\n"
        "    return reference.ase_calculator(atoms, 'ase.calculators.emt.EMT', {'asap_cutoff': size > 1})\n",
        yaml,
    )
    campaign.write("a.xyz", WATER)
    assert "Did you mean 'size'?" in campaign.refused("submit")
    campaign.write("hpcflow.yaml", yaml.replace("sise", "size"))
    campaign.good("submit")
    assert campaign.finish()["tasks"]["succeeded"] == 1


ODD = ["with a space", "100%", "it's", 'say "hi"', "Übergröße", "$HOME", "a;b&c", "{braces}", "back\\slash", "-dash"]


@pytest.mark.parametrize("name", ODD)
def test_the_name_of_the_campaign_directory_does_not_matter(make_campaign: MakeCampaign, name: str) -> None:
    campaign = make_campaign(
        "import hpcflow as hf\n"
        "@hf.task(keep=['*.txt'])\ndef f(path):\n    open('out.txt', 'w').write('x')\n    return open(path).read()\n"
        "def g(files):\n    return [open(f).read() for f in files]\n"
        "def flow(run):\n    a = run.map(f, hf.files('in put.txt'))\n"
        "    run.call(g, a.files('out.txt')).result()\n    run.map('cat {path}', hf.files('in put.txt'), name='c')\n",
        name=name,
    )
    campaign.write("in put.txt", "content")
    campaign.good("submit")
    campaign.finish()
    assert campaign.results("f") == ["content"]
    assert campaign.results("c")[0]["stdout"] == "content"
    assert campaign.good("explain", "f/0")


def test_no_message_is_said_twice(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign(FLOW, "workflow: flow.py:flow\nsite: lcoal\n")
    message = campaign.refused("submit")
    assert len(re.findall("lcoal", message)) == 1


def test_an_edit_between_two_looks_does_not_leave_bytecode_behind(submitted: Campaign) -> None:
    assert not (submitted.directory / "__pycache__").exists()


def test_status_works_while_ticks_finish_arrays(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign(
        "def f(x): return x\ndef flow(run):\n    for i in run.iterations(4):\n        list(run.map(f, [i]).results())\n"
    )
    campaign.good("submit")
    problems: list[str] = []
    stop = threading.Event()

    def look() -> None:
        from hpcflow.cli.campaign import view
        from hpcflow.database.database import Database

        while not stop.is_set():
            try:
                view(Database(campaign.directory))
            except Exception as error:  # noqa: BLE001 whatever it is, it is what this test looks for
                problems.append(repr(error))

    thread = threading.Thread(target=look)
    thread.start()
    try:
        campaign.finish()
    finally:
        stop.set()
        thread.join()
    assert not problems
    assert os.path.exists(campaign.array("f") / "results")
