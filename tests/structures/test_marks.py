"""Frames are marked as text."""

import numpy as np
import pytest
from ase.build import molecule

from hpcflow.structures import failed, format, parse, tag
from hpcflow.structures.marks import is_labelled


def test_a_tag_changes_nothing_else():
    atoms = molecule("H2O")
    atoms.info = {"name": "a b", "old": 1, "empty": ""}
    frame = format([atoms])
    tagged = parse(tag(frame, parent="x 1", old=None, count=2))[0]
    assert tagged.info == {"name": "a b", "empty": "", "parent": "x 1", "count": 2}
    assert tag(frame, parent="x 1").split(b"\n")[2:] == frame.split(b"\n")[2:]


def test_a_tag_replaces_one_of_the_same_name():
    frame = tag(tag(format([molecule("H2O")]), a=1, b=2), a=3)
    assert parse(frame)[0].info == {"a": 3, "b": 2}


def test_plain_xyz_keeps_its_remark_when_tagged():
    assert parse(tag(b"1\nsome remark\nH 0 0 0\n", a=1))[0].info == {"comment": "some remark", "a": 1}
    assert parse(tag(b"1\n\nH 0 0 0\n", a=1))[0].info == {"a": 1}


def test_a_failed_frame_says_why_and_keeps_no_old_labels():
    atoms = molecule("H2O")
    atoms.info = {"name": "w", "REF_energy": -1.0, "REF_stress": np.zeros(9)}
    atoms.set_array("REF_forces", np.ones((3, 3)))
    found = parse(failed(format([atoms]), "unconverged", 'SCF: "no"'))[0]
    assert found.info == {"name": "w", "REF_status": "failed: unconverged", "REF_message": 'SCF: "no"'}
    assert "REF_forces" not in found.arrays
    np.testing.assert_array_equal(found.positions, atoms.positions)


@pytest.mark.parametrize(
    ("comment", "expected"),
    [
        ("Properties=species:S:1:pos:R:3:REF_forces:R:3 REF_energy=-1.0", True),
        ("Properties=species:S:1:pos:R:3:REF_forces:R:3 energy=-1.0", False),
        ("Properties=species:S:1:pos:R:3:forces:R:3 REF_energy=-1.0", False),
        ("Properties=species:S:1:pos:R:3:REF_forces_old:R:3 REF_energy=-1.0", False),
        ("Properties=species:S:1:pos:R:3 REF_energy=-1.0 config_type=IsolatedAtom", True),
        ("REF_energy", False),
    ],
)
def test_a_frame_is_labelled_if_it_has_what_one_can_train_on(comment, expected):
    assert is_labelled(f"1\n{comment}\nAr 0 0 0 0 0 0\n".encode()) is expected
