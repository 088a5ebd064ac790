"""What new labels say: about themselves, about the walkers they came from, and whether to go on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median
from typing import Any

from hpcflow.task import Output, task
from hpcflow.tasks.frames import read_frames
from hpcflow.tasks.metrics import errors, frame_errors


@task(version=1)
def judge(
    labelled: str,
    *,
    selected: str | None = None,
    discard_energy: float = 0.03,
    discard_force: float = 0.6,
    outlier: float = 5.0,
    reset_energy: float = 0.02,
    reset_force: float = 0.2,
) -> Output:
    """Compare new labels with what the committee predicted, and return the labels that count.

    Two separate decisions. A label is *discarded* if its error is absurd: above an absolute limit, and also
    out of line with the other labels, because a young model is wrong about everything. A walker
    is *reset* if the model is wrong about what it saw: it goes back to its start.

    Parameters
    ----------
    labelled
        Frames with ``REF_*`` and ``predicted_*``.
    selected
        The frames that were sent to be labelled. A walker none of which came back is reset.
    discard_energy, discard_force
        Limits in eV/atom and eV/Å (RMSE of a frame) for a label.
    outlier
        How many times the median error of all new labels a discarded one has.
    reset_energy, reset_force
        Limits in eV/atom and eV/Å for the worst frame of a walker.

    Returns
    -------
    Output
        The accepted frames. The result holds ``labels``, ``accepted``, ``discarded`` (walker, step and errors
        of each), ``reset`` (numbers of walkers), ``errors`` (those of the committee on the accepted frames,
        before it was trained on them) and ``walkers`` (the worst errors of each).
    """
    frames = read_frames(labelled)
    found = [frame_errors(frame) for frame in frames]
    usual = [median(values) for values in zip(*found, strict=True)] if found else [0.0, 0.0]
    limits = [max(limit, outlier * value) for limit, value in zip((discard_energy, discard_force), usual, strict=True)]
    accepted, discarded = [], []
    worst: dict[int, list[float]] = {}
    for frame, (energy, force) in zip(frames, found, strict=True):
        if not (energy <= limits[0] and force <= limits[1]):
            discarded.append(
                {
                    "walker": frame.info.get("walker"),
                    "step": frame.info.get("step"),
                    "energy": energy,
                    "force": force,
                }
            )
            continue
        accepted.append(frame)
        if "walker" in frame.info:
            so_far = worst.setdefault(int(frame.info["walker"]), [0.0, 0.0])
            so_far[:] = max(so_far[0], energy), max(so_far[1], force)
    reset = {walker for walker, (energy, force) in worst.items() if energy > reset_energy or force > reset_force}
    asked = {int(frame.info["walker"]) for frame in read_frames(selected) if "walker" in frame.info}
    reset |= asked - set(worst)
    result = {
        "labels": len(frames),
        "accepted": len(accepted),
        "discarded": discarded,
        "reset": sorted(reset),
        "errors": errors(accepted),
        "walkers": {
            str(walker): {"energy": energy, "force": force} for walker, (energy, force) in sorted(worst.items())
        },
    }
    return Output(result, accepted)


def decide(
    history: Sequence[Mapping[str, Any]], *, accurate: float = 0.95, improvement: float = 0.05
) -> dict[str, Any]:
    """Return whether a campaign has learned what it can: ``stop`` and the ``reason``.

    It stops when two iterations running found ``accurate`` of their frames below the lower trust level,
    and the last training lowered the force error on the same test set by less than ``improvement``.

    Parameters
    ----------
    history
        One entry per iteration: ``fractions`` of the explored frames, ``test`` and ``test_before``, the
        errors of its committee and of the one before on its test set (None in the first).
    """
    if len(history) < 2:
        return {"stop": False, "reason": "fewer than two iterations"}
    parts = [float(entry["fractions"]["accurate"]) for entry in history[-2:]]
    if min(parts) < accurate:
        both = " and ".join(f"{part:.0%}" for part in parts)
        reason = f"{both} of the frames accurate in the last two iterations, {accurate:.0%} wanted in both"
        return {"stop": False, "reason": reason}
    now = history[-1]["test"]["force_rmse"]
    before = (history[-1]["test_before"] or {}).get("force_rmse")
    if now is None or before is None:
        return {"stop": False, "reason": "no test error to compare"}
    gain = 1.0 - now / before if before > 0 else 0.0
    if gain >= improvement:
        return {"stop": False, "reason": f"the test error still fell by {gain:.0%}"}
    return {"stop": True, "reason": f"accurate, and the last training gained {gain:.0%}"}
