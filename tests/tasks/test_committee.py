"""A committee says what MACE's own calculator says, only for many frames at once."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule
from ase.stress import full_3x3_to_voigt_6_stress

from hpcflow.tasks.committee import Committee, Prediction, load


@pytest.fixture(scope="module")
def committee(models: list[str]) -> Committee:
    return Committee(models, device="cpu")


@pytest.fixture
def crystal() -> Atoms:
    """Water in a small skewed box, so that atoms see their own images."""
    frame = molecule("H2O")
    frame.set_cell([[3.5, 0.0, 0.0], [0.4, 3.6, 0.0], [0.3, -0.2, 3.4]])
    frame.pbc = True
    return frame


def own_calculator(models: list[str]):
    from mace.calculators import MACECalculator

    return MACECalculator(model_paths=models, device="cpu", default_dtype="float32")


def test_energies_and_forces_are_those_of_mace(committee: Committee, models: list[str], ethanol: list[Atoms]) -> None:
    frame = ethanol[0].copy()
    frame.calc = own_calculator(models)
    frame.get_forces()
    (prediction,) = committee.predict([frame])
    np.testing.assert_allclose(prediction.energies, frame.calc.results["energy_comm"], rtol=1e-6)
    np.testing.assert_allclose(prediction.forces, frame.calc.results["forces_comm"], atol=1e-5)


def test_stresses_are_those_of_mace(committee: Committee, models: list[str], crystal: Atoms) -> None:
    (prediction,) = committee.predict([crystal], stress=True)
    crystal.calc = own_calculator(models)
    assert prediction.stresses is not None
    found = full_3x3_to_voigt_6_stress(prediction.stresses.mean(axis=0))
    np.testing.assert_allclose(found, crystal.get_stress(), atol=1e-6)


def test_many_frames_at_once_are_each_frame_alone(committee: Committee, ethanol: list[Atoms], crystal: Atoms) -> None:
    frames = [*ethanol[:3], crystal]
    for together, frame in zip(committee.predict(frames), frames, strict=True):
        (alone,) = committee.predict([frame])
        np.testing.assert_allclose(together.energies, alone.energies, rtol=1e-6)
        np.testing.assert_allclose(together.forces, alone.forces, atol=1e-5)


def test_forces_are_minus_the_slope_of_the_energy(models: list[str], ethanol: list[Atoms]) -> None:
    double = Committee(models, device="cpu", dtype="float64")
    step = 1e-4
    frames = [ethanol[0].copy(), ethanol[0].copy()]
    frames[0].positions[2, 1] += step
    frames[1].positions[2, 1] -= step
    above, below = double.predict(frames)
    (here,) = double.predict([ethanol[0]])
    np.testing.assert_allclose((below.energies - above.energies) / (2 * step), here.forces[:, 2, 1], rtol=1e-5)


def test_deviation_is_the_spread_of_the_worst_atom() -> None:
    forces = np.zeros((2, 3, 3))
    forces[0, 1] = [0.3, 0.0, 0.4]
    prediction = Prediction(np.zeros(2), forces, None)
    assert prediction.deviation == pytest.approx(0.25)  # half the distance of two opinions 0.5 eV/Å apart


def test_a_single_model_has_no_deviation(models: list[str], ethanol: list[Atoms]) -> None:
    (prediction,) = Committee(models[:1], device="cpu").predict(ethanol[:1])
    assert prediction.deviation == 0.0


def test_a_force_that_is_no_number_makes_the_deviation_none() -> None:
    forces = np.zeros((2, 3, 3))
    forces[1, 2, 0] = np.nan
    assert np.isnan(Prediction(np.zeros(2), forces, None).deviation)


def test_an_unknown_element_is_named(committee: Committee) -> None:
    with pytest.raises(ValueError, match="knows H C O but not N"):
        committee.predict([molecule("NH3")])


def test_models_of_different_cutoffs_are_no_committee(models: list[str], tmp_path: Path) -> None:
    import torch

    other = torch.load(models[0], weights_only=False)
    other.r_max = torch.tensor(3.0)
    torch.save(other, tmp_path / "other")
    with pytest.raises(ValueError, match="differs from"):
        Committee([models[0], str(tmp_path / "other")], device="cpu")


def test_descriptors_do_not_see_rotation_or_the_order_of_atoms(committee: Committee, ethanol: list[Atoms]) -> None:
    turned = ethanol[0].copy()
    turned.rotate(40, (1, 2, 3))
    shuffled = ethanol[0][::-1]
    one, two, three = committee.descriptors([ethanol[0], turned, shuffled])
    np.testing.assert_allclose(two, one, atol=1e-5)
    np.testing.assert_allclose(three, one, atol=1e-5)


def test_descriptors_tell_distorted_frames_apart(committee: Committee, ethanol: list[Atoms]) -> None:
    one, two = committee.descriptors(ethanol[:2])
    assert np.linalg.norm(one - two) > 1e-4


def test_descriptors_of_an_element_that_is_not_there_are_zero(committee: Committee) -> None:
    (vector,) = committee.descriptors([molecule("H2O")])
    hydrogen, carbon, oxygen = vector.reshape(3, -1)
    assert not carbon.any()
    assert hydrogen.any()
    assert oxygen.any()


def test_a_process_loads_a_committee_once(models: list[str]) -> None:
    assert load(models, "cpu") is load(models, "cpu")


def test_a_replaced_model_file_is_loaded_anew(models: list[str], tmp_path: Path) -> None:
    path = tmp_path / "model"
    shutil.copy(models[0], path)
    first = load([path], "cpu")
    shutil.copy(models[1], path)
    os.utime(path, ns=(1, 1))
    assert load([path], "cpu") is not first


def test_a_committee_needs_a_model() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Committee([])
