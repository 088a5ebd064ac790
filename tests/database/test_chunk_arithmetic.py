"""Chunks: every task in exactly one, large first, never more than 16 for a slot."""

from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from hpcflow.database.chunks import MOST_CHUNKS_PER_SLOT, chunk_bounds, resources_id, tasks_of
from hpcflow.database.state import members, ranges

TOTALS = st.integers(0, 200_000)
SLOTS = st.integers(-1, 3000)
SMALLEST = st.integers(-1, 10_000)


@given(TOTALS, SLOTS, SMALLEST)
@example(1_000_000, 1, 1)
@example(1, 1000, 1)
@example(100_000, 3000, 1)
def test_chunks_cover_all_tasks_once_and_in_order(total: int, slots: int, smallest: int) -> None:
    bounds = chunk_bounds(total, slots, smallest)
    assert bounds[0] == 0
    assert bounds[-1] == total
    assert all(a < b for a, b in pairwise(bounds))


@given(TOTALS, SLOTS, SMALLEST)
@example(1_000_000, 1, 1)
def test_there_are_at_most_16_chunks_for_each_slot(total: int, slots: int, smallest: int) -> None:
    assert len(chunk_bounds(total, slots, smallest)) - 1 <= MOST_CHUNKS_PER_SLOT * max(1, slots)


@given(TOTALS, SLOTS, SMALLEST)
def test_chunks_shrink_towards_the_end(total: int, slots: int, smallest: int) -> None:
    bounds = chunk_bounds(total, slots, smallest)
    sizes = [b - a for a, b in pairwise(bounds)]
    assert sizes == sorted(sizes, reverse=True)


@given(st.integers(1, 5000), st.integers(1, 50))
def test_every_slot_gets_a_chunk_if_there_are_tasks_enough(total: int, slots: int) -> None:
    assert len(chunk_bounds(total, slots, 100_000)) - 1 >= min(total, slots) / 2


@given(st.lists(st.integers(0, 300), unique=True).map(sorted))
def test_ranges_and_members_are_inverse(tasks: list[int]) -> None:
    spans = ranges(tasks)
    assert members(spans) == tasks
    assert all(start < stop for start, stop in spans)
    assert all(a[1] < b[0] for a, b in pairwise(spans))


@given(st.lists(st.integers(0, 300), unique=True), st.integers(1, 8), st.data())
def test_the_chunks_of_a_list_hold_its_tasks_in_order(tasks: list[int], slots: int, data: st.DataObject) -> None:
    bounds = chunk_bounds(len(tasks), slots)
    content = {"tasks": ranges(tasks), "bounds": bounds}
    assert [task for chunk in range(len(bounds) - 1) for task in tasks_of(content, chunk)] == tasks


def test_equal_requests_have_one_name_in_whatever_order() -> None:
    assert resources_id({"cores": 2, "memory": 100}) == resources_id({"memory": 100, "cores": 2})
    assert resources_id({"cores": 2}) != resources_id({"cores": 4})
    assert resources_id({}) == "r0"


@pytest.mark.parametrize("total", [10, 1000, 100_000])
def test_equal_work_ends_evenly_with_chunks(total: int) -> None:
    """Guided self-scheduling: with equal tasks no slot waits longer than a small part of the whole."""
    slots = 8
    bounds = chunk_bounds(total, slots)
    busy = [0.0] * slots
    for size in (b - a for a, b in pairwise(bounds)):
        first = busy.index(min(busy))
        busy[first] += size
    assert max(busy) - min(busy) <= max(1, 0.05 * total / slots)
