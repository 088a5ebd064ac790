"""Labels from ASE calculators, and what is refused as a label."""

import importlib
import os
import sys
import types
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.calculator import Calculator, SCFError
from ase.calculators.emt import EMT
from ase.constraints import FixAtoms

from hpcflow.errors import UserError
from hpcflow.task import Unconverged
from hpcflow.tasks import reference
from hpcflow.tasks.reference import ase_calculator, says_unconverged
from hpcflow.tasks.reference_labels import isolated_atom, labelled
from hpcflow.tasks.reference_names import check_names

EMT_NAME = "ase.calculators.emt.EMT"


class Scripted(Calculator):
    """Does what its arguments say, and counts how often it is made."""

    implemented_properties = ("energy", "forces")
    made = 0

    def __init__(self, error=None, energy=0.0, converged=None, shift=0.0, writes=None, gives=None, **kwargs):
        super().__init__()
        type(self).made += 1
        self.error, self.energy, self.converged, self.shift = error, energy, converged, shift
        self.writes, self.gives = writes, gives
        self.given = kwargs

    def calculate(self, atoms, properties, system_changes):
        super().calculate(atoms, properties, system_changes)
        for name, text in (self.writes or {}).items():
            Path(name).write_text(text)
        if self.error:
            raise {"scf": SCFError, "runtime": RuntimeError}[self.error[0]](self.error[1])
        atoms.positions += self.shift
        results = {"energy": self.energy, "forces": np.zeros((len(atoms), 3))}
        self.results = {name: results[name] for name in self.gives or results}


class WithoutReset:
    """As ASE's calculators of programs that work through files: not of the common class."""

    implemented_properties = ("energy", "forces")
    directory = Path()

    def calculate(self, atoms, properties, system_changes):
        self.results = {"energy": 1.0, "free_energy": 2.0, "forces": np.zeros((len(atoms), 3))}


