"""What is not imported: light commands start quickly, and work where no science is installed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCIENCE = {"ase", "mace", "matplotlib", "numpy", "openmm", "pandas", "scipy", "tblite", "torch"}
TERMINAL_AND_TEMPLATES = {"jinja2", "rich", "yaml"}

SCRIPT = """
import json, os, sys
try:
    from hpcflow.cli.main import main
    main()
finally:
    with open(os.environ["SEEN_MODULES"], "w") as stream:
        json.dump(sorted(sys.modules), stream)
"""


def modules_after(arguments: list[str], directory: Path, seen: Path) -> set[str]:
    """Run one command in a process of its own and return the modules it has imported in the end."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, *arguments],
        cwd=directory,
        env={"PATH": "/usr/bin:/bin", "HOME": str(directory), "SEEN_MODULES": str(seen)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(seen.read_text()))


@pytest.fixture(scope="module")
def campaign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished campaign of two shell commands."""
    directory = tmp_path_factory.mktemp("campaign")
    (directory / "rows.csv").write_text("word\none\ntwo\n")
    (directory / "hpcflow.yaml").write_text(
        "workflow: map\nsite: local\nparameters:\n  rows: rows.csv\n  command: echo {word}\n"
    )
    modules_after(["run"], directory, directory / "modules.json")
    return directory


def test_importing_hpcflow_imports_no_science_and_no_engine() -> None:
    code = "import sys, hpcflow; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    modules = set(done.stdout.split())
    assert not modules & (SCIENCE | TERMINAL_AND_TEMPLATES)
    assert not {m for m in modules if m.startswith(("hpcflow.engine", "hpcflow.database", "hpcflow.cli"))}


@pytest.mark.parametrize(
    "command",
    [
        "--help", "--version", "submit --help", "submit --dry-run", "submit --yes", "resume", "poll", "run",
        "status", "status --json", "explain map", "explain map/0", "logs", "pause", "continue", "results", "set --help",
        "sites list", "sites show local", "sites render local", "init --help",
    ],
)  # fmt: skip
def test_a_light_command_imports_no_science(command: str, campaign: Path, tmp_path: Path) -> None:
    assert not modules_after(command.split(), campaign, tmp_path / "modules.json") & SCIENCE


@pytest.mark.parametrize("command", ["poll", "status", "status --json"])
def test_polling_and_status_import_no_yaml_templates_or_terminal_library(
    command: str, campaign: Path, tmp_path: Path
) -> None:
    modules = modules_after(command.split(), campaign, tmp_path / "modules.json")
    assert not modules & TERMINAL_AND_TEMPLATES
