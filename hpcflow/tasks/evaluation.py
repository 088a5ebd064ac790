"""Let a committee predict: many frames at once, or a test set with its errors."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcflow.task import Output, task
from hpcflow.tasks.committee import load
from hpcflow.tasks.frames import is_isolated, read_frames
from hpcflow.tasks.metrics import errors_by_type, fractions, frame_errors, spearman

if TYPE_CHECKING:
    from ase import Atoms


@task(version=1, batch=True)
def evaluate(
    frames: Sequence[Atoms],
    *,
    models: Sequence[str],
    stress: bool = False,
    device: str = "auto",
    dtype: str = "auto",
) -> list[Atoms]:
    """Return copies of the frames with what the committee predicts.

    Parameters
    ----------
    frames
        Any frames of elements the models know.
    models
        The model files of the committee.
    stress
        Predict stresses as well, for frames that are periodic in three directions.
    device, dtype
        Of the models, see `hpcflow.tasks.committee.Committee`.

    Returns
    -------
    list of Atoms
        With ``predicted_energy`` (eV), ``predicted_forces`` (eV/Å), ``deviation`` (σ in eV/Å) and, if asked
        for, ``predicted_stress`` (nine numbers in eV/Å³).
    """
    copies = []
    predictions = load(models, device, dtype).predict(frames, stress)
    for frame, prediction in zip(frames, predictions, strict=True):
        copy = frame.copy()
        copy.info["predicted_energy"] = prediction.energy
        copy.info["deviation"] = prediction.deviation
        copy.arrays["predicted_forces"] = prediction.mean_forces
        if prediction.stresses is not None and frame.pbc.all():
            copy.info["predicted_stress"] = prediction.stresses.mean(axis=0).reshape(9)
        copies.append(copy)
    return copies


@task(version=1)
def compare(
    committee: Mapping[str, Any],
    *,
    frames: str,
    lo: float = 0.05,
    hi: float = 0.25,
    stress: bool = False,
    device: str = "auto",
    dtype: str = "auto",
) -> Output:
    """Compare a committee with the labels of a test set.

    Parameters
    ----------
    committee
        ``models``, its files, and ``name``, which comes back in the result.
    frames
        Extended XYZ file of labelled frames.
    lo, hi
        Trust levels on σ in eV/Å.

    Returns
    -------
    Output
        The frames as `evaluate` returns them. The result is `hpcflow.tasks.metrics.errors_by_type` and
        ``name``, ``fractions``, ``spearman`` (of σ with the largest force error of a frame).
    """
    labelled = [frame for frame in read_frames(frames) if not is_isolated(frame)]
    predicted = evaluate(labelled, models=committee["models"], stress=stress, device=device, dtype=dtype)
    deviations = np.array([frame.info["deviation"] for frame in predicted])
    worst = np.array([largest_force_error(frame) for frame in predicted])
    result = {
        "name": committee.get("name"),
        **errors_by_type(predicted),
        "fractions": fractions(deviations, lo, hi),
        "spearman": spearman(deviations, worst),
        "worst": max((max(frame_errors(frame)) for frame in predicted), default=None),
    }
    return Output(result, predicted)


def largest_force_error(frame: Atoms) -> float:
    """Return the error of the force on the worst atom in eV/Å, which σ is an estimate of."""
    differences = frame.arrays["predicted_forces"] - frame.arrays["REF_forces"]
    return float(np.linalg.norm(differences, axis=1).max())
