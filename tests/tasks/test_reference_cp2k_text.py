"""CP2K inputs made from templates, and outputs that are believed or not.

The outputs in ``cp2k_outputs`` are what CP2K 2023.1 (Debian 12) printed for a water molecule with
GFN1-xTB, from the coordinates on; the layout of later versions is written here from the same numbers.
"""

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import bulk, molecule

from hpcflow.errors import UserError
from hpcflow.task import Unconverged
from hpcflow.tasks import reference_cp2k_output as output
from hpcflow.tasks.reference_cp2k_input import check_template, filled, read

TEMPLATE = """\
! water by GFN1-xTB
@SET STEPS 100
&global   ! mind the case
  PROJECT water
  RUN_TYPE MD
  PRINT_LEVEL low
&END
&FORCE_EVAL
  METHOD QS
  &DFT
    LSD T
    &SCF
      MAX_SCF ${STEPS}  # enough
      &OUTER_SCF OFF
      &END OUTER_SCF
    &END SCF
  &END DFT
  &PRINT
    &FORCES
      FILENAME elsewhere
    &END FORCES
  &END PRINT
  &SUBSYS
    &CELL
      ABC 9 9 9
      PERIODIC NONE
    &END CELL
    &COORD
      He 0 0 0
    &END COORD
    &TOPOLOGY
      COORD_FILE_NAME other.xyz
      COORD_FILE_FORMAT XYZ
    &END TOPOLOGY
    &KIND H
      BASIS_SET DZVP-MOLOPT-SR-GTH
    &END KIND
    &KIND O
      BASIS_SET \\
        DZVP-MOLOPT-SR-GTH
    &END KIND
  &END SUBSYS
&END FORCE_EVAL
"""
OUTPUTS = Path(__file__).parent / "cp2k_outputs"


def water() -> Atoms:
    atoms = molecule("H2O")
    atoms.set_cell([5, 5, 6])
    atoms.center()
    atoms.pbc = True
    return atoms


def recorded(name: str) -> str:
    return (OUTPUTS / f"{name}-2023.1.out").read_text()


