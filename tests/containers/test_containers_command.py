"""``hpcflow containers``, with stand-ins for the program that builds images."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hpcflow.containers import definitions, with_base
from hpcflow.errors import UserError

ROOT = Path(__file__).parents[2]
SHIPPED = sorted(definitions().values())
WRITES = 'for last; do before="$image"; image="$last"; done; image="$before"; printf whole >"$image"'
"""``apptainer build ... IMAGE DEFINITION`` and ``apptainer pull IMAGE ADDRESS``: the image is the last word but one."""


class Machine:
    """A directory to work in, and a PATH with nothing but what a test puts there."""

    def __init__(self, directory: Path) -> None:
        self.here = directory / "here it is"
        self.bin = directory / "bin"
        self.here.mkdir()
        self.bin.mkdir()
        for name in ("cp", "ls", "seq", "sh", "sleep", "touch"):
            (self.bin / name).symlink_to(str(shutil.which(name)))
        self.environment = {
            "PATH": str(self.bin),
            "HOME": str(directory),
            "PYTHONPATH": str(ROOT),
            "CALLS": str(directory / "calls"),
        }

    def add(self, name: str, *lines: str) -> None:
        path = self.bin / name
        path.write_text("\n".join(["#!/bin/sh", 'printf "%s\\n" "$@" >"$CALLS"', *lines, ""]))
        path.chmod(0o755)

    @property
    def calls(self) -> list[str]:
        return Path(self.environment["CALLS"]).read_text().splitlines()

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "hpcflow", "containers", *arguments]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=self.here, env=self.environment, stdout=pipe, stderr=pipe, text=True)

    def run(self, *arguments: str) -> tuple[int, str, str]:
        process = self.start(*arguments)
        stdout, stderr = process.communicate(timeout=60)
        assert "Traceback" not in stderr, stderr
        return process.returncode, stdout, stderr

    def refused(self, *arguments: str) -> str:
        code, stdout, stderr = self.run(*arguments)
        assert (code, stdout) == (2, ""), stderr
        return stderr

    @property
    def files(self) -> list[str]:
        return sorted(path.name for path in self.here.iterdir())


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


# -- definitions


@pytest.mark.parametrize("found", SHIPPED, ids=lambda found: found.name)
def test_a_definition_says_what_it_is_and_pins_what_it_installs(found: object) -> None:
    name, path, about = found  # type: ignore[misc]
    text = path.read_text()
    assert re.match(r"[A-Z].{30,110}\.\Z", about)
    assert re.search(r"^Bootstrap: docker\nFrom: [\w./-]+:[\w.-]+$", text, re.M), "an image with a tag"
    assert not re.search(r"^From: .*:latest$", text, re.M)
    for section in ("%post", "%environment", "%test", "%labels", "%help"):
        assert f"\n{section}\n" in text, section
    installed = re.findall(r"pip install ((?:.*\\\n)*.*)", text)
    words = [word.strip("'") for line in installed for word in line.replace("\\\n", " ").split()]
    packages = [word for word in words if not word.startswith(("-", "/"))]
    assert [word for word in packages if "==" not in word] == []
    assert name in ("cp2k", "mace-rocm") or "PATH=/opt/hpcflow/bin:$PATH" in text


def test_torch_stands_in_the_same_line_as_all_that_wants_it() -> None:
    text = definitions()["mace-cuda"].path.read_text()
    (line,) = re.findall(r"pip install ((?:.*\\\n)*.*)", text)
    assert {"torch==2.13.0", "mace-torch==0.3.16", "ase==3.29.0"} <= set(line.split())


def test_the_definitions_are_listed_with_what_they_are_for(machine: Machine) -> None:
    code, stdout, _ = machine.run("list")
    assert code == 0
    for name, _, about in SHIPPED:
        assert re.search(rf"^{name} +{re.escape(about)}$", stdout, re.M)
    assert str(ROOT / "containers") in stdout


def test_another_base_replaces_the_head_and_nothing_else(tmp_path: Path) -> None:
    image = tmp_path / "a b.sif"
    image.touch()
    text = definitions()["cpu"].path.read_text()
    local = with_base(text, str(image))
    assert f"\nBootstrap: localimage\nFrom: {image}\n" in local
    assert local.partition("%post")[2] == text.partition("%post")[2]
    assert "\nBootstrap: oras\nFrom: registry.example/a/b:1\n" in with_base(text, "oras://registry.example/a/b:1")
    with pytest.raises(UserError, match=r"no image ubuntu:24\.04\. Did you mean docker://ubuntu:24\.04\?"):
        with_base(text, "ubuntu:24.04")
    with pytest.raises(UserError, match=r"no image /nowhere/a\.sif\.\Z"):
        with_base(text, "/nowhere/a.sif")


# -- build


def test_an_image_is_built_and_appears_whole(machine: Machine) -> None:
    machine.add("apptainer", "echo working >&2", 'ls -A >"$CALLS.seen"', WRITES)
    code, stdout, stderr = machine.run("build", "cp2k")
    assert (code, stderr) == (0, "working\n")
    assert machine.calls[0] == "build"
    assert machine.calls[2] == str(ROOT / "containers" / "cp2k.def")
    assert re.fullmatch(r"\.cp2k\.sif\.\w+\.part", Path(machine.calls[1]).name)
    assert machine.files == ["cp2k.sif"]
    assert (machine.here / "cp2k.sif").read_text() == "whole"
    assert stdout.startswith(f"{machine.here}/cp2k.sif: 0 MB, digest ")


def test_what_the_program_says_is_passed_on_as_it_comes(machine: Machine) -> None:
    machine.add("apptainer", "printf 'half a line'", 'while [ ! -e "$CALLS.go" ]; do sleep 0.05; done', WRITES)
    process = machine.start("build", "cpu")
    assert process.stderr is not None
    assert os.read(process.stderr.fileno(), 100) == b"half a line"
    Path(machine.environment["CALLS"] + ".go").touch()
    assert process.wait(timeout=60) == 0
    process.communicate()


def test_output_base_and_options_are_passed_on(machine: Machine, tmp_path: Path) -> None:
    (machine.here / "base.sif").touch()
    machine.add("singularity", 'for last; do :; done; cp "$last" "$CALLS.def"', WRITES)
    target = tmp_path / "own.sif"
    arguments = ["--output", str(target), "--from", "base.sif", "--", "--fakeroot", "--nv"]
    assert machine.run("build", "cp2k", *arguments)[0] == 0
    assert machine.calls[:3] == ["build", "--fakeroot", "--nv"]
    assert target.read_text() == "whole"
    used = Path(machine.environment["CALLS"] + ".def").read_text()
    assert f"From: {machine.here}/base.sif\n" in used
    assert "openmpi-bin" in used


def test_a_definition_of_ones_own_is_built_by_its_path(machine: Machine) -> None:
    (machine.here / "mine.def").write_text("# Mine.\nBootstrap: docker\nFrom: debian:13\n")
    machine.add("apptainer", WRITES)
    assert machine.run("build", "./mine.def")[0] == 0
    assert machine.files == ["mine.def", "mine.sif"]


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("FATAL: ... write /tmp/x: no space left on device", "set it to a directory on scratch"),
        ("cp: error writing '/x': Disk quota exceeded", "APPTAINER_TMPDIR"),
        ('FATAL: Get "https://registry.example/v2/": dial tcp: lookup registry.example: no such host', "login node"),
        ("E: Failed to fetch x  Temporary failure resolving 'debian.example'", "where there is a network"),
        ("FATAL: could not use fakeroot: no mapping entry found in /etc/subuid for me", "does not let you build"),
        ("ERROR  : Requesting capability set 0x1 while permitted capability set is 0x0", "does not let you build"),
        ("FATAL: reading manifest nosuch in docker.example/a: manifest unknown", "look at name and tag"),
        ("E: Unable to locate package cp3k", ""),
    ],
)
def test_a_build_that_fails_leaves_nothing_but_its_last_words(machine: Machine, said: str, hint: str) -> None:
    many = "for i in $(seq 30); do echo line $i; done"
    machine.add("apptainer", WRITES, many, r'printf "\033[91m%s\033[0m\n" "$SAID" >&2', "exit 255")
    machine.environment["SAID"] = said
    error = machine.refused("build", "cp2k").partition("Error: ")[2]
    assert error.startswith("cp2k.def: apptainer build ended with exit code 255. Its last lines:\n")
    assert f"  {said}\n" in error
    assert "  line 20\n" in error
    assert "  line 9\n" not in error
    assert hint in error
    assert machine.files == []


def test_of_a_progress_bar_the_last_state_is_told(machine: Machine) -> None:
    machine.add("apptainer", r"printf ' 1%%\r 50%%\r 99%%\r\n'", "exit 1")
    error = machine.refused("build", "cp2k").partition("Error: ")[2]
    assert "\n   99%\n" in error
    assert "50%" not in error


def test_a_program_that_claims_success_and_made_nothing_failed(machine: Machine) -> None:
    machine.add("apptainer", "exit 0")
    assert "(it said nothing)" in machine.refused("build", "cp2k")


def test_a_program_that_is_killed_is_said_to_be(machine: Machine) -> None:
    machine.add("apptainer", "kill -9 $$")
    assert "was ended by signal 9" in machine.refused("build", "cp2k")


def test_nothing_stays_of_a_build_that_is_interrupted(machine: Machine) -> None:
    machine.add("apptainer", WRITES, 'touch "$CALLS.begun"', "exec sleep 60")
    process = machine.start("build", "cp2k")
    begun = Path(machine.environment["CALLS"] + ".begun")
    deadline = time.monotonic() + 60
    while not begun.exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    children = subprocess.run(["pgrep", "-P", str(process.pid)], capture_output=True, text=True, check=True).stdout
    # A terminal sends it to both.
    for pid in (process.pid, *map(int, children.split())):
        os.kill(pid, signal.SIGINT)
    assert process.wait(timeout=60) == 130
    process.communicate()
    assert machine.files == []


def test_an_image_that_is_there_stays_unless_one_says_so(machine: Machine) -> None:
    machine.add("apptainer", WRITES)
    (machine.here / "cp2k.sif").write_text("old")
    assert "cp2k.sif is there already. To make it anew, add --force" in machine.refused("build", "cp2k")
    assert (machine.here / "cp2k.sif").read_text() == "old"
    assert machine.run("build", "cp2k", "--force")[0] == 0
    assert (machine.here / "cp2k.sif").read_text() == "whole"


def test_mistakes_are_named(machine: Machine) -> None:
    assert "no definition 'cp3k'. Did you mean 'cp2k'?" in machine.refused("build", "cp3k")
    assert "no file 'mine.def'" in machine.refused("build", "mine.def")
    said = machine.refused("build", "cp2k")
    assert "apptainer and singularity cannot be found here" in said
    assert "module avail apptainer" in said
    machine.add("apptainer", WRITES)
    assert "/nowhere: no such directory" in machine.refused("build", "cp2k", "-o", "/nowhere/x.sif")


def test_on_a_terminal_the_program_may_draw_its_progress_bar(machine: Machine) -> None:
    machine.add("apptainer", WRITES, "test -t 2 && echo 'a bar'")
    ours, theirs = os.openpty()
    command = [sys.executable, "-m", "hpcflow", "containers", "pull", "docker://a/b:1"]
    done = subprocess.run(command, cwd=machine.here, env=machine.environment, stdout=subprocess.PIPE, stderr=theirs)
    os.close(theirs)
    assert done.returncode == 0
    assert b"a bar" in os.read(ours, 1 << 14)
    os.close(ours)
    assert machine.run("pull", "docker://a/c:1")[0] != 0, "elsewhere there is no terminal"


# -- pull


def test_an_image_is_fetched_under_a_name_made_of_its_address(machine: Machine) -> None:
    machine.add("apptainer", WRITES)
    assert machine.run("pull", "docker://registry.example/cp2k/cp2k:2025.1_openmpi")[0] == 0
    assert machine.calls[0] == "pull"
    assert machine.calls[2] == "docker://registry.example/cp2k/cp2k:2025.1_openmpi"
    assert machine.files == ["cp2k-2025.1_openmpi.sif"]
    assert machine.run("pull", "docker://a/b", "-o", "c.sif")[0] == 0
    assert machine.files == ["c.sif", "cp2k-2025.1_openmpi.sif"]


def test_what_cannot_be_fetched_is_told(machine: Machine) -> None:
    machine.add("apptainer", "echo 'FATAL: dial tcp: no such host'; exit 255")
    assert "cp2k is not fetched but made, with: hpcflow containers build cp2k" in machine.refused("pull", "cp2k")
    assert "Did you mean docker://cp2k/cp2k:1?" in machine.refused("pull", "cp2k/cp2k:1")
    said = machine.refused("pull", "docker://a/b:1")
    assert "docker://a/b:1: apptainer pull ended with exit code 255" in said
    assert "where there is a network" in said
    assert machine.files == []
