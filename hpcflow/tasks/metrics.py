"""Numbers that say how good a model is: pure functions of arrays and labelled, predicted frames."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcflow.tasks.committee import Array

if TYPE_CHECKING:
    from ase import Atoms


def frame_errors(frame: Atoms) -> tuple[float, float]:
    """Return the error of the energy in eV/atom (absolute) and of the forces in eV/Å (RMSE over components)."""
    energy = abs(frame.info["predicted_energy"] - frame.info["REF_energy"]) / len(frame)
    forces = frame.arrays["predicted_forces"] - frame.arrays["REF_forces"]
    return float(energy), rmse(forces)


def errors(frames: Sequence[Atoms]) -> dict[str, Any]:
    """Compare ``predicted_*`` with ``REF_*`` in all frames.

    Returns
    -------
    dict
        ``frames``; ``energy_rmse`` and ``energy_mae`` in eV/atom; ``force_rmse`` and ``force_mae`` in eV/Å,
        over components; ``stress_rmse`` and ``stress_mae`` in eV/Å³ where there are both. None without frames.
    """
    energy = [(f.info["predicted_energy"] - f.info["REF_energy"]) / len(f) for f in frames]
    forces = [f.arrays["predicted_forces"] - f.arrays["REF_forces"] for f in frames]
    result: dict[str, Any] = {"frames": len(frames)}
    result |= _pair("energy", np.array(energy))
    result |= _pair("force", np.concatenate(forces) if forces else np.array([]))
    stress = [
        full_stress(f.info["predicted_stress"]) - full_stress(f.info["REF_stress"])
        for f in frames
        if "predicted_stress" in f.info and "REF_stress" in f.info
    ]
    if stress:
        result |= _pair("stress", np.array(stress))
    return result


def errors_by_type(frames: Sequence[Atoms]) -> dict[str, Any]:
    """Return `errors` of all frames, and under ``config_types`` those of each ``config_type``."""
    kinds: dict[str, list[Atoms]] = {}
    for frame in frames:
        kinds.setdefault(str(frame.info.get("config_type", "default")), []).append(frame)
    return {**errors(frames), "config_types": {kind: errors(kinds[kind]) for kind in sorted(kinds)}}


def fractions(deviations: Array, lo: float, hi: float) -> dict[str, float]:
    """Return which parts of the frames are ``accurate`` (σ < lo), ``candidate`` and ``failed`` (σ ≥ hi, NaN)."""
    count = max(len(deviations), 1)
    failed = int((~(deviations < hi)).sum())
    accurate = int((deviations < min(lo, hi)).sum())
    return {
        "accurate": accurate / count,
        "candidate": (len(deviations) - failed - accurate) / count,
        "failed": failed / count,
    }


def histogram(values: Array, bins: int = 30) -> dict[str, list[float]]:
    """Return ``edges`` and ``counts`` of the finite values, from zero to the largest."""
    finite = values[np.isfinite(values)]
    counts, edges = np.histogram(finite, bins=bins, range=(0.0, float(finite.max(initial=0.0)) or 1.0))
    return {"edges": edges.tolist(), "counts": counts.tolist()}


def spearman(one: Array, other: Array) -> float | None:
    """Return Spearman's rank correlation with mean ranks for ties; None if it is not defined."""
    if len(one) < 3:
        return None
    ranks = np.array([_ranks(np.asarray(values)) for values in (one, other)])
    ranks -= ranks.mean(axis=1, keepdims=True)
    norm = float(np.sqrt((ranks**2).sum(axis=1).prod()))
    return float((ranks[0] * ranks[1]).sum() / norm) if norm > 0 else None


def rmse(differences: Array) -> float:
    """Return the root of the mean square."""
    return float(np.sqrt(np.mean(np.square(differences))))


def full_stress(values: Any) -> Array:
    """Return a stress as 3 × 3, from nine numbers or from six in Voigt's order."""
    flat = np.asarray(values, dtype=float).reshape(-1)
    if flat.size == 9:
        return flat.reshape(3, 3)
    xx, yy, zz, yz, xz, xy = flat
    return np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])


def _pair(name: str, differences: Array) -> dict[str, float | None]:
    if differences.size == 0:
        return {f"{name}_rmse": None, f"{name}_mae": None}
    return {f"{name}_rmse": rmse(differences), f"{name}_mae": float(np.abs(differences).mean())}


def _ranks(values: Array) -> Array:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return np.asarray((ends - (counts - 1) / 2.0)[inverse])