class TestInput:
    def test_an_input_reads_back_as_it_was_written(self):
        once = read(TEMPLATE).write()
        assert read(once).write() == once
        for line in ("! water by GFN1-xTB", "@SET STEPS 100", "MAX_SCF ${STEPS}  # enough"):
            assert line in once

    def test_atoms_and_cell_of_the_frame_replace_those_of_the_template(self):
        atoms = water()
        subsys = read(filled(TEMPLATE, atoms, True, {})).at("FORCE_EVAL/SUBSYS")
        assert [line.split()[0] for line in subsys.at("COORD").entries] == ["O", "H", "H"]
        shown = np.array([line.split()[1:] for line in subsys.at("COORD").entries], dtype=float)
        np.testing.assert_array_equal(shown, atoms.positions)
        assert subsys.at("CELL").entries == [
            "A 5.0 0.0 0.0",
            "B 0.0 5.0 0.0",
            "C 0.0 0.0 6.0",
            "PERIODIC XYZ",
        ]
        assert subsys.at("TOPOLOGY").entries == []

    @pytest.mark.parametrize(("pbc", "expected"), [((1, 1, 0), "XY"), ((0, 0, 1), "Z"), ((0, 0, 0), "NONE")])
    def test_periodicity_is_that_of_the_frame(self, pbc, expected):
        atoms = water()
        atoms.pbc = pbc
        assert read(filled(TEMPLATE, atoms, False, {})).at("FORCE_EVAL/SUBSYS/CELL").keyword("PERIODIC") == expected

    def test_a_molecule_without_a_cell_is_put_in_the_middle_of_the_templates(self):
        subsys = read(filled(TEMPLATE, molecule("H2O"), False, {})).at("FORCE_EVAL/SUBSYS")
        assert subsys.at("CELL").keyword("ABC") == "9 9 9"
        assert subsys.at("TOPOLOGY").sections("CENTER_COORDINATES")

    def test_a_cell_that_cp2k_cannot_use_is_refused(self):
        atoms = water()
        atoms.set_cell([5, 5, 0])
        with pytest.raises(ValueError, match="three cell vectors"):
            filled(TEMPLATE, atoms, False, {})

    def test_what_is_asked_for_goes_to_the_output_and_not_elsewhere(self):
        text = filled(TEMPLATE, water(), True, {})
        root = read(text)
        assert root.at("GLOBAL").keyword("RUN_TYPE") == "ENERGY_FORCE"
        assert root.at("GLOBAL").keyword("PRINT_LEVEL") == "MEDIUM"
        assert root.at("FORCE_EVAL").keyword("STRESS_TENSOR") == "ANALYTICAL"
        assert "elsewhere" not in text
        assert "STRESS_TENSOR ANALYTICAL" not in filled(TEMPLATE, water(), False, {})

    def test_a_way_to_compute_the_stress_that_the_template_chose_stays(self):
        template = TEMPLATE.replace("METHOD QS", "METHOD QS\nSTRESS_TENSOR NUMERICAL")
        assert read(filled(template, water(), True, {})).at("FORCE_EVAL").keyword("STRESS_TENSOR") == "NUMERICAL"

    def test_charge_and_spin_of_the_frame_count(self):
        dft = read(filled(TEMPLATE, water(), False, {})).at("FORCE_EVAL/DFT")
        assert (dft.keyword("CHARGE"), dft.keyword("MULTIPLICITY"), dft.keyword("LSD")) == (None, None, "T")
        atoms = water()
        atoms.set_initial_charges([-1, 0, 0])
        atoms.set_initial_magnetic_moments([2.0, 0, 0])
        dft = read(filled(TEMPLATE, atoms, False, {})).at("FORCE_EVAL/DFT")
        assert (dft.keyword("CHARGE"), dft.keyword("MULTIPLICITY")) == ("-1", "3")
        assert (dft.keyword("LSD"), dft.keyword("UKS")) == (None, "T")

    def test_settings_are_applied_last(self):
        settings = {
            "FORCE_EVAL/DFT/SCF/MAX_SCF": 300,
            "FORCE_EVAL/DFT/SCF/OUTER_SCF/_": "ON",
            "FORCE_EVAL/DFT/SCF/MIXING/ALPHA": 0.1,
            "FORCE_EVAL/DFT/QS/XTB/DO_EWALD": True,
            "FORCE_EVAL/SUBSYS/KIND H/BASIS_SET": "TZVP-MOLOPT-GTH",
            "FORCE_EVAL/PRINT": None,
            "GLOBAL/RUN_TYPE": "ENERGY",
        }
        root = read(filled(TEMPLATE, water(), True, settings))
        scf = root.at("FORCE_EVAL/DFT/SCF")
        assert scf.keyword("MAX_SCF") == "300"
        assert scf.sections("OUTER_SCF")[0].parameter == "ON"
        assert scf.at("MIXING").keyword("ALPHA") == "0.1"
        assert root.at("FORCE_EVAL/DFT/QS/XTB").keyword("DO_EWALD") == "T"
        kinds = root.at("FORCE_EVAL/SUBSYS").sections("KIND")
        assert [kind.keyword("BASIS_SET") for kind in kinds] == ["TZVP-MOLOPT-GTH", "DZVP-MOLOPT-SR-GTH"]
        assert not root.at("FORCE_EVAL").sections("PRINT")
        assert root.at("GLOBAL").keyword("RUN_TYPE") == "ENERGY"

    def test_a_path_that_means_several_sections_is_refused(self):
        with pytest.raises(UserError, match="KIND H"):
            filled(TEMPLATE, water(), False, {"FORCE_EVAL/SUBSYS/KIND/BASIS_SET": "X"})

    @pytest.mark.parametrize(
        ("old", "new", "expected"),
        [
            ("&END SCF", "&END XC", "line 16.*&END SCF"),
            ("&END SUBSYS\n&END FORCE_EVAL\n", "", "&SUBSYS of line 23"),
            ("&END FORCE_EVAL", "&END FORCE_EVAL\n&END", "no section is open"),
            ("&FORCE_EVAL", "&FORCE_EVALS", "line 43"),
            ("&END FORCE_EVAL", "&END\n&FORCE_EVAL\n&END", "one &FORCE_EVAL, found 2"),
            (TEMPLATE, "not an input", "one &FORCE_EVAL, found 0"),
        ],
    )
    def test_an_input_that_is_not_one_is_refused(self, old, new, expected):
        with pytest.raises(UserError, match=expected):
            read(TEMPLATE.replace(old, new, 1))

    def test_elements_without_a_basis_set_are_named(self):
        check_template(TEMPLATE, dict.fromkeys("HO", "a.xyz: frame 0"))
        with pytest.raises(UserError, match=r"no &KIND C .* a.xyz: frame 7 has C.*: C, N"):
            check_template(TEMPLATE, dict.fromkeys("HNC", "a.xyz: frame 7"))
        check_template(TEMPLATE.replace("&KIND H", "&KIND DEFAULT"), {"Fe": "a.xyz: frame 0"})
        check_template(TEMPLATE.replace("BASIS_SET", "MASS"), {"Fe": "a.xyz: frame 0"})


