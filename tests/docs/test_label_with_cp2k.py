"""The page on CP2K and the example that it begins with, done with a real CP2K and MPI."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from ase.io import read, write
from campaign_harness import Campaign, MakeCampaign

from hpcflow.tasks.reference_cp2k import cp2k, end_shell
from hpcflow.tasks.reference_labels import isolated_atom

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how-to" / "label-with-cp2k.md").read_text("utf-8")
AS_ROOT = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


@pytest.fixture
def example(make_campaign: MakeCampaign) -> Campaign:
    """The example, with three of its frames."""
    campaign = make_campaign()
    for file in (ROOT / "examples" / "label-cp2k").iterdir():
        shutil.copy(file, campaign.directory)
    campaign.environment.update(AS_ROOT)
    subprocess.run([sys.executable, "make_structures.py"], cwd=campaign.directory, check=True)
    frames = read(campaign.directory / "structures.xyz", ":")
    assert len(frames) == 10
    write(campaign.directory / "structures.xyz", frames[:3], format="extxyz")
    return campaign


@pytest.mark.slow  # three calculations, which take a second each on cores of their own
@pytest.mark.skipif(
    not (shutil.which("cp2k.psmp") and shutil.which("mpirun")), reason="cp2k.psmp or mpirun is missing (.ci/install)"
)
def test_the_example_labels_its_frames(example: Campaign) -> None:
    example.good("submit")
    assert example.finish(600)["tasks"] == {"total": 3, "succeeded": 3, "failed": 0, "unfinished": 0}
    example.good("results", "-o", "labelled.xyz")
    labelled = read(example.directory / "labelled.xyz", ":")
    assert [atoms.info["name"] for atoms in labelled] == ["pair-0", "pair-1", "pair-2"]
    for atoms in labelled:
        assert atoms.info["REF_energy"] < -300
        assert abs(atoms.arrays["REF_forces"].sum(axis=0)).max() < 0.05  # nothing pulls at the whole


@pytest.mark.skipif(not shutil.which("cp2k.psmp"), reason="cp2k.psmp is missing (.ci/install)")
def test_the_template_of_the_learning_example_labels_molecules_and_isolated_atoms(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    example = ROOT / "examples" / "learning-cp2k"
    frame = read(example / "start.xyz", "0")
    atoms = [cp2k(isolated_atom(symbol), str(example / "template.inp"), shell=True) for symbol in "CHO"]
    energies = {str(atom.symbols): atom.info["REF_energy"] for atom in atoms}
    whole = cp2k(frame, str(example / "template.inp"), shell=True).info["REF_energy"]
    end_shell()
    assert -60 < whole - sum(energies[symbol] for symbol in frame.symbols) < -30  # eV, to take ethanol apart


def test_the_learning_example_is_accepted(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign()
    for file in (ROOT / "examples" / "learning-cp2k").iterdir():
        shutil.copy(file, campaign.directory)
    campaign.good("submit", "--dry-run")


def test_the_files_of_the_page_make_the_scripts_that_it_describes(example: Campaign) -> None:
    for title, text in re.findall(r'^```yaml title="(.+?)"\n(.*?)^```$', PAGE, re.M | re.S):
        example.write(title, text)
    said = example.good("submit", "--dry-run")
    for line in (
        "#SBATCH --account=project_12345",
        "#SBATCH --ntasks-per-node=8",
        "module load cp2k/2025.1",
        "mpirun -np 8",
    ):
        assert line in said