@pytest.fixture(autouse=True)
def scripted(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    module = types.ModuleType("scripted_calculators")
    module.Scripted, module.WithoutReset = Scripted, WithoutReset
    monkeypatch.setitem(sys.modules, "scripted_calculators", module)
    reference._calculators.clear()
    Scripted.made = 0
    yield
    reference._calculators.clear()


def copper() -> Atoms:
    atoms = bulk("Cu", cubic=True)
    atoms.rattle(0.1, seed=1)
    atoms.set_cell(atoms.cell.array * 1.02, scale_atoms=True)
    return atoms


def test_labels_are_those_of_the_calculator():
    atoms = copper()
    found = ase_calculator(atoms, EMT_NAME)
    atoms.calc = EMT()
    assert found.info["REF_energy"] == pytest.approx(atoms.get_potential_energy(), abs=1e-12)
    np.testing.assert_allclose(found.arrays["REF_forces"], atoms.get_forces(), atol=1e-12)
    np.testing.assert_allclose(found.info["REF_stress"].reshape(3, 3), atoms.get_stress(voigt=False), atol=1e-12)
    assert found.info["REF_status"] == "converged"
    assert found.calc is None


def test_forces_are_the_negative_gradient_of_the_energy():
    atoms = copper()
    step = 1e-4
    force = ase_calculator(atoms, EMT_NAME).arrays["REF_forces"][0, 0]
    energies = []
    for sign in (1, -1):
        moved = atoms.copy()
        moved.positions[0, 0] += sign * step
        energies.append(ase_calculator(moved, EMT_NAME).info["REF_energy"])
    assert force == pytest.approx(-(energies[0] - energies[1]) / (2 * step), abs=1e-5)


def test_a_stretched_crystal_has_a_positive_stress():
    atoms = bulk("Cu", cubic=True)
    atoms.set_cell(atoms.cell.array * 1.05, scale_atoms=True)
    assert ase_calculator(atoms, EMT_NAME).info["REF_stress"][0] > 0


def test_the_frame_keeps_what_it_brought_and_loses_old_labels():
    atoms = copper()
    atoms.info = {"name": "cu", "REF_energy": 5.0, "REF_stress": np.ones(9), "REF_virials": np.ones(9)}
    atoms.set_array("REF_forces", np.ones((4, 3)))
    found = ase_calculator(atoms, EMT_NAME, stress=False)
    assert set(found.info) == {"name", "REF_energy", "REF_status"}
    assert found.info["REF_energy"] != 5.0
    assert atoms.info["REF_energy"] == 5.0


def test_molecules_and_slabs_have_no_stress():
    slab = fcc111("Cu", (1, 1, 2), vacuum=5.0)
    for atoms in (molecule("CO"), slab):
        assert "REF_stress" not in ase_calculator(atoms, EMT_NAME).info


def test_forces_on_fixed_atoms_are_not_set_to_zero():
    atoms = copper()
    free = ase_calculator(atoms, EMT_NAME).arrays["REF_forces"]
    atoms.set_constraint(FixAtoms([0, 1]))
    np.testing.assert_array_equal(ase_calculator(atoms, EMT_NAME).arrays["REF_forces"], free)


def test_one_calculator_is_made_for_equal_arguments():
    for energy in (1.0, 1.0, 2.0):
        found = ase_calculator(molecule("H2"), "scripted_calculators.Scripted", {"energy": energy})
        assert found.info["REF_energy"] == energy
    assert Scripted.made == 2


def test_classes_and_the_launcher_may_stand_in_arguments(monkeypatch):
    monkeypatch.setenv("HPCFLOW_LAUNCH", "srun -n 4")
    inner = {"$class": "scripted_calculators.Scripted", "energy": 7.0}
    arguments = {"profile": {"inner": [inner], "command": "$HPCFLOW_LAUNCH pw.x $HOME"}}
    ase_calculator(molecule("H2"), "scripted_calculators.Scripted", arguments)
    (made,) = reference._calculators.values()
    assert made.given["profile"]["command"] == "srun -n 4 pw.x $HOME"
    assert made.given["profile"]["inner"][0].energy == 7.0


@pytest.mark.parametrize("error", [("scf", "went wrong"), ("runtime", "SCF not converged in 2 cycles")])
def test_no_convergence_is_said_as_such(error):
    with pytest.raises(Unconverged):
        ase_calculator(molecule("H2"), "scripted_calculators.Scripted", {"error": error})


def test_a_calculator_that_only_notes_that_it_did_not_converge():
    with pytest.raises(Unconverged):
        ase_calculator(molecule("H2"), "scripted_calculators.Scripted", {"converged": False})


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("espresso.pwo", "     convergence NOT achieved after   2 iterations: stopping\n"),
        ("orca.out", "FINAL SINGLE POINT ENERGY  -76.3 (Wavefunction not fully converged!)\n"),
        ("nwchem.nwo", " Calculation failed to converge\n"),
    ],
)
@pytest.mark.parametrize("error", [None, ["runtime", "command failed with exit status 3"]])
def test_the_output_of_a_program_is_asked_for_convergence_too(name, text, error):
    arguments = {"writes": {name: text}, "error": error}
    with pytest.raises(Unconverged, match=name):
        ase_calculator(molecule("H2"), "scripted_calculators.Scripted", arguments)


def test_outputs_of_earlier_calculations_say_nothing_of_this_one(tmp_path):
    old = tmp_path / "orca.out"
    old.write_text("SCF NOT CONVERGED AFTER 125 CYCLES")
    os.utime(old, (1e9, 1e9))
    assert ase_calculator(molecule("H2"), "scripted_calculators.Scripted").info["REF_status"] == "converged"


def test_the_free_energy_is_the_label_where_there_is_one():
    assert ase_calculator(molecule("H2"), "scripted_calculators.WithoutReset").info["REF_energy"] == 2.0