LATER = """\
 MODULE QUICKSTEP: ATOMIC COORDINATES IN ANGSTROM

   Atom Kind Element         X             Y             Z       Z(eff)     Mass
      1    1 O     8      2.500000      2.500000      3.298154   6.0000  15.9994
      2    2 H     1      2.500000      3.263239      2.701846   1.0000   1.0079
      3    2 H     1      2.500000      1.736761      2.701846   1.0000   1.0079

  *** SCF run converged in    11 steps ***

 ENERGY| Total FORCE_EVAL ( QS ) energy [hartree]             -5.768701890670369

 FORCES| Atomic forces [hartree/bohr]
 FORCES|   Atom     x                   y                   z                   |f|
 FORCES|      1 -0.000000000000E+00  0.000000000000E+00 -1.462887073100E-02   1.462887073100E-02
 FORCES|      2  0.000000000000E+00 -5.307299762000E-03  7.314435366000E-03   9.037180000000E-03
 FORCES|      3  0.000000000000E+00  5.307299762000E-03  7.314435366000E-03   9.037180000000E-03
 FORCES| Sum     0.000000000000E+00 -0.000000000000E+00 -0.000000000000E+00
 FORCES| Total atomic force                                                   0.000000000000E+00

 STRESS| Analytical stress tensor [bar]
 STRESS|                        x                   y                   z
 STRESS|      x        1.93469826161E+03   1.21077178808E-11  -7.95253525150E-12
 STRESS|      y        1.21077178808E-11  -2.75387382040E+03   1.19983644525E-10
 STRESS|      z       -7.95253525150E-12   1.19983644525E-10  -6.41888589882E+03
 STRESS| 1/3 Trace                                            -2.41268715253E+03

  **** **** ******  **  PROGRAM ENDED AT                 2025-11-20 10:17:09.426
"""


