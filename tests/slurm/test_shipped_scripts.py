"""The reviewed scripts of every Slurm site, read by a real sbatch and judged by a real controller.

What this proves: Slurm knows every option, takes every value, and a job of that size fits the nodes and limits that
the site file describes. What it cannot prove: that the site has partitions and accounts of these names.
"""

import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from paper_slurm import PATH, PROGRAMS, Paper, paper_slurm, partition

from hpcflow.sites.layers import load_site
from hpcflow.sites.schema import Site

pytestmark = pytest.mark.slurm

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tests" / "golden"


def slurm_sites() -> dict[str, Site]:
    """All sites with reviewed scripts that are Slurm's."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(GOLDEN / "config"))
        names = sorted(path.name for path in GOLDEN.iterdir() if (path / "default.sh").exists())
        return {name: site for name in names if (site := load_site(name)).scheduler.kind == "slurm"}


SITES = slurm_sites()
CASES = [(name, task_class) for name, site in SITES.items() for task_class in site.classes]


@pytest.fixture(scope="module")
def paper() -> Iterator[Paper]:
    """A controller that knows the partitions of all sites."""
    if missing := [program for program in PROGRAMS if shutil.which(program, path=PATH) is None]:
        pytest.skip(f"no Slurm here: {', '.join(missing)} not found (packages: .ci/packages-slurm)")
    with tempfile.TemporaryDirectory(prefix="paper-") as directory, paper_slurm(SITES.values(), Path(directory)) as it:
        yield it


@pytest.mark.parametrize(("name", "task_class"), CASES)
def test_slurm_takes_the_script(paper: Paper, name: str, task_class: str, tmp_path: Path) -> None:
    site = SITES[name]
    text = (GOLDEN / name / f"{task_class}.sh").read_text("utf-8")
    # Names of clusters are looked up in a database of all of them, and the others are options of plugins.
    text = re.sub(r"^#SBATCH --(clusters|image|uenv|view)=.*\n", "", text, flags=re.MULTILINE)
    script = tmp_path / "job.sh"
    script.write_text(text, "utf-8")
    code, said = paper.verdict(script, partition(site, site.classes[task_class].queue))
    assert (code, " to start at " in said) == (0, True), said


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("--nodez=1", "unrecognized option '--nodez=1'"),
        ("--mem=lots", "Invalid --mem specification"),
        ("--ntasks-per-node=129", "configuration is not available"),
        ("--mem=300G", "configuration is not available"),
        ("--time=9-00:00:00", "Requested time limit is invalid"),
        ("--nodes=7", "Node count specification invalid"),
    ],
)
def test_slurm_refuses_what_it_does_not_know_or_the_nodes_do_not_have(
    paper: Paper, line: str, complaint: str, tmp_path: Path
) -> None:
    script = tmp_path / "job.sh"
    script.write_text(f"#!/bin/bash\n#SBATCH {line}\ntrue\n")
    code, said = paper.verdict(script, "lumi-small")
    assert code != 0
    assert complaint in said
