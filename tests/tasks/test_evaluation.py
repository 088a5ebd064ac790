"""Predictions for many frames, and the comparison with a test set."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from hpcflow.tasks.evaluation import compare, evaluate, largest_force_error
from hpcflow.tasks.frames import write_frames


def test_each_frame_comes_back_with_its_prediction(models: list[str], ethanol: list[Atoms]) -> None:
    predicted = evaluate(ethanol[:3], models=models, device="cpu")
    assert len(predicted) == 3
    for frame, origin in zip(predicted, ethanol, strict=False):
        np.testing.assert_array_equal(frame.positions, origin.positions)
        assert frame.info["REF_energy"] == origin.info["REF_energy"]
        assert frame.info["deviation"] > 0
        assert frame.arrays["predicted_forces"].shape == (9, 3)
        assert "predicted_stress" not in frame.info
    assert "predicted_energy" not in ethanol[0].info


def test_periodic_frames_get_a_stress_if_asked(models: list[str], ethanol: list[Atoms]) -> None:
    box = molecule("H2O", cell=[5, 5, 5], pbc=True)
    inside, outside = evaluate([box, ethanol[0]], models=models, stress=True, device="cpu")
    assert inside.info["predicted_stress"].shape == (9,)
    assert "predicted_stress" not in outside.info


def test_a_test_set_is_compared(models: list[str], ethanol: list[Atoms], workdir: Path) -> None:
    atom = Atoms("H", info={"config_type": "IsolatedAtom", "REF_energy": -10.0})
    write_frames("test.xyz", [*ethanol, atom])
    output = compare({"name": "iteration 0", "models": models}, frames="test.xyz", lo=0.0, hi=1e3, device="cpu")
    result = output.result
    assert result["name"] == "iteration 0"
    assert result["frames"] == len(output.frames) == 16
    squares = [(f.arrays["predicted_forces"] - f.arrays["REF_forces"]) ** 2 for f in output.frames]
    assert result["force_rmse"] == pytest.approx(np.sqrt(np.mean(squares)))
    assert list(result["config_types"]) == ["rattled"]
    assert result["fractions"] == {"accurate": 0.0, "candidate": 1.0, "failed": 0.0}
    assert -1 <= result["spearman"] <= 1


def test_an_empty_test_set_says_nothing(models: list[str], workdir: Path) -> None:
    write_frames("test.xyz", [])
    result = compare({"models": models}, frames="test.xyz", device="cpu").result
    assert result["frames"] == 0
    assert result["force_rmse"] is None
    assert result["spearman"] is None


def test_the_largest_error_is_that_of_the_worst_atom() -> None:
    frame = Atoms("H2")
    frame.arrays["REF_forces"] = np.zeros((2, 3))
    frame.arrays["predicted_forces"] = np.array([[0.1, 0, 0], [0, 3.0, 4.0]])
    assert largest_force_error(frame) == pytest.approx(5.0)
