"""Choose which explored frames are worth a label: neither known already nor nonsense, and unlike each other."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from hpcflow.task import Output, task
from hpcflow.tasks.committee import Array, load
from hpcflow.tasks.frames import is_isolated, read_frames
from hpcflow.tasks.metrics import fractions, histogram


@task(version=1, keep=["reasons.jsonl"])
def select(
    candidates: str,
    *,
    models: Sequence[str],
    already: Sequence[str] = (),
    lo: float = 0.05,
    hi: float = 0.25,
    lo_quantile: float | None = None,
    max_new: int = 200,
    min_new: int = 10,
    control: float = 0.05,
    seed: int = 0,
    device: str = "auto",
    dtype: str = "auto",
) -> Output:
    """Return the frames to label, and keep ``reasons.jsonl``: for every frame exactly one reason.

    A frame is *accurate* below ``lo``, *failed* from ``hi`` on (also if σ is NaN, or if a guard other than
    that on σ stopped the walker there), and a *candidate* in between: the trust levels of Zhang et al.,
    Phys. Rev. Materials 3, 023804 (2019). Among the candidates the one that is farthest from all that is
    known or chosen is taken next, by the descriptors of the first model.

    Parameters
    ----------
    candidates
        What the walkers returned; frames of the kind ``state`` are passed over.
    models
        The committee that explored.
    already
        Files of the frames that have labels.
    lo, hi
        Trust levels on the deviation σ in eV/Å.
    lo_quantile
        Raise ``lo`` to this quantile of the finite σ, where that is higher.
    max_new, min_new
        At most, and at least, so many frames. If the candidates do not suffice, the accurate frames of
        largest σ follow, then the failed ones of smallest σ.
    control
        In addition this fraction of random picks, whatever their σ below ``hi``.
    seed
        Of the random picks.

    Returns
    -------
    Output
        The chosen frames, with ``selected`` in ``info``: ``candidate``, ``fill`` or ``control``. The result holds,
        under ``explored``, the number of ``frames``, ``lo`` and ``hi`` as used, ``fractions`` and ``histogram`` of σ;
        under ``select`` the number ``selected`` and the ``reasons`` with their numbers: the three of above,
        ``accurate``, ``failed``, ``surplus`` (beyond ``max_new``), ``duplicate`` (its descriptor is known).
    """
    frames = [frame for frame in read_frames(candidates) if frame.info.get("kind") != "state"]
    sigma = np.array([float(frame.info["deviation"]) for frame in frames])
    trusted = np.array([frame.info.get("guard", "deviation") == "deviation" for frame in frames], dtype=bool)
    finite = np.isfinite(sigma) & trusted
    if lo_quantile is not None and finite.any():
        lo = min(max(lo, float(np.quantile(sigma[finite], lo_quantile))), hi)
    judged = np.where(trusted, sigma, np.nan)

    reasons = np.full(len(frames), "failed", dtype=object)
    reasons[judged < hi] = "surplus"
    reasons[judged < lo] = "accurate"
    pool = np.flatnonzero(reasons == "surplus")
    if pool.size:
        committee = load(models, device, dtype)
        old = [frame for path in already for frame in read_frames(path) if not is_isolated(frame)]
        order = farthest_points(
            committee.descriptors([frames[i] for i in pool]),
            committee.descriptors(old) if old else None,
            count=max_new,
            first=int(np.argmax(sigma[pool])),
        )
        reasons[pool[order]] = "candidate"
        if len(order) < min(max_new, len(pool)):
            reasons[reasons == "surplus"] = "duplicate"

    missing = max(0, min(min_new, max_new) - int((reasons == "candidate").sum()))
    known = np.flatnonzero(reasons == "accurate")
    beyond = np.flatnonzero((reasons == "failed") & finite)
    fill = [*known[np.argsort(-sigma[known], kind="stable")], *beyond[np.argsort(sigma[beyond], kind="stable")]]
    reasons[fill[:missing]] = "fill"

    chosen = int(np.isin(reasons, ("candidate", "fill")).sum())
    rest = np.flatnonzero(np.isin(reasons, ("accurate", "surplus")))
    picks = min(len(rest), round(control * chosen))
    reasons[np.random.default_rng(seed).choice(rest, picks, replace=False)] = "control"

    selected = []
    with Path("reasons.jsonl").open("w") as file:
        for frame, reason in zip(frames, reasons, strict=True):
            line = {key: frame.info.get(key) for key in ("walker", "step", "deviation")}
            file.write(json.dumps({**line, "reason": reason}, default=float) + "\n")
            if reason in ("candidate", "fill", "control"):
                frame.info["selected"] = reason
                selected.append(frame)
    result = {
        "explored": {
            "frames": len(frames),
            "lo": lo,
            "hi": hi,
            "fractions": fractions(judged, lo, hi),
            "histogram": histogram(sigma),
        },
        "select": {"selected": len(selected), "reasons": dict(sorted(Counter(reasons.tolist()).items()))},
    }
    return Output(result, selected)


def farthest_points(new: Array, known: Array | None, count: int, first: int = 0) -> list[int]:
    """Return the indices of up to ``count`` rows, each the farthest from all known and chosen rows so far.

    Rows at no distance from a known or chosen one are never taken. Ties go to the lower index.

    Parameters
    ----------
    new
        Rows to choose from, shape (n, features).
    known
        Rows that count as chosen already; without any, ``first`` is the first choice.
    count
        How many.
    """
    if known is None or len(known) == 0:
        distance = np.full(len(new), np.inf)
    else:
        distance = np.array([np.linalg.norm(known - row, axis=1).min() for row in new])
    chosen: list[int] = []
    while len(chosen) < min(count, len(new)):
        following = first if np.isinf(distance).all() else int(np.argmax(distance))
        if distance[following] <= 1e-9:
            break
        chosen.append(following)
        distance = np.minimum(distance, np.linalg.norm(new - new[following], axis=1))
    return chosen
