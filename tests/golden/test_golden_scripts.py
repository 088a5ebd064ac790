"""The scripts of every shipped site and class, as text that people read.

Besides the shipped sites there are some in ``config/`` that are no machines, or none any more: they hold what a site
file can say and no shipped one needs now.
"""

import subprocess
from pathlib import Path

import pytest

from hpcflow.sites.layers import load_site
from hpcflow.sites.scripts import Script, render

HERE = Path(__file__).parent
SHIPPED = HERE.parents[1] / "sites"
CONFIG = HERE / "config"
CAMPAIGN = Path("/scratch/project/campaign")
ACCOUNT = "project_1"


def every_class() -> list[tuple[str, str]]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(CONFIG))
        files = [*SHIPPED.glob("*.yaml"), *(CONFIG / "hpcflow" / "sites").glob("*.yaml")]
        names = sorted(path.stem for path in files)
        return [(name, task_class) for name in names for task_class in load_site(name).classes]


CASES = every_class()


def script_of(site: str, task_class: str) -> str:
    array = CAMPAIGN / ".hpcflow" / "arrays" / "0003-label"
    script = Script(
        token="hf003k7w2m9x4q1",
        title="0003-label",
        width=16,
        campaign=CAMPAIGN,
        array=array,
        archive=CAMPAIGN / ".hpcflow" / "code" / "DIGEST.pyz",
        log=array / "work" / "log",
        resources="r1",
        interpreter="/opt/hpcflow/bin/python",
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(CONFIG))
        patch.setenv("HPCFLOW_ACCOUNT", ACCOUNT)
        return render(load_site(site), task_class, script)


@pytest.mark.parametrize(("site", "task_class"), CASES)
def test_the_script_is_the_one_that_was_reviewed(site: str, task_class: str, request: pytest.FixtureRequest) -> None:
    path = HERE / site / f"{task_class}.sh"
    text = script_of(site, task_class)
    if request.config.getoption("--regenerate", default=False):
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, "utf-8")
    assert path.read_text("utf-8") == text, "if the change is meant, run: make golden"


def test_no_script_is_left_of_a_site_or_class_that_is_gone() -> None:
    found = {(path.parent.name, path.stem) for path in HERE.glob("*/*.sh")}
    assert found == set(CASES)


def test_every_script_is_valid_shell() -> None:
    for path in HERE.glob("*/*.sh"):
        checked = subprocess.run(["bash", "-n", str(path)], capture_output=True, text=True, check=False)
        assert (checked.returncode, checked.stderr) == (0, ""), path


def test_directives_come_before_everything_else() -> None:
    for path in HERE.glob("*/*.sh"):
        lines = path.read_text("utf-8").splitlines()
        directives = [i for i, line in enumerate(lines) if line.startswith(("#SBATCH", "#PBS", "#BSUB"))]
        assert directives == list(range(1, len(directives) + 1)), path


@pytest.mark.parametrize("word", ["None", "{", "undefined"])
def test_no_directive_holds_what_was_meant_to_be_filled_in(word: str) -> None:
    found = [
        f"{path}: {line}"
        for path in HERE.glob("*/*.sh")
        for line in path.read_text("utf-8").splitlines()
        if line.startswith(("#SBATCH", "#PBS", "#BSUB")) and word in line
    ]
    assert found == []
