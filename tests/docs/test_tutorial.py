"""The tutorials work as written: their files are written, their commands are run, their outputs compared.

In a tutorial, a code block with a title is a file, and a ``console`` block is a session in bash: lines
that start with ``$`` are commands, the lines below are what they print. ``...`` stands for anything.
"""

import doctest
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CLONED = ("hpcflow", "tests", "sites", "templates")
TUTORIALS = sorted((Path(__file__).parents[2] / "docs" / "tutorial").glob("*.md"))
BLOCK = re.compile(r'^```(?P<language>\w+)(?: title="(?P<title>[^"]+)")?\n(?P<text>.*?)^```$', re.M | re.S)
SAME = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@dataclass
class Command:
    text: str
    expected: str


def commands(session: str) -> list[Command]:
    parts = re.split(r"^\$ ", session, flags=re.M)
    assert parts[0] == "", f"a session starts with a command: {session}"
    return [Command(*part.split("\n", 1)) for part in parts[1:]]


class Shell:
    """Runs commands one after the other; the directory they change to is kept."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.environment = {
            "PATH": f"{Path(sys.executable).parent}:/usr/local/bin:/usr/bin:/bin",
            "HOME": str(directory),
            "COLUMNS": "110",
            "LANG": "C.UTF-8",
            "OMP_NUM_THREADS": "1",
        }

    def run(self, command: str) -> tuple[int, str]:
        reading, writing = os.pipe()
        script = f"{command}\nstatus=$?\npwd >&{writing}\nexit $status"
        done = subprocess.run(
            ["bash", "-c", script],
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            pass_fds=[writing],
            timeout=300,
            check=False,
        )
        os.close(writing)
        with open(reading, "rb") as stream:
            self.directory = Path(stream.read().decode().rstrip("\n"))
        return done.returncode, done.stdout.decode()


def clone(directory: Path) -> None:
    """Copy what a developer works in: the reader may change it."""
    for name in CLONED:
        shutil.copytree(ROOT / name, directory / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", directory)


# About ten seconds of real calculations: the tutorial is worth nothing if they do not run.
@pytest.mark.slow
@pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda path: path.stem)
def test_a_tutorial_works_as_written(tutorial: Path, tmp_path: Path) -> None:
    assert shutil.which("hpcflow", path=str(Path(sys.executable).parent)), "hpcflow has to be installed"
    shell = Shell(tmp_path)
    if "\n$ cd hpcflow\n" in tutorial.read_text("utf-8"):
        clone(tmp_path / "hpcflow")
    for block in BLOCK.finditer(tutorial.read_text("utf-8")):
        if block["title"]:
            (shell.directory / block["title"]).write_text(block["text"], "utf-8")
        elif block["language"] == "console":
            for command in commands(block["text"]):
                status, output = shell.run(command.text)
                assert status == 0, f"$ {command.text}\n{output}"
                if command.expected.strip():
                    assert doctest.OutputChecker().check_output(command.expected, output, SAME), (
                        f"$ {command.text}\nexpected:\n{command.expected}\ngot:\n{output}"
                    )
