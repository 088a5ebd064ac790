"""``hpcflow sites``."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from hpcflow.cli.main import cli
from hpcflow.errors import UserError


def hpcflow(*arguments: str) -> Result:
    result = CliRunner().invoke(cli, ["sites", *arguments], standalone_mode=False)
    if isinstance(result.exception, UserError):
        raise result.exception
    assert result.exception is None, result.output
    return result


def test_list_names_sites_and_titles(write: Any) -> None:
    write("mine", "title: My cluster\nscheduler: {kind: slurm}")
    lines = hpcflow("list").output.splitlines()
    assert any(line.split(maxsplit=1) == ["lumi", "LUMI, CSC Kajaani (EuroHPC)"] for line in lines)
    assert any(line.split(maxsplit=1) == ["mine", "My cluster [user]"] for line in lines)


def test_list_as_json(write: Any) -> None:
    entries = json.loads(hpcflow("list", "--json").output)
    assert {"name": "local", "title": "This machine, without a scheduler", "layers": ["shipped"]} in entries


def test_show_prints_values_layers_sources_and_doubts(write: Any, tmp_path: Path) -> None:
    write("lumi", "account: 2026_042")
    write("lumi", "classes: {training: {walltime: 3h}}", layer="campaign")
    text = hpcflow("show", "lumi", "--campaign", str(tmp_path / "campaign")).output
    lines = {line.split()[0]: line.split() for line in text.splitlines()}
    assert lines["account"][1:3] == ["2026_042", "user"]
    assert lines["classes.training.walltime"][1:3] == ["3h", "campaign"]
    assert lines["queues.small.limits.submit"][1:4] == ["220", "shipped", "LUMI"]
    assert "? limits.array: MaxArraySize is not documented" in text


def test_show_marks_what_nobody_verified(write: Any) -> None:
    text = hpcflow("show", "gadi").output
    (line,) = (line for line in text.splitlines() if line.startswith("limits.array"))
    assert line.split()[:3] == ["limits.array", "?", "1"]
    assert "? limits.array: NCI has discouraged job arrays" in text


def test_show_as_json_has_file_and_line(write: Any) -> None:
    shown = json.loads(hpcflow("show", "lumi", "--json").output)
    values = {value["key"]: value for value in shown["values"]}
    value = values["queues.standard.limits.submit"]
    file = Path(value["file"])
    assert "submit: 120" in file.read_text("utf-8").splitlines()[value["line"] - 1]
    assert (value["value"], value["layer"], value["unverified"]) == ("120", "shipped", None)
    assert list(shown["unknown"]) == ["limits.array"]


def test_show_of_a_site_with_a_mistake_tells_the_mistake(write: Any) -> None:
    write("mine", "scheduler: {kind: slurm, beet: 1}")
    with pytest.raises(UserError, match=r"unknown key scheduler\.beet"):
        hpcflow("show", "mine")


def test_render_prints_the_script_of_every_class_and_what_is_missing(write: Any) -> None:
    result = hpcflow("render", "lumi")
    assert result.stdout.count("#!/bin/bash -l\n") == 4
    assert "runs no job without an account" in result.stderr


def test_render_of_one_class_of_a_campaign(write: Any, tmp_path: Path) -> None:
    write("mine", "scheduler: {kind: slurm}\nclasses: {one: {walltime: 1h}, two: {walltime: 2h}}", layer="campaign")
    result = hpcflow("render", "mine", "--class", "two", "-C", str(tmp_path / "campaign"))
    assert result.stdout.count("#SBATCH --time=") == 1
    assert "#SBATCH --time=02:00:00" in result.stdout
    assert f"cd -- {tmp_path}/campaign" in result.stdout
    assert result.stderr == ""


def test_the_campaign_is_the_current_directory_if_it_is_one(
    write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("mine", "scheduler: {kind: slurm}\nclasses: {one: {walltime: 1h}}", layer="campaign")
    monkeypatch.chdir(tmp_path / "campaign")
    with pytest.raises(UserError, match="There is no site 'mine'"):
        hpcflow("show", "mine")
    Path("hpcflow.yaml").write_text("workflow: map\n")
    assert "slurm" in hpcflow("show", "mine").output


@pytest.mark.parametrize("command", ["list", "show", "render"])
def test_help_has_an_example(command: str) -> None:
    assert f"Example: hpcflow sites {command}" in hpcflow(command, "--help").output
