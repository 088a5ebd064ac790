"""Index lists of all schedulers."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcflow.schedulers import indices


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5", [5]),
        ("[1-5]", [1, 2, 3, 4, 5]),
        ("0,5,10,15,20%2", [0, 5, 10, 15, 20]),
        ("1-995:497%5", [1, 498, 995]),
        ("[4,8-11%2]", [4, 8, 9, 10, 11]),
        ("3-3", [3]),
    ],
)
def test_lists_as_schedulers_print_them(text: str, expected: list[int]) -> None:
    assert indices.expand(text) == expected


@pytest.mark.parametrize(
    "text", ["", "[]", "1-", "5-3", "1-9:0", "x", "1,,2", "1%x", "149-151,160,...%5", "-3", "1-99999999"]
)
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no list of indices"):
        indices.expand(text)


@given(st.sets(st.integers(0, 3000), min_size=1))
def test_compress_and_expand_are_inverse(numbers: set[int]) -> None:
    assert indices.expand(indices.compress(numbers)) == sorted(numbers)


@given(st.sets(st.integers(0, 50), min_size=1))
def test_no_shorter_list_of_ranges_exists(numbers: set[int]) -> None:
    parts = indices.compress(numbers).split(",")
    assert len(parts) == sum(1 for n in numbers if n - 1 not in numbers)


@given(st.integers(0, 500), st.integers(0, 500), st.integers(1, 20))
def test_a_stepped_range_is_that_of_python(first: int, length: int, step: int) -> None:
    assert indices.expand(f"{first}-{first + length}:{step}") == list(range(first, first + length + 1, step))


@given(st.text(max_size=30))
def test_any_text_gives_indices_or_is_refused(text: str) -> None:
    refused = False
    try:
        found = indices.expand(text)
    except ValueError:
        refused = True
    assert refused or (found and all(index >= 0 for index in found))
