"""Frames of a file are found by counting lines, and what is wrong is said with file, frame and line."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hpcflow.errors import UserError
from hpcflow.structures.index import elements, frames, refuse_empty, scan

WATER = b"3\nwater\nO 0.0 0.0 0.0\nH 0.0 0.0 0.96\nH 0.9 0.0 -0.24\n"
ARGON = b'1\nLattice="5 0 0 0 5 0 0 0 5" Properties=species:S:1:pos:R:3:tags:I:1 pbc="T T T"\nAr 0 0 0 7\n'


@pytest.fixture
def write(tmp_path):
    def write(data: bytes) -> Path:
        path = tmp_path / "structures.xyz"
        path.write_bytes(data)
        return path

    return write


def complaint(path) -> str:
    with pytest.raises(UserError) as caught:
        list(scan(path))
    return str(caught.value)


def test_offsets_and_lengths_cut_the_file_into_its_frames(write):
    path = write(WATER + ARGON + WATER)
    data = path.read_bytes()
    assert [data[offset : offset + length] for offset, length in scan(path)] == [WATER, ARGON, WATER]


def test_the_same_without_looking_at_the_atoms(write):
    path = write(WATER + ARGON)
    assert list(scan(path, check=False)) == list(scan(path))


@settings(max_examples=50)
@given(
    parts=st.lists(st.sampled_from([WATER, ARGON]), min_size=1, max_size=6),
    end=st.sampled_from([b"\n", b"\r\n"]),
    final=st.booleans(),
    blank=st.integers(0, 3),
)
def test_line_ends_a_missing_last_one_and_blank_lines_do_not_matter(tmp_path_factory, parts, end, final, blank):
    expected = [part.replace(b"\n", end) for part in parts]
    data = b"".join(expected) + b" \t".join([end] * blank)
    if not final and not blank:
        data = data[: -len(end)]
        expected[-1] = expected[-1][: -len(end)]
    path = tmp_path_factory.mktemp("ends") / "a.xyz"
    path.write_bytes(data)
    assert [frame for _, frame in frames(path)] == expected
    assert all(data[o : o + n] == frame for (o, n), frame in zip(scan(path), expected, strict=True))


def test_a_byte_order_mark_is_no_part_of_the_first_frame(write):
    assert list(frames(write(b"\xef\xbb\xbf" + WATER))) == [(3, WATER)]


@settings(max_examples=200)
@given(cut=st.integers(1, len(WATER + ARGON + WATER) - 1))
def test_a_file_cut_anywhere_is_refused_or_ends_at_a_whole_line(tmp_path_factory, cut):
    data = (WATER + ARGON + WATER)[:cut]
    path = tmp_path_factory.mktemp("cut") / "a.xyz"
    path.write_bytes(data)
    found = []
    try:
        found += [frame for _, frame in frames(path)]
    except UserError as error:
        refused = str(error)
        assert str(path) in refused  # either end is right, depending on where the cut falls
        return
    # The words of the last line are all there; a number that lost digits cannot be told from a short one.
    whole = [WATER, ARGON, WATER][: len(found)]
    assert found[:-1] == whole[:-1]
    assert len(found[-1].split()) == len(whole[-1].split())


def test_a_last_line_that_lost_digits_is_noticed_where_all_lines_have_one_length(write):
    frame = b"4\nProperties=species:S:1:pos:R:3\n" + b"H   0.12345678   0.12345678   0.12345678\n" * 4
    assert "line 6" in complaint(write(frame[:-6]))
    assert list(scan(write(frame[:-1]))) == [(0, len(frame) - 1)]


def test_a_cut_file_names_file_frame_and_line(write):
    message = complaint(write(WATER + ARGON + WATER[:-20]))
    assert "structures.xyz: frame 2 (line 9)" in message
    assert "3 atoms" in message
    assert "after 2 of them" in message


def test_a_frame_with_too_few_atom_lines_is_named_and_not_the_one_after_it(write):
    message = complaint(write(b"4" + WATER[1:] + ARGON))
    assert "frame 0 (line 6): atom 4 of 4: expected 4 columns, found 1: '1'" in message


@pytest.mark.parametrize("count", [b"three", b"3.0", b"", b"-1", b"0", b"3 4"])
def test_a_bad_count_is_named(write, count):
    message = complaint(write(WATER + count + b"\nnothing\n" + ARGON))
    assert "frame 1 (line 6)" in message or "frame 1 (line 7)" in message


def test_a_count_that_cannot_fit_in_the_file_is_not_believed(write):
    assert "100000000000 atoms" in complaint(write(WATER + b"100000000000\n" + WATER))


@pytest.mark.parametrize("data", [b"", b"\n \n", b"\xef\xbb\xbf"])
def test_an_empty_file_has_no_frames_and_is_refused_where_there_must_be_some(write, data):
    path = write(data)
    assert list(scan(path)) == []
    with pytest.raises(UserError, match=r"structures\.xyz: the file is empty"):
        refuse_empty(path)


def test_a_file_with_a_frame_is_not_empty(write):
    refuse_empty(write(b"\n" + WATER))


def test_a_missing_file_names_the_one_that_was_meant(write, tmp_path):
    write(WATER)
    assert "Did you mean 'structures.xyz'?" in complaint(tmp_path / "structure.xyz")


def test_a_missing_directory_is_said(tmp_path):
    assert "no directory" in complaint(tmp_path / "nowhere" / "a.xyz")


def test_a_directory_is_no_file(tmp_path):
    assert "directory" in complaint(tmp_path)


@pytest.mark.parametrize("data", [b"\x1f\x8b\x08\x00rest", b"\x00\x01\x02" * 100, b"%PDF-1.4\n", b'{"a": 1}\n'])
def test_what_is_no_xyz_file_is_refused(write, data):
    assert "structures.xyz" in complaint(write(data))


def test_text_that_is_not_utf8_is_refused(write):
    assert "line 2" in complaint(write(WATER.replace(b"water", b"w\xe4ter")))


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b"Ar 0 0 0", "expected 5 columns, found 4"),
        (b"0 0 0 7", "expected 5 columns, found 4"),
        (b"Ar 0 0 0 7 8", "expected 5 columns, found 6"),
        (b"Arg 0 0 0 7", "'Arg' is no element"),
        (b"18 0 0 0 7", "'18' is no element"),
        (b"Ar 0 ******** 0 7", "'********' is no coordinate"),
        (b"Ar 0 nan 0 7", "'nan' is no coordinate"),
        (b"Ar 0 0 x 7", "'x' is no coordinate"),
    ],
)
def test_an_atom_without_element_or_position_is_named(write, line, expected):
    message = complaint(write(WATER + ARGON.replace(b"Ar 0 0 0 7", line)))
    assert f"frame 1 (line 8): atom 1 of 1: {expected}" in message


@pytest.mark.parametrize(
    ("properties", "expected"),
    [
        (b"pos:R:3:tags:I:1", "no elements"),
        (b"species:S:1:xyz:R:3:tags:I:1", "no positions"),
        (b"species:S:1:pos:R", "NAME:TYPE:COLUMNS"),
        (b"species:S:1:pos:R:x", "NAME:TYPE:COLUMNS"),
    ],
)
def test_a_header_without_elements_or_positions_is_named(write, properties, expected):
    message = complaint(write(ARGON.replace(b"species:S:1:pos:R:3:tags:I:1", properties)))
    assert "frame 0 (line 2)" in message
    assert expected in message


def test_plain_xyz_may_say_more_behind_the_position(write):
    assert len(list(scan(write(WATER.replace(b"0.96\n", b"0.96 # hydrogen\n"))))) == 1


def test_columns_may_stand_in_any_order_and_elements_be_numbers(write):
    frame = b'2\nProperties="REF_forces:R:3:pos:R:3:Z:I:1"\n1 2 3 0 0 0 8\n1 2 3 0 0 1 1\n'
    path = write(frame)
    assert len(list(scan(path))) == 1
    assert elements(frame) == {"O", "H"}
    assert "'119' is no element" in complaint(write(frame.replace(b" 8\n", b" 119\n")))


def test_elements_of_a_frame():
    assert elements(WATER) == {"O", "H"}
    assert elements(ARGON.rstrip(b"\n")) == {"Ar"}


def test_elements_of_a_broken_frame_says_why():
    with pytest.raises(UserError, match="'Q' is no element"):
        elements(WATER.replace(b"O", b"Q"))


def test_indexing_loads_no_science():
    code = "import sys, hpcflow.structures; print([m for m in ('ase', 'numpy', 'torch') if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
