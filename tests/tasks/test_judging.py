"""What labels say about themselves and about the walkers, and when a campaign stops."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms

from hpcflow.tasks.frames import write_frames
from hpcflow.tasks.judging import decide, judge


def label(walker: int | None, energy: float, force: float) -> Atoms:
    """A frame of two atoms with these errors, in eV/atom and eV/Å."""
    frame = Atoms("H2", positions=[[0, 0, 0], [0, 0, 1]])
    frame.info |= {"REF_energy": -3.0, "predicted_energy": -3.0 + 2 * energy, "step": 20}
    if walker is not None:
        frame.info["walker"] = walker
    frame.arrays["REF_forces"] = np.zeros((2, 3))
    frame.arrays["predicted_forces"] = np.full((2, 3), force)
    return frame


def judged(frames: list[Atoms], selected: list[Atoms] | None = None, **limits: float) -> Any:
    write_frames("labelled.xyz", frames)
    if selected is not None:
        write_frames("selected.xyz", selected)
    return judge("labelled.xyz", selected=None if selected is None else "selected.xyz", **limits)


def test_good_labels_are_accepted_and_reset_nobody(workdir: Path) -> None:
    output = judged([label(0, 0.001, 0.05), label(1, 0.002, 0.1)])
    assert len(output.frames) == 2
    assert output.result["accepted"] == output.result["labels"] == 2
    assert output.result["discarded"] == output.result["reset"] == []
    assert output.result["errors"]["energy_mae"] == pytest.approx(0.0015)
    assert output.result["walkers"]["1"] == pytest.approx({"energy": 0.002, "force": 0.1})


def test_an_absurd_label_is_discarded_and_its_walker_not_reset_for_it(workdir: Path) -> None:
    frames = [*(label(0, 0.001, 0.05) for _ in range(5)), label(0, 0.5, 0.05)]
    output = judged(frames)
    assert len(output.frames) == 5
    assert output.result["discarded"] == [
        {"walker": 0, "step": 20, "energy": pytest.approx(0.5), "force": pytest.approx(0.05)}
    ]
    assert output.result["reset"] == []


def test_a_young_model_is_wrong_about_everything_and_discards_nothing(workdir: Path) -> None:
    output = judged([label(k, 0.2, 1.5) for k in range(6)])
    assert len(output.frames) == 6
    assert output.result["reset"] == [0, 1, 2, 3, 4, 5]


def test_a_label_that_is_no_number_is_discarded(workdir: Path) -> None:
    output = judged([label(0, 0.001, 0.05), label(1, 0.001, 0.05), label(2, 0.001, float("nan"))])
    assert len(output.frames) == 2


def test_a_walker_is_reset_by_its_worst_frame(workdir: Path) -> None:
    output = judged([label(0, 0.001, 0.05), label(0, 0.001, 0.25), label(1, 0.025, 0.05), label(2, 0.001, 0.19)])
    assert output.result["reset"] == [0, 1]


def test_a_walker_none_of_whose_labels_came_back_is_reset(workdir: Path) -> None:
    sent = [label(0, 0, 0), label(7, 0, 0)]
    assert judged([label(0, 0.001, 0.05)], selected=sent).result["reset"] == [7]


def test_frames_without_a_walker_reset_nobody(workdir: Path) -> None:
    assert judged([label(None, 0.025, 0.3)]).result["reset"] == []


def test_no_labels_are_no_reason_to_worry(workdir: Path) -> None:
    output = judged([])
    assert output.frames == []
    assert output.result["errors"]["force_rmse"] is None


def entry(accurate: float, now: float = 0.1, before: float | None = 0.1) -> dict[str, Any]:
    return {
        "fractions": {"accurate": accurate},
        "test": {"force_rmse": now},
        "test_before": None if before is None else {"force_rmse": before},
    }


@pytest.mark.parametrize(
    ("history", "stop"),
    [
        ([], False),
        ([entry(0.99)], False),
        ([entry(0.96), entry(0.97)], True),
        ([entry(0.94), entry(0.97)], False),
        ([entry(0.97), entry(0.94)], False),
        ([entry(0.97), entry(0.97, now=0.09)], False),
        ([entry(0.97), entry(0.97, now=0.096)], True),
        ([entry(0.97), entry(0.97, now=0.11)], True),
        ([entry(0.97), entry(0.97, before=None)], False),
        ([entry(0.2), entry(0.97), entry(0.97)], True),
    ],
)
def test_a_campaign_stops_when_it_is_accurate_and_gains_little(history: list[Any], stop: bool) -> None:
    assert decide(history)["stop"] is stop


def test_the_decision_has_a_reason() -> None:
    assert decide([entry(0.9), entry(0.97)])["reason"] == (
        "90% and 97% of the frames accurate in the last two iterations, 95% wanted in both"
    )
    assert "fell by 10%" in decide([entry(0.97), entry(0.97, now=0.09)])["reason"]