def test_a_quantity_that_a_program_was_not_asked_for_is_named():
    with pytest.raises(ValueError, match="gave no forces"):
        ase_calculator(molecule("H2"), "scripted_calculators.Scripted", {"gives": ["energy"]})


def test_other_errors_stay_what_they_are_and_the_calculator_is_made_anew():
    arguments = {"error": ["runtime", "no such file"]}
    for _ in range(2):
        with pytest.raises(RuntimeError, match="no such file"):
            ase_calculator(molecule("H2"), "scripted_calculators.Scripted", arguments)
    assert Scripted.made == 2


def test_a_calculator_that_moves_atoms_is_refused():
    with pytest.raises(RuntimeError, match="moved"):
        ase_calculator(molecule("H2"), "scripted_calculators.Scripted", {"shift": 0.1})


def test_a_stress_that_the_calculator_does_not_have_is_refused_if_asked_for():
    assert "REF_stress" not in ase_calculator(copper(), "scripted_calculators.Scripted").info
    with pytest.raises(ValueError, match="does not compute stress"):
        ase_calculator(copper(), "scripted_calculators.Scripted", stress=True)


@pytest.mark.parametrize("name", ["EMT", "ase.calculators.emt.ETM"])
def test_a_name_that_is_no_calculator_is_named(name):
    with pytest.raises(UserError, match=name.rpartition(".")[2]):
        ase_calculator(copper(), name)


@pytest.mark.parametrize(
    ("calculator", "arguments", "expected"),
    [
        ("ase.calculators.emt.ETM", {}, "'EMT'"),
        ("ase.calculators.emtt.EMT", {}, "'emt'"),
        (EMT_NAME, {"asap_cutof": True}, "'asap_cutoff'"),
        ("ase.calculators.mixing.SumCalculator", {"calc": []}, "'calcs'"),
        ("ase.calculators.mixing.SumCalculator", {"calcs": [{"$class": EMT_NAME, "asap_cut": 1}]}, "'asap_cutoff'"),
    ],
)
def test_a_misspelled_name_is_refused_with_the_nearest(calculator, arguments, expected):
    with pytest.raises(UserError, match=f"Did you mean {expected}"):
        check_names(calculator, arguments)


@pytest.mark.parametrize(
    ("calculator", "arguments"),
    [
        ("foo.bar.Baz", {"anything": 1}),
        (EMT_NAME, {"directory": "x"}),
        ("ase.calculators.espresso.Espresso", {"input_data": {}}),
        ("ase.calculators.psi4.Psi4", {"scf_type": "df"}),
        ("ase.calculators.lammpslib.LAMMPSlib", {"lmpcmds": []}),
        ("ase.calculators.dftb.Dftb", {"Hamiltonian_SCC": "Yes"}),
    ],
)
def test_names_that_may_be_right_elsewhere_and_open_keywords_pass(calculator, arguments):
    check_names(calculator, arguments)


def test_a_misspelled_argument_does_not_reach_the_calculator():
    with pytest.raises(UserError, match="asap_cutoff"):
        ase_calculator(copper(), EMT_NAME, {"asap_cutof": True})


@pytest.mark.parametrize(
    ("energy", "force", "stress", "expected"),
    [
        (np.nan, 0.0, None, "energy is not finite"),
        (0.0, np.inf, None, "forces is not finite"),
        (0.0, 0.0, np.full(6, np.nan), "stress is not finite"),
        (0.0, 60.0, None, r"atom 1 \(H\) is 60 eV/Å; force_cap is 50"),
        (0.0, 0.0, np.zeros(5), "stress of shape"),
    ],
)
def test_numbers_that_cannot_be_believed_are_refused(energy, force, stress, expected):
    forces = np.zeros((3, 3))
    forces[1, 2] = force
    with pytest.raises(ValueError, match=expected):
        labelled(molecule("H2O"), energy, forces, stress, force_cap=50)


