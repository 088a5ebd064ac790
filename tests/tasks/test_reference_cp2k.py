"""Labels from a real CP2K, alone, through MPI, and from a running shell."""

import os
import shutil

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from hpcflow.errors import UserError
from hpcflow.task import Unconverged
from hpcflow.tasks import reference_cp2k
from hpcflow.tasks.reference import ase_calculator
from hpcflow.tasks.reference_cp2k import cp2k
from hpcflow.tasks.reference_labels import isolated_atom

pytestmark = pytest.mark.skipif(shutil.which("cp2k.psmp") is None, reason="cp2k.psmp is not installed (.ci/install)")

XTB = """\
&GLOBAL
  PROJECT water
&END GLOBAL
&FORCE_EVAL
  METHOD QS
  &DFT
    &QS
      METHOD XTB
      &XTB
        DO_EWALD T
      &END XTB
    &END QS
    &SCF
      SCF_GUESS MOPAC
      MAX_SCF 100
      EPS_SCF 1e-7
    &END SCF
  &END DFT
  &SUBSYS
    &CELL
      ABC 9 9 9
      PERIODIC NONE
    &END CELL
  &END SUBSYS
&END FORCE_EVAL
"""
OPEN = {
    "FORCE_EVAL/DFT/QS/XTB/DO_EWALD": False,
    "FORCE_EVAL/DFT/POISSON/PERIODIC": "NONE",
    "FORCE_EVAL/DFT/POISSON/PSOLVER": "MT",
}


def water(seed: int = 0) -> Atoms:
    atoms = molecule("H2O")
    atoms.set_cell([[5, 0.3, 0], [0.4, 5, 0], [0.2, 0.1, 5.5]])
    atoms.pbc = True
    atoms.positions += np.random.default_rng(seed).normal(0, 0.05, (3, 3))
    return atoms


