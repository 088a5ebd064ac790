"""The comment line: what is written reads back the same, here and in ASE."""

import math

import pytest
from ase.io.extxyz import key_val_str_to_dict
from hypothesis import given
from hypothesis import strategies as st

from hpcflow.structures.comment import drop, pair, split, value

TEXTS = st.one_of(st.text(max_size=20), st.from_regex(r"[ -~]{0,12}", fullmatch=True))
NUMBERS = st.one_of(st.integers(-(2**62), 2**62), st.floats(allow_nan=False))
VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), NUMBERS, TEXTS),
    lambda inner: st.one_of(st.lists(inner, max_size=4), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=8,
)
KEYS = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), min_size=1, max_size=10).filter(str.isprintable)


def read(line: str) -> dict:
    return {key: value(text) for key, text in split(line).items()}


@given(st.dictionaries(KEYS, VALUES, max_size=5))
def test_every_value_reads_back_as_it_was(info):
    line = " ".join(pair(key, item) for key, item in info.items())
    assert "\n" not in line
    assert read(line) == info


@given(st.dictionaries(st.from_regex(r"k[a-z]{1,6}", fullmatch=True), TEXTS, min_size=1, max_size=3))
def test_ase_reads_our_texts_as_they_were(info):
    assert key_val_str_to_dict(" ".join(pair(key, item) for key, item in info.items())) == info


@given(NUMBERS)
def test_ase_reads_our_numbers_as_they_were(number):
    assert key_val_str_to_dict(pair("x", number))["x"] == number


@pytest.mark.parametrize(
    "item", [None, "", " ", "0012", "1e5", "T", "1 2 3", "a=b", 'say "x"', "C:\\new", "a\nb", "nan"]
)
def test_what_ase_itself_loses_survives(item):
    assert read(pair("x", item) + " " + pair("y", 1)) == {"x": item, "y": 1}
    assert key_val_str_to_dict(pair("x", item) + " " + pair("y", 1)) == {"x": item, "y": 1}


def test_not_a_number_and_infinity():
    assert math.isnan(read(pair("x", math.nan))["x"])
    assert read(pair("x", [math.inf, -math.inf])) == {"x": [math.inf, -math.inf]}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ('a=1 b = 2  c= d=""', {"a": 1, "b": 2, "c": "", "d": ""}),
        ("flag other=F", {"flag": True, "other": False}),
        ("v=\"1 2.5 3\" w={4 5} x=[6, 7] y='8 9'", {"v": [1, 2.5, 3], "w": [4, 5], "x": [6, 7], "y": [8, 9]}),
        ("m=[[1,2],[3,4]]", {"m": [[1, 2], [3, 4]]}),
        ('"my key"="my value" url=a=b', {"my key": "my value", "url": "a=b"}),
        ('t="T F T" u="T F x"', {"t": [True, False, True], "u": "T F x"}),
        ("id=00012 n=12 s=1.5e-3", {"id": "00012", "n": 12, "s": 1.5e-3}),
        ("a=1 a=2", {"a": 2}),
        ("", {}),
    ],
)
def test_lines_of_other_programs(line, expected):
    assert read(line) == expected


def test_a_quote_that_is_not_closed_is_refused():
    with pytest.raises(ValueError, match="name"):
        split('a=1 "name=2')


def test_what_has_no_form_is_refused():
    with pytest.raises(TypeError, match="comment line"):
        pair("x", object())
    with pytest.raises(ValueError, match="key"):
        pair("a\nb", 1)


def test_dropping_keys_leaves_the_others_as_they_were_written():
    assert drop('a="1  2" b=T "c d"=3   e = 5', {"b"}) == 'a="1  2" "c d"=3 e = 5'
