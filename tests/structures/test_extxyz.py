"""Frames survive being written and read, bit for bit, here and in ASE."""

import io
import math

import ase.io
import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, fcc111, molecule
from ase.calculators.singlepoint import SinglePointCalculator
from ase.constraints import FixAtoms, FixCartesian
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from hpcflow.errors import UserError
from hpcflow.structures import format, parse

FLOATS = st.floats(allow_nan=False, allow_infinity=False, width=64)
NAMES = st.from_regex(r"k[A-Za-z_]{0,8}", fullmatch=True)  # ASE takes column k0 for a part of k


@st.composite
def structures(draw):
    count = draw(st.integers(1, 5))
    atoms = Atoms(
        numbers=draw(hnp.arrays(int, count, elements=st.integers(1, 118))),
        positions=draw(hnp.arrays(float, (count, 3), elements=FLOATS)),
        pbc=draw(st.tuples(*[st.booleans()] * 3)),
    )
    if draw(st.booleans()):
        atoms.cell[:] = draw(hnp.arrays(float, (3, 3), elements=FLOATS))
    atoms.info["REF_energy"] = draw(FLOATS)
    atoms.set_array("REF_forces", draw(hnp.arrays(float, (count, 3), elements=FLOATS)))
    atoms.info["REF_stress"] = draw(hnp.arrays(float, 9, elements=FLOATS))
    entries = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(-(2**62), 2**62),
        FLOATS,
        st.text(max_size=8),
        hnp.arrays(float, hnp.array_shapes(max_dims=3, max_side=3), elements=FLOATS),
        hnp.arrays(bool, hnp.array_shapes(max_dims=2, max_side=3)),
        st.lists(st.text(max_size=3), min_size=1, max_size=3),
    )
    atoms.info.update(draw(st.dictionaries(NAMES, entries, max_size=4)))
    for name, kind in draw(st.dictionaries(NAMES, st.sampled_from([int, float, bool, "U3"]), max_size=3)).items():
        words = st.from_regex(r"[!-~]{1,3}", fullmatch=True)
        integers = st.integers(-(2**31), 2**31 - 1)  # ASE reads no larger ones
        elements = {"U3": words, float: FLOATS, int: integers}.get(kind)
        shape = draw(st.sampled_from([(count,), (count, 2)]))
        atoms.set_array(name, draw(hnp.arrays(kind, shape, elements=elements)))
    return atoms


def same(a, b) -> None:
    assert a.info.keys() == b.info.keys()
    for key, item in a.info.items():
        assert type(item) is type(b.info[key])
        np.testing.assert_array_equal(item, b.info[key])
    assert a.arrays.keys() == b.arrays.keys()
    for name, array in a.arrays.items():
        assert array.dtype.kind == b.arrays[name].dtype.kind
        np.testing.assert_array_equal(array, b.arrays[name], strict=array.dtype.kind != "U")
    np.testing.assert_array_equal(a.cell.array, b.cell.array)
    np.testing.assert_array_equal(a.pbc, b.pbc)


@settings(max_examples=200)
@given(st.lists(structures(), max_size=3))
def test_frames_read_back_bit_for_bit(frames):
    data = format(frames)
    found = parse(data)
    assert len(found) == len(frames)
    for a, b in zip(frames, found, strict=True):
        same(a, b)
    assert format(found) == data


@given(structures())
def test_ase_reads_what_we_write(atoms):
    atoms.info = {key: item for key, item in atoms.info.items() if key.startswith("REF_")}
    found = ase.io.read(io.StringIO(format([atoms]).decode()), format="extxyz")
    np.testing.assert_array_equal(found.positions, atoms.positions)
    np.testing.assert_array_equal(found.arrays["REF_forces"], atoms.arrays["REF_forces"])
    np.testing.assert_array_equal(found.info["REF_stress"], atoms.info["REF_stress"])
    assert found.info["REF_energy"] == atoms.info["REF_energy"]
    np.testing.assert_array_equal(found.cell.array, atoms.cell.array)
    np.testing.assert_array_equal(found.pbc, atoms.pbc)


@given(structures())
def test_we_read_what_ase_writes(atoms):
    atoms.info = {"name": "a b", "n": 3, "x": 0.1, "v": np.arange(4.0), "on": True, "list": ["a", 1]}
    stream = io.StringIO()
    ase.io.write(stream, atoms, format="extxyz")
    ours = parse(stream.getvalue().encode())[0]
    theirs = ase.io.read(io.StringIO(stream.getvalue()), format="extxyz")
    np.testing.assert_array_equal(ours.positions, theirs.positions)
    np.testing.assert_array_equal(ours.cell.array, theirs.cell.array)
    np.testing.assert_array_equal(ours.pbc, theirs.pbc)
    assert ours.arrays.keys() == theirs.arrays.keys()
    assert ours.info.keys() == theirs.info.keys()
    for key, item in theirs.info.items():
        np.testing.assert_array_equal(ours.info[key], item)


def test_momenta_magnetic_moments_tags_masses_and_charges_stay():
    atoms = molecule("O2")
    atoms.set_momenta(np.random.default_rng(1).normal(size=(2, 3)))
    atoms.set_tags([1, 2])
    atoms.set_masses([15.99, 18.0])
    atoms.set_initial_charges([0.25, -0.25])
    found = parse(format([atoms]))[0]
    same(atoms, found)
    np.testing.assert_array_equal(found.get_initial_magnetic_moments(), atoms.get_initial_magnetic_moments())
    np.testing.assert_array_equal(found.get_momenta(), atoms.get_momenta())


