"""Which frames get a label, and that every other one has exactly one reason."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hpcflow.task import Output
from hpcflow.tasks.frames import identity, read_frames, write_frames
from hpcflow.tasks.selection import farthest_points, select


@pytest.fixture
def explored(ethanol: list[Atoms], workdir: Path) -> list[Atoms]:
    """Sixteen frames: 4 accurate, 8 candidates, 4 failed in different ways, and the states of two walkers."""
    sigma = [0.01, 0.02, 0.03, 0.04, *np.linspace(0.06, 0.2, 8), 0.25, 0.9, np.nan, 0.1]
    frames = []
    for step, (origin, deviation) in enumerate(zip(ethanol, sigma, strict=True)):
        frame = origin.copy()
        frame.info = {"walker": step % 4, "step": step, "kind": "sample", "deviation": float(deviation)}
        frames.append(frame)
    frames[12].info |= {"kind": "unsafe", "guard": "deviation"}
    frames[15].info |= {"kind": "unsafe", "guard": "distance"}
    states = [ethanol[0].copy(), ethanol[1].copy()]
    for walker, state in enumerate(states):
        state.info = {"walker": walker, "kind": "state"}
    write_frames("explored.xyz", [*frames, *states])
    return frames


def chosen(models: list[str], **options: Any) -> Output:
    return select("explored.xyz", models=models, device="cpu", **{"control": 0.0, "min_new": 0, **options})


def reasons() -> list[str]:
    return [json.loads(line)["reason"] for line in Path("reasons.jsonl").read_text().splitlines()]


def test_every_frame_has_one_reason_and_states_have_none(models: list[str], explored: list[Atoms]) -> None:
    output = chosen(models, max_new=5)
    assert reasons()[:4] == ["accurate"] * 4
    assert reasons()[12:] == ["failed"] * 4
    assert Counter(reasons()[4:12]) == {"candidate": 5, "surplus": 3}
    assert output.result["select"] == {"selected": 5, "reasons": dict(Counter(reasons()))}
    assert output.result["explored"]["fractions"] == {"accurate": 0.25, "candidate": 0.5, "failed": 0.25}


def test_selected_frames_are_those_with_the_reason(models: list[str], explored: list[Atoms]) -> None:
    output = chosen(models, max_new=5)
    wanted = [identity(f) for f, reason in zip(explored, reasons(), strict=True) if reason == "candidate"]
    assert [identity(frame) for frame in output.frames] == wanted
    assert {frame.info["selected"] for frame in output.frames} == {"candidate"}


def test_the_same_input_gives_the_same_selection(models: list[str], explored: list[Atoms]) -> None:
    first = chosen(models, max_new=3, control=0.5)
    again = chosen(models, max_new=3, control=0.5)
    assert [f.info["step"] for f in first.frames] == [f.info["step"] for f in again.frames]


def test_the_first_choice_is_what_the_models_know_least(models: list[str], explored: list[Atoms]) -> None:
    (frame,) = chosen(models, max_new=1).frames
    assert frame.info["deviation"] == pytest.approx(0.2)


def test_what_has_a_label_already_is_not_chosen_again(models: list[str], explored: list[Atoms]) -> None:
    write_frames("known.xyz", explored[4:8])
    output = chosen(models, max_new=8, already=["known.xyz"])
    assert reasons()[4:8] == ["duplicate"] * 4
    assert len(output.frames) == 4


def test_too_few_candidates_are_filled_up(models: list[str], explored: list[Atoms]) -> None:
    output = chosen(models, max_new=20, min_new=14)
    filled = [f.info["step"] for f in output.frames if f.info["selected"] == "fill"]
    # All accurate ones, then the failed ones of smallest σ; never those without one, or stopped by another guard.
    assert filled == [0, 1, 2, 3, 12, 13]


def test_filling_begins_with_the_largest_deviation(models: list[str], explored: list[Atoms]) -> None:
    output = chosen(models, max_new=20, min_new=9)
    assert [f.info["step"] for f in output.frames if f.info["selected"] == "fill"] == [3]


def test_control_picks_are_random_and_never_failed(models: list[str], explored: list[Atoms]) -> None:
    picks = set()
    for seed in range(6):
        output = chosen(models, max_new=4, control=0.5, seed=seed)
        steps = [f.info["step"] for f in output.frames if f.info["selected"] == "control"]
        assert len(steps) == 2
        assert max(steps) < 12
        picks.add(tuple(steps))
    assert len(picks) > 1


def test_the_lower_level_rises_to_a_quantile(models: list[str], explored: list[Atoms]) -> None:
    result = chosen(models, lo_quantile=0.75).result["explored"]
    assert 0.1 < result["lo"] < 0.25
    assert result["fractions"]["accurate"] > 0.5


def test_the_lower_level_never_sinks(models: list[str], explored: list[Atoms]) -> None:
    assert chosen(models, lo_quantile=0.01).result["explored"]["lo"] == 0.05


def test_without_frames_nothing_is_chosen(models: list[str], workdir: Path) -> None:
    write_frames("explored.xyz", [])
    output = chosen(models, min_new=5)
    assert output.frames == []
    assert output.result["select"] == {"selected": 0, "reasons": {}}


points = arrays(float, st.tuples(st.integers(1, 12), st.integers(1, 3)), elements=st.integers(0, 5).map(float))


@given(points, st.integers(0, 12))
def test_farthest_points_are_as_many_as_are_wanted_and_different(new: np.ndarray, count: int) -> None:
    chosen = farthest_points(new, None, count)
    different = len(np.unique(new, axis=0))
    assert len(chosen) == len(set(chosen)) == min(count, different)
    assert len(np.unique(new[chosen], axis=0)) == len(chosen) or not chosen


@given(points, points)
def test_each_point_is_the_farthest_from_all_before(new: np.ndarray, known: np.ndarray) -> None:
    width = min(new.shape[1], known.shape[1])
    new, known = new[:, :width], known[:, :width]
    before = known
    for index in farthest_points(new, known, len(new)):
        distances = np.array([np.linalg.norm(before - row, axis=1).min() for row in new])
        assert distances[index] == pytest.approx(distances.max())
        assert distances[index] > 0
        before = np.vstack([before, new[index]])


def test_reading_back_keeps_the_reason(models: list[str], explored: list[Atoms]) -> None:
    output = chosen(models, max_new=2)
    write_frames("selected.xyz", output.frames)
    assert [f.info["selected"] for f in read_frames("selected.xyz")] == ["candidate", "candidate"]
