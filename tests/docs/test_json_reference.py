"""Every key that the page on JSON output promises is there."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "json.md"
SECTIONS = re.split(r"^## hpcflow ", PAGE.read_text("utf-8"), flags=re.M)[1:]


def promised() -> list[tuple[str, str]]:
    """Pairs of a command and a key."""
    pairs = []
    for section in SECTIONS:
        command = section.partition("\n")[0]
        first_cells = re.findall(r"^\| (`.*?) \|", section, re.M)
        pairs += [(command, key) for cell in first_cells for key in re.findall(r"`([^`]+)`", cell)]
    return pairs


def hpcflow(directory: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "hpcflow", *arguments]
    return subprocess.run(command, cwd=directory, check=True, capture_output=True, text=True).stdout


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What each command of the page prints."""
    directory = tmp_path_factory.mktemp("campaign")
    (directory / "hpcflow.yaml").write_text(
        "workflow: map\nparameters:\n  items: [{n: 1}, {n: 2}]\n  command: echo {n}\n", "utf-8"
    )
    plan = json.loads(hpcflow(directory, "submit", "--dry-run", "--json"))
    hpcflow(directory, "run")
    return {
        "submit --dry-run --json": plan,
        "status --json": json.loads(hpcflow(directory, "status", "--json")),
        "results --json": json.loads(hpcflow(directory, "results", "--json").splitlines()[0]),
    }


def look_up(value: Any, key: str) -> None:
    """Follow a key like ``arrays[].jobs[].id``, and fail if it leads nowhere."""
    for part in key.split("."):
        value = value[part.removesuffix("[]")]
        if part.endswith("[]"):
            value = value[0]


@pytest.mark.parametrize(("command", "key"), promised())
def test_a_promised_key_is_there(command: str, key: str, outputs: dict[str, Any]) -> None:
    look_up(outputs[command], key)


def test_every_command_of_the_page_is_tried(outputs: dict[str, Any]) -> None:
    assert {command for command, _ in promised()} == set(outputs)
