"""Jobs are kept away from nodes that failed, with the scheduler's own option."""

from pathlib import Path

import pytest

from hpcflow.sites.scripts import Script, render

SLURM = "scheduler: {kind: slurm}\nshell: /bin/bash\nclasses: {one: {walltime: 1h, options: {OPTIONS}}}\n"


@pytest.fixture
def script(tmp_path: Path) -> Script:
    places = dict.fromkeys(("campaign", "array", "archive", "log"), tmp_path)
    return Script(token="hf001a", title="t", width=1, resources="r1", excluded=["n3", "n7"], **places)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ("", "#SBATCH --exclude=n3,n7"),
        ("exclude: n1", "#SBATCH --exclude=n1,n3,n7"),
        ("x: 'n[1-2]'", '#SBATCH --exclude="n[1-2],n3,n7"'),
    ],
)
def test_they_join_the_ones_that_the_site_excludes(site, script: Script, options: str, line: str) -> None:
    text = render(site(SLURM.replace("OPTIONS", options)), "one", script)
    assert [found for found in text.splitlines() if "exclude" in found or " -x" in found] == [line]


def test_where_the_site_says_on_which_nodes_to_run_it_knows_better(site, script: Script) -> None:
    assert "exclude" not in render(site(SLURM.replace("OPTIONS", "nodelist: 'n[1-3]'")), "one", script)


def test_a_scheduler_without_such_an_option_runs_anywhere(site, script: Script) -> None:
    assert "n7" not in render(site(SLURM.replace("slurm", "pbs").replace("OPTIONS", "")), "one", script)
