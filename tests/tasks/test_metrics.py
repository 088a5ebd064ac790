"""Errors, fractions and correlations, against numbers done by hand or by others."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from ase import Atoms
from hypothesis import given
from hypothesis import strategies as st

from hpcflow.tasks.metrics import errors, errors_by_type, fractions, frame_errors, full_stress, histogram, spearman


def frame(energy: float = 0.0, force: float = 0.0, kind: str = "a", stress: float | None = None) -> Atoms:
    """Two atoms for which these are the errors: of the energy in eV, of one force component in eV/Å."""
    atoms = Atoms("H2", positions=[[0, 0, 0], [0, 0, 1]])
    atoms.info |= {"REF_energy": -3.0, "predicted_energy": -3.0 + energy, "config_type": kind}
    atoms.arrays["REF_forces"] = np.ones((2, 3))
    atoms.arrays["predicted_forces"] = np.ones((2, 3))
    atoms.arrays["predicted_forces"][1, 2] += force
    if stress is not None:
        atoms.info["REF_stress"] = np.zeros(9)
        atoms.info["predicted_stress"] = np.full(9, stress)
    return atoms


def test_errors_count_energies_per_atom_and_forces_per_component() -> None:
    found = errors([frame(energy=0.4, force=0.6), frame(energy=-0.2)])
    assert found["frames"] == 2
    assert found["energy_rmse"] == pytest.approx(np.sqrt((0.2**2 + 0.1**2) / 2))
    assert found["energy_mae"] == pytest.approx(0.15)
    assert found["force_rmse"] == pytest.approx(0.6 / np.sqrt(12))
    assert found["force_mae"] == pytest.approx(0.05)
    assert "stress_rmse" not in found


def test_stress_counts_where_there_is_one() -> None:
    found = errors([frame(stress=0.03), frame()])
    assert found["stress_rmse"] == pytest.approx(0.03)


def test_no_frames_have_no_errors() -> None:
    assert errors([]) == {
        "frames": 0, "energy_rmse": None, "energy_mae": None, "force_rmse": None, "force_mae": None
    }  # fmt: skip


def test_errors_are_also_given_per_kind_of_frame() -> None:
    found = errors_by_type([frame(energy=0.2, kind="b"), frame(kind="a"), frame(kind="a")])
    assert list(found["config_types"]) == ["a", "b"]
    assert found["config_types"]["a"]["frames"] == 2
    assert found["config_types"]["b"]["energy_mae"] == pytest.approx(0.1)


def test_the_errors_of_one_frame() -> None:
    assert frame_errors(frame(energy=-0.4, force=0.6)) == pytest.approx((0.2, 0.6 / np.sqrt(6)))


def test_fractions_take_no_number_for_failed() -> None:
    sigma = np.array([0.01, 0.05, 0.2, 0.25, np.nan, np.inf, 0.049, 0.0])
    assert fractions(sigma, 0.05, 0.25) == {"accurate": 3 / 8, "candidate": 2 / 8, "failed": 3 / 8}


@given(st.lists(st.floats(min_value=0) | st.just(float("nan")), max_size=30), st.floats(0, 2), st.floats(0, 2))
def test_fractions_add_up(sigma: list[float], lo: float, hi: float) -> None:
    found = fractions(np.array(sigma), lo, hi)
    assert sum(found.values()) == pytest.approx(1.0 if sigma else 0.0)
    assert min(found.values()) >= 0


@given(st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=3, max_size=40))
def test_spearman_is_that_of_scipy(pairs: list[tuple[int, int]]) -> None:
    one, other = np.array(pairs, dtype=float).T
    found = spearman(one, other)
    if np.ptp(one) == 0 or np.ptp(other) == 0:
        assert found is None
    else:
        assert found == pytest.approx(scipy.stats.spearmanr(one, other).statistic)


def test_two_points_have_no_correlation() -> None:
    assert spearman(np.array([1.0, 2.0]), np.array([1.0, 2.0])) is None


def test_a_histogram_holds_every_finite_value() -> None:
    found = histogram(np.array([0.0, 0.3, 0.3, 1.5, np.nan]), bins=5)
    assert sum(found["counts"]) == 4
    assert found["edges"] == pytest.approx([0.0, 0.3, 0.6, 0.9, 1.2, 1.5])


def test_a_histogram_of_nothing_is_empty() -> None:
    assert sum(histogram(np.array([np.nan]))["counts"]) == 0


def test_a_stress_in_voigt_order_becomes_a_matrix() -> None:
    np.testing.assert_array_equal(full_stress([1, 2, 3, 4, 5, 6]), [[1, 6, 5], [6, 2, 4], [5, 4, 3]])
    np.testing.assert_array_equal(full_stress(np.arange(9)), np.arange(9).reshape(3, 3))