def test_forces_of_another_number_of_atoms_are_refused():
    with pytest.raises(ValueError, match="shape"):
        labelled(molecule("H2O"), 0.0, np.zeros((2, 3)))


def test_voigt_order_of_a_stress():
    found = labelled(molecule("H2O"), 0.0, np.zeros((3, 3)), [1, 2, 3, 4, 5, 6])
    assert found.info["REF_stress"].tolist() == [1, 6, 5, 6, 2, 4, 5, 4, 3]


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ("SCF NOT converged", True),
        ("convergence NOT achieved after 100 iterations: stopping", True),
        ("Did not converge!", True),
        ("SCF failed to reach convergence", True),
        ("calculation has not been converged", True),
        ("convergence failure", True),
        ("converged in 12 steps", False),
        ("file not found", False),
        ("no atoms. Then it converged", False),
    ],
)
def test_messages_that_speak_of_no_convergence(message, expected):
    assert says_unconverged(RuntimeError(message)) is expected


def test_isolated_atoms_have_the_spin_of_their_ground_state():
    spins = {s: isolated_atom(s).get_initial_magnetic_moments().sum() for s in ("H", "He", "C", "N", "O", "Cr")}
    assert spins == {"H": 1, "He": 0, "C": 2, "N": 3, "O": 2, "Cr": 6}
    atom = isolated_atom("O", box=8.0)
    assert atom.pbc.all()
    assert atom.cell.lengths().tolist() == [8, 8, 8]
    assert atom.info["config_type"] == "IsolatedAtom"


class TestWithTblite:
    """The default reference of the examples."""

    name = "tblite.ase.TBLite"

    @pytest.fixture(autouse=True)
    def installed(self):
        pytest.importorskip("tblite", reason="tblite is not installed")

    def test_labels_do_not_depend_on_what_was_computed_before(self):
        rng = np.random.default_rng(0)
        frames = []
        for _ in range(4):
            frame = molecule("H2O")
            frame.positions += rng.normal(0, 0.05, (3, 3))
            frames.append(frame)
        forward = [ase_calculator(frame, self.name) for frame in frames]
        backward = [ase_calculator(frame, self.name) for frame in frames[::-1]][::-1]
        for a, b in zip(forward, backward, strict=True):
            assert a.info["REF_energy"] == b.info["REF_energy"]
            np.testing.assert_array_equal(a.arrays["REF_forces"], b.arrays["REF_forces"])

    def test_unconverged_is_told_from_other_errors(self):
        with pytest.raises(Unconverged):
            ase_calculator(molecule("H2O"), self.name, {"max_iterations": 2})
        with pytest.raises(Exception, match="method") as caught:
            ase_calculator(molecule("H2O"), self.name, {"method": "no such method"})
        assert not isinstance(caught.value, Unconverged)

    def test_a_misspelled_argument_is_refused(self):
        with pytest.raises(UserError, match=r"'methd'\. Did you mean 'method'"):
            check_names(self.name, {"methd": "GFN1-xTB"})
        check_names(self.name, dict.fromkeys(importlib.import_module("tblite.ase").TBLite.default_parameters))

    def test_unpaired_electrons_of_the_frame_count(self):
        triplet, singlet = molecule("O2"), molecule("O2")
        singlet.set_initial_magnetic_moments(None)
        energies = [ase_calculator(frame, self.name).info["REF_energy"] for frame in (triplet, singlet)]
        assert energies[0] != energies[1]

    def test_isolated_atoms_lie_above_the_molecule(self):
        water = ase_calculator(molecule("H2O"), self.name).info["REF_energy"]
        atoms = [ase_calculator(isolated_atom(symbol), self.name).info["REF_energy"] for symbol in "OHH"]
        assert 5 < sum(atoms) - water < 20

    def test_periodic_frames_have_a_stress(self):
        atoms = bulk("C", "diamond", a=3.5)
        found = ase_calculator(atoms, self.name, {"method": "GFN1-xTB"})
        assert found.info["REF_stress"].shape == (9,)