def test_fixed_atoms_and_directions_stay():
    slab = fcc111("Al", (1, 1, 3), vacuum=5.0)
    slab.set_constraint(FixAtoms([0, 1]))
    found = parse(format([slab]))[0]
    assert [c.index.tolist() for c in found.constraints] == [[0, 1]]
    slab.set_constraint([FixAtoms([0]), FixCartesian(1, mask=(False, False, True))])
    found = parse(format([slab]))[0]
    masks = {int(c.index[0]): c.mask.tolist() for c in found.constraints}
    assert masks == {0: [True] * 3, 1: [False, False, True]}
    assert format([found]) == format([slab])


def labelled() -> Atoms:
    atoms = bulk("Cu")
    results = {"energy": -1.0, "forces": np.zeros((1, 3)), "stress": np.arange(6.0)}
    atoms.calc = SinglePointCalculator(atoms, **results)
    return atoms


def test_results_of_a_calculator_are_not_written():
    found = parse(format([labelled()]))[0]
    assert found.info == {}
    assert set(found.arrays) == {"numbers", "positions"}
    assert found.calc is None


def test_results_of_a_calculator_are_written_where_asked_for():
    data = format([labelled()], results=True)
    theirs = ase.io.read(io.StringIO(data.decode()), format="extxyz")
    assert theirs.get_potential_energy() == -1.0
    np.testing.assert_array_equal(theirs.get_stress(), np.arange(6.0))


def test_energy_and_forces_of_a_file_stay_under_their_names():
    header = b'Properties=species:S:1:pos:R:3:forces:R:3 energy=-2.5 stress="1 2 3 4 5 6 7 8 9"'
    data = b"1\n" + header + b"\nH 0 0 0 1 2 3\n"
    found = parse(data)[0]
    assert found.info["energy"] == -2.5
    assert found.arrays["forces"].tolist() == [[1, 2, 3]]
    assert found.info["stress"].tolist() == [[1, 4, 7], [2, 5, 8], [3, 6, 9]]
    same(found, parse(format([found]))[0])


def test_a_stress_given_as_matrix_is_written_as_nine_numbers():
    atoms = bulk("Cu")
    atoms.info["REF_stress"] = np.arange(9.0).reshape(3, 3)
    assert parse(format([atoms]))[0].info["REF_stress"].tolist() == list(range(9))


def test_values_of_numpy_become_plain_ones():
    atoms = Atoms(
        "H",
        info={"a": np.float64(0.1), "b": np.int32(3), "c": np.bool_(True), "d": (1, 2), "e": np.str_("x")},
    )
    info = parse(format([atoms]))[0].info
    assert {key: item for key, item in info.items() if key != "d"} == {"a": 0.1, "b": 3, "c": True, "e": "x"}
    assert info["d"].tolist() == [1, 2]


def test_plain_xyz_keeps_its_remark_and_has_no_cell():
    found = parse(b"2\n water is wet \nO 0 0 0\nh 0 0 1 # hydrogen\n")[0]
    assert found.info == {"comment": "water is wet"}
    assert found.get_chemical_formula() == "HO"
    assert not found.pbc.any()


def test_windows_line_ends_and_blank_lines_between_frames():
    data = format([molecule("H2O"), molecule("CH4")]).replace(b"\n", b"\r\n")
    assert [a.get_chemical_formula() for a in parse(data + b"\r\n" + data[:-2])] == ["H2O", "CH4"] * 2


def test_not_a_number_survives():
    atoms = Atoms("H", positions=[[math.nan, math.inf, -0.0]], info={"x": math.nan})
    found = parse(format([atoms]))[0]
    np.testing.assert_array_equal(found.positions, atoms.positions)
    assert math.copysign(1, found.positions[0, 2]) == -1
    assert math.isnan(found.info["x"])


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (b"2\n", b"3\n", "3 atoms"),
        (b"2\n", b"two\n", "two"),
        (b"H 1", b"Hy 1", "'Hy' is no element"),
        (b"H 1", b"H x", "column pos"),
        (b"H 1", b"H", "atom 2: expected 5 columns, found 4"),
        (b"T\n", b"maybe\n", "column fixed"),
        (b'pbc="T T F"', b'pbc="1.5"', "pbc"),
        (b"fixed:L", b"fixed:Q", "unknown type"),
        (b"species:S:1:", b"", "columns"),
        (b'"3 0 0 0 3 0 0 0 3"', b'"3 3 3"', "nine"),
        (b'"3 0', b"3 0", "comment line"),
    ],
)
def test_a_frame_that_is_not_valid_is_named(old, new, expected):
    header = b'Lattice="3 0 0 0 3 0 0 0 3" Properties=species:S:1:pos:R:3:fixed:L:1 pbc="T T F"'
    good = b"2\n" + header + b"\nO 0 0 0 F\nH 1 0 0 T\n"
    assert len(parse(good)) == 1
    with pytest.raises(UserError, match="frame 1") as caught:
        parse(good + good.replace(old, new, 1))
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda a: a.info.update(Lattice=3), "Lattice"),
        (lambda a: a.info.update(x=object()), "object"),
        (lambda a: a.set_array("x", np.zeros((1, 3, 3))), "'x'"),
        (lambda a: a.set_array("x", np.array([1j])), "'x'"),
        (lambda a: a.set_array("x", np.array(["a b"])), "'x'"),
        (lambda a: a.set_array("x y", np.zeros(1)), "'x y'"),
    ],
)
def test_what_cannot_be_written_is_named(change, expected):
    atoms = Atoms("H")
    change(atoms)
    with pytest.raises((TypeError, ValueError), match=expected):
        format([atoms])