@pytest.fixture(autouse=True)
def scratch(tmp_path, monkeypatch):
    # A name that nobody wishes for: blanks, letters outside of ASCII and a per cent sign.
    directory = tmp_path / "a b ü %d"
    directory.mkdir()
    monkeypatch.chdir(directory)
    monkeypatch.setenv("OMPI_ALLOW_RUN_AS_ROOT", "1")
    monkeypatch.setenv("OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "1")
    monkeypatch.delenv("HPCFLOW_LAUNCH", raising=False)
    yield directory
    reference_cp2k.end_shell()


def same(a: Atoms, b: Atoms) -> None:
    assert a.info["REF_energy"] == pytest.approx(b.info["REF_energy"], abs=1e-8)
    np.testing.assert_allclose(a.arrays["REF_forces"], b.arrays["REF_forces"], atol=1e-8)
    np.testing.assert_allclose(a.info["REF_stress"], b.info["REF_stress"], atol=1e-10)


def test_energy_and_forces_are_those_of_another_program(scratch):
    pytest.importorskip("tblite", reason="tblite is not installed")
    atoms = molecule("CH3OH")
    ours = cp2k(atoms, XTB, settings=OPEN)
    theirs = ase_calculator(atoms, "tblite.ase.TBLite", {"method": "GFN1-xTB"})
    assert ours.info["REF_energy"] == pytest.approx(theirs.info["REF_energy"], abs=5e-3)
    np.testing.assert_allclose(ours.arrays["REF_forces"], theirs.arrays["REF_forces"], atol=1e-2)
    assert "REF_stress" not in ours.info
    assert list(scratch.iterdir()) == []


def test_the_stress_is_the_derivative_of_the_energy():
    atoms = water()
    found = cp2k(atoms, XTB, shell=True).info["REF_stress"].reshape(3, 3)
    step = 1e-3
    for strain in (np.diag([1.0, 0, 0]), np.array([[0, 0.5, 0], [0.5, 0, 0], [0, 0, 0]])):
        energies = []
        for sign in (1, -1):
            frame = atoms.copy()
            frame.set_cell(atoms.cell.array @ (np.eye(3) + sign * step * strain), scale_atoms=True)
            energies.append(cp2k(frame, XTB, shell=True).info["REF_energy"])
        slope = (energies[0] - energies[1]) / (2 * step * atoms.get_volume())
        assert (found * strain).sum() == pytest.approx(slope, rel=0.02)


def test_shell_and_mpi_give_the_same_labels(monkeypatch):
    alone = cp2k(water(), XTB)
    same(cp2k(water(), XTB, shell=True), alone)
    if shutil.which("mpirun") is None:
        pytest.skip("mpirun is not installed (.ci/install)")
    monkeypatch.setenv("HPCFLOW_LAUNCH", "mpirun -np 2 --oversubscribe")
    same(cp2k(water(), XTB), alone)


def test_a_shell_goes_on_with_other_molecules_and_after_failures():
    frames = [water(seed) for seed in range(2)]
    before = [cp2k(frame, XTB, shell=True) for frame in frames]
    (running,) = reference_cp2k._shells.values()
    methane = molecule("CH4", cell=[6, 6, 6], pbc=True)
    cp2k(methane, XTB, shell=True)
    with pytest.raises(Unconverged):
        cp2k(water(), XTB, settings={"FORCE_EVAL/DFT/SCF/MAX_SCF": 3}, shell=True)
    assert list(reference_cp2k._shells.values()) == [running]
    with pytest.raises(RuntimeError, match="NONSENSE"):
        cp2k(water(), XTB, settings={"FORCE_EVAL/DFT/SCF/NONSENSE": 3}, shell=True)
    for frame, old in zip(frames[::-1], before[::-1], strict=True):
        same(cp2k(frame, XTB, shell=True), old)


def test_unconverged_is_noticed_though_cp2k_leaves_with_0(scratch, capsys):
    with pytest.raises(Unconverged):
        cp2k(water(), XTB, settings={"FORCE_EVAL/DFT/SCF/MAX_SCF": 3})
    assert "NOT converged" in capsys.readouterr().out
    (left,) = scratch.iterdir()
    assert (left / "cp2k.inp").exists()


def test_more_steps_on_the_next_rung_help():
    few = XTB.replace("MAX_SCF 100", "MAX_SCF 3")
    with pytest.raises(Unconverged):
        cp2k(water(), few)
    assert cp2k(water(), few, settings={"FORCE_EVAL/DFT/SCF/MAX_SCF": 100}).info["REF_status"] == "converged"


def test_a_walltime_in_the_template_is_told():
    with pytest.raises(RuntimeError, match="exceeded requested execution time"):
        cp2k(water(), XTB, settings={"GLOBAL/WALLTIME": 0.01})


def test_a_bad_template_ends_with_the_reason_of_cp2k():
    with pytest.raises(RuntimeError, match="unknown keyword NONSENSE in section SCF"):
        cp2k(water(), XTB, settings={"FORCE_EVAL/DFT/SCF/NONSENSE": 1})


def test_a_template_that_moves_the_atoms_is_noticed():
    twice = {f"FORCE_EVAL/SUBSYS/{name}/MULTIPLE_UNIT_CELL": [2, 1, 1] for name in ("TOPOLOGY", "CELL")}
    with pytest.raises(RuntimeError, match="6 other atoms"):
        cp2k(water(), XTB, settings=twice)
    with pytest.raises(RuntimeError, match="positions in the output differ"):
        cp2k(water(), XTB, settings={"FORCE_EVAL/SUBSYS/TOPOLOGY/CENTER_COORDINATES/_": "T"})


def test_a_template_may_be_a_file_and_name_others(tmp_path):
    shutil.copy(shutil.which("true"), tmp_path / "unused")
    template = tmp_path / "template.inp"
    template.write_text(XTB.replace("&XTB\n", "&XTB\n&PARAMETER\nPARAM_FILE_NAME own_parameters\n&END\n"))
    with pytest.raises(RuntimeError, match="own_parameters"):
        cp2k(water(), str(template))
    shutil.copy("/usr/share/cp2k/xTB_parameters", tmp_path / "own_parameters")
    found = cp2k(water(), str(template), files=[str(tmp_path / "own_parameters")])
    same(found, cp2k(water(), XTB))


def test_a_missing_program_or_template_is_named(monkeypatch):
    with pytest.raises(UserError, match="no-cp2k"):
        cp2k(water(), XTB, command="no-cp2k")
    monkeypatch.setenv("HPCFLOW_LAUNCH", "no-launcher -n 2")
    with pytest.raises(UserError, match=r"no-launcher -n 2 cp2k\.psmp"):
        cp2k(water(), XTB)
    with pytest.raises(UserError, match=r"nowhere\.inp"):
        cp2k(water(), "nowhere.inp")


def test_threads_follow_the_launcher(monkeypatch):
    monkeypatch.setenv("HPCFLOW_CORES", "3")
    assert reference_cp2k._environment(None)["OMP_NUM_THREADS"] == "3"
    assert reference_cp2k._environment(2)["OMP_NUM_THREADS"] == "2"
    monkeypatch.setenv("HPCFLOW_LAUNCH", "mpirun -np 3")
    assert reference_cp2k._environment(None)["OMP_NUM_THREADS"] == "1"
    assert os.environ.get("OMP_NUM_THREADS") != "3"


def test_the_spin_of_an_isolated_atom_reaches_cp2k():
    template = """
&FORCE_EVAL
  METHOD QS
  &DFT
    BASIS_SET_FILE_NAME BASIS_MOLOPT
    POTENTIAL_FILE_NAME GTH_POTENTIALS
    &MGRID
      CUTOFF 200
    &END
    &SCF
      EPS_SCF 1e-6
    &END
    &XC
      &XC_FUNCTIONAL PBE
      &END
    &END
  &END
  &SUBSYS
    &KIND H
      BASIS_SET SZV-MOLOPT-SR-GTH
      POTENTIAL GTH-PBE
    &END
  &END
&END
"""
    found = cp2k(isolated_atom("H", box=5.0), template)
    assert found.info["REF_energy"] == pytest.approx(-12.6, abs=0.5)
    paired = isolated_atom("H", box=5.0)
    paired.set_initial_magnetic_moments(None)
    with pytest.raises(RuntimeError, match=r"LSD|UKS|multiplicity|electrons"):
        cp2k(paired, template)
