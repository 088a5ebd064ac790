"""The structures of examples/label are what the example says, and its method can label them."""

import runpy
from pathlib import Path

import pytest

from hpcflow.structures import frames, parse
from hpcflow.tasks.reference import ase_calculator

EXAMPLE = Path(__file__).parents[2] / "examples" / "label"


@pytest.fixture(scope="module")
def structures(tmp_path_factory):
    directory = tmp_path_factory.mktemp("label")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(directory)
        runpy.run_path(str(EXAMPLE / "make_structures.py"))
        first = (directory / "structures.xyz").read_bytes()
        runpy.run_path(str(EXAMPLE / "make_structures.py"))
    assert (directory / "structures.xyz").read_bytes() == first
    return directory / "structures.xyz"


def test_there_are_2000_different_frames_with_their_names(structures):
    texts = [frame for _, frame in frames(structures)]
    assert len(texts) == len(set(texts)) == 2000
    found = parse(b"".join(texts[::50]))
    assert {atoms.info["config_type"] for atoms in found} >= {"G2", "S22"}
    assert all(atoms.info["name"] for atoms in found)


def test_the_method_of_the_example_labels_a_frame_of_every_element(structures):
    pytest.importorskip("tblite", reason="tblite is not installed")
    missing = {"H", "Li", "Be", "B", "C", "N", "O", "F", "Na", "Al", "Si", "P", "S", "Cl"}
    for _, text in frames(structures):
        atoms = parse(text)[0]
        if missing & set(atoms.symbols):
            missing -= set(atoms.symbols)
            labelled = ase_calculator(atoms, "tblite.ase.TBLite", {"method": "GFN2-xTB"})
            assert labelled.info["name"] == atoms.info["name"]
            assert labelled.info["REF_energy"] < 0
    assert not missing