class TestOutput:
    def test_units_and_signs_are_those_of_ase(self):
        found = output.read(recorded("converged"), water())
        assert found.energy == pytest.approx(-5.768701890670369 * units.Hartree, abs=1e-9)
        assert found.forces[0, 2] == pytest.approx(-0.014628870731 * units.Hartree / units.Bohr, abs=1e-9)
        assert found.stress[0, 0] == pytest.approx(-0.193469826161 * units.GPa, abs=1e-9)

    def test_the_layout_of_later_versions_gives_the_same_numbers(self):
        earlier, later = output.read(recorded("converged"), water()), output.read(LATER, water())
        assert later.energy == earlier.energy
        np.testing.assert_allclose(later.forces, earlier.forces, atol=1e-12)
        np.testing.assert_allclose(later.stress, earlier.stress, atol=1e-12)
        output.check_end(LATER, "", 0)

    def test_the_last_of_several_calculations_counts(self):
        other = recorded("converged").replace("-5.768701890670369", "-1.0").replace("-0.0146288", "-9.0")
        found = output.read(other + recorded("converged"), water())
        assert found.energy == pytest.approx(-5.768701890670369 * units.Hartree)

    def test_an_output_without_stress_has_none(self):
        text = "".join(line for line in LATER.splitlines(True) if "STRESS|" not in line)
        assert output.read(text, water()).stress is None

    def test_a_converged_calculation_passes(self):
        output.check_end(recorded("converged"), "", 0)

    def test_unconverged_with_exit_status_0_is_no_label(self):
        with pytest.raises(Unconverged):
            output.check_end(recorded("unconverged"), "", 0)

    def test_unconverged_in_a_version_that_aborts(self):
        box = recorded("aborted")
        text = box.replace(
            "*  \\___/            found an unknown keyword NONSENSE in section SCF          *",
            "*  \\___/     SCF run NOT converged. To continue the calculation regardless,   *",
        ).replace(
            "*    |                                                                        *",
            "*    |             please set the keyword IGNORE_CONVERGENCE_FAILURE.         *",
        )
        with pytest.raises(Unconverged, match=r"NOT converged.*IGNORE_CONVERGENCE_FAILURE"):
            output.check_end(text, "", 1)

    def test_a_walltime_in_the_input_is_no_convergence_problem(self):
        with pytest.raises(RuntimeError, match="exceeded requested execution time"):
            output.check_end(recorded("walltime"), "", 0)

    def test_a_stop_from_outside_is_told(self):
        line = " *** SCF run terminated by external request ***\n"
        with pytest.raises(RuntimeError, match="external request"):
            output.check_end(recorded("converged") + line, "", 0)

    def test_the_reason_of_an_abort_is_the_message(self):
        with pytest.raises(RuntimeError, match="exit status 1: found an unknown keyword NONSENSE in section SCF"):
            output.check_end(recorded("aborted"), "MPI_ABORT was invoked", 1)

    def test_an_output_that_ends_early_is_no_label(self):
        text = recorded("converged")
        with pytest.raises(RuntimeError, match="before its end"):
            output.check_end(text[: text.index("  **** **** ")], "", 0)
        with pytest.raises(RuntimeError, match="no output"):
            output.check_end("", "", 0)

    def test_a_signal_is_told(self):
        with pytest.raises(RuntimeError, match="signal 9"):
            output.check_end("", "", -9)

    def test_too_little_memory_is_told_where_it_is_said(self):
        with pytest.raises(MemoryError):
            output.check_end("", "slurmstepd: error: Detected 1 oom-kill event(s)", 137)

    def test_no_word_of_convergence_is_no_convergence(self):
        with pytest.raises(Unconverged):
            output.check_end(LATER.replace("SCF run converged", "SCF done"), "", 0)

    def test_other_atoms_in_the_output_are_noticed(self):
        atoms = water()
        atoms.positions[0, 0] += 1e-4
        with pytest.raises(RuntimeError, match="differ"):
            output.read(LATER, atoms)
        atoms = water()
        atoms.symbols[1] = "F"
        with pytest.raises(RuntimeError, match="other atoms"):
            output.read(LATER, atoms)
        with pytest.raises(RuntimeError, match="other atoms"):
            output.read(LATER, bulk("Cu"))

    def test_a_molecule_may_have_been_moved_as_a_whole_if_it_has_no_cell(self):
        assert output.read(LATER, molecule("H2O")).energy < 0

    @pytest.mark.parametrize(
        ("old", "new", "expected"),
        [
            ("ENERGY|", "ENERGIE|", "no energy"),
            ("FORCES|", "KRAFT|", "no forces"),
            ("COORDINATES", "KOORDINATEN", "no atomic coordinates"),
            ("[hartree]", "[furlong]", "furlong"),
            (" FORCES|      3  0.0", " FORCES| three  0.0", "2 rows of forces"),
            ("-1.462887073100E-02   ", "********************", "the forces"),
        ],
    )
    def test_what_is_missing_or_unreadable_is_named(self, old, new, expected):
        with pytest.raises(RuntimeError, match=expected):
            output.read(LATER.replace(old, new), water())
