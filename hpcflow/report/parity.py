"""The test set frame by frame: predictions against reference values, and what σ says about the errors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcflow.database.results import read_records
from hpcflow.engine.engine import Engine
from hpcflow.engine.retry import succeeded_tasks
from hpcflow.report.formats import THIN, count, number, plural
from hpcflow.report.page import Figure, Section
from hpcflow.report.standing import stage

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

    from hpcflow.report.steps import Iteration

POINTS = 2500
"""More points than this say nothing more, and make the page heavy."""


@dataclass
class Predictions:
    """Predicted and reference values of one test set. Energies in eV/atom, forces in eV/Å."""

    key: str
    energy: np.ndarray
    """Reference and prediction of each frame: shape (2, frames)."""
    force: np.ndarray
    """Reference and prediction of each component: shape (2, components)."""
    deviation: np.ndarray
    """σ of each frame, largest over its atoms."""
    worst: np.ndarray
    """Largest error of the force on an atom of each frame."""


def predictions(engine: Engine) -> Predictions | None:
    """Read what the newest tested committee predicted for its test set, if any has been tested."""
    import numpy as np

    from hpcflow.structures import parse

    tests = [a for a in engine.state.campaign.arrays.values() if a.current and stage(a) == "test" and a.succeeded]
    for array in reversed(tests):
        # The committees are the tasks of this array, and the newest of them is the last.
        newest = succeeded_tasks(engine, array)[-1:]
        records = read_records(engine.path(array), array, engine.state.status.get(array.number), newest)
        frames = [f for record in records for f in parse(record.frames)]
        frames = [f for f in frames if "predicted_forces" in f.arrays and "REF_forces" in f.arrays]
        if frames:
            info = [f.info for f in frames]
            forces = [(f.arrays["REF_forces"], f.arrays["predicted_forces"]) for f in frames]
            pairs = [(f.info["REF_energy"] / len(f), f.info["predicted_energy"] / len(f)) for f in frames]
            return Predictions(
                array.key,
                np.array(pairs, dtype=float).T,
                np.concatenate([np.stack([a.ravel(), b.ravel()]) for a, b in forces], axis=1),
                np.array([float(i.get("deviation", "nan")) for i in info]),
                np.array([float(np.linalg.norm(b - a, axis=1).max()) for a, b in forces]),
            )
    return None


def parity(found: Predictions) -> Section:
    """Predictions against reference values, with their differences below."""
    from hpcflow.report.drawing import BLUE, ORANGE, draw

    energy, force = found.energy, found.force

    def plot(canvas: Canvas) -> None:
        panels = canvas.subplots(2, 2, height_ratios=[3, 1])
        _panel(panels[0][0], panels[1][0], energy, "energy", "eV/atom", "meV/atom", BLUE)
        _panel(panels[0][1], panels[1][1], force, "force component", "eV/Å", "meV/Å", ORANGE)
        canvas.align_ylabels(panels[:, 0])
        canvas.align_ylabels(panels[:, 1])

    shown = min(POINTS, force.shape[1])
    part = (
        f" Of {count(force.shape[1])} force components {count(shown)} are drawn, evenly spread; the errors count all."
        if shown < force.shape[1]
        else ""
    )
    caption = (
        f"Test set of {found.key}, {plural(energy.shape[1], 'frame')}: mean prediction of the committee against the "
        f"reference, and below it the difference. RMSE {number(_rmse(energy))}{THIN}meV/atom for energies and "
        f"{number(_rmse(force))}{THIN}meV/Å for force components.{part}"
    )
    svg = draw("parity", (7.4, 4.9), plot, "Predicted against reference energies and forces")
    return Section("Predictions on the test set", [Figure(svg, caption)])


def _rmse(pair: np.ndarray) -> float:
    return 1000 * float(((pair[1] - pair[0]) ** 2).mean() ** 0.5)


def _panel(top: Axes, bottom: Axes, pair: np.ndarray, what: str, unit: str, small: str, color: str) -> None:
    import numpy as np

    from hpcflow.report.drawing import MUTED, points

    step = -(-pair.shape[1] // POINTS)
    reference, predicted = pair[:, ::step]
    low, high = float(pair.min()), float(pair.max())
    room = 0.04 * (high - low or 1.0)
    ends = [low - room, high + room]
    top.plot(ends, ends, color=MUTED, linewidth=0.8, zorder=1)
    alpha = 0.7 if len(reference) < 300 else 0.3
    points(top, reference, predicted, color, alpha=alpha)
    top.set(xlim=ends, ylim=ends, ylabel=f"predicted ({unit})", title=what)
    top.tick_params(labelbottom=False)
    top.locator_params(nbins=5)
    bottom.axhline(0, color=MUTED, linewidth=0.8, zorder=1)
    difference = 1000 * (predicted - reference)
    points(bottom, reference, difference, color, alpha=alpha)
    reach = 1.1 * float(np.abs(difference).max()) or 1.0
    bottom.set(xlim=ends, ylim=[-reach, reach], xlabel=f"reference ({unit})", ylabel=f"difference\n({small})")
    bottom.locator_params(axis="x", nbins=5)
    bottom.locator_params(axis="y", nbins=3)


def calibration(found: Predictions, iterations: Sequence[Iteration]) -> Section | None:
    """Whether the committee knows where it is wrong: σ of each test frame against its true error."""
    import numpy as np

    good = np.isfinite(found.deviation) & (found.deviation > 0) & (found.worst > 0)
    if good.sum() < 3:
        return None
    from hpcflow.report.drawing import BLUE, MUTED, draw, level, log_axis, padded, points

    sigma, worst = found.deviation[good], found.worst[good]
    spearman = next((i.spearman for i in reversed(iterations) if i.test is not None), None)
    lo, hi = next(((i.lo, i.hi) for i in reversed(iterations) if i.hi), (None, None))

    def plot(canvas: Canvas) -> None:
        axes = canvas.subplots()
        step = -(-len(sigma) // POINTS)
        points(axes, sigma[::step], worst[::step], BLUE, size=4, alpha=0.55)
        both = [float(v) for v in (*sigma, *worst)]
        across = [*(float(v) for v in sigma), *(v for v in (lo, hi) if v)]
        if log_axis(axes, "x", across, 3) and log_axis(axes, "y", worst, 3):
            axes.set_xlim(*padded(across, 0.08))
            axes.set_ylim(*padded(worst, 0.12))
        x, y = axes.get_xlim(), axes.get_ylim()
        axes.plot([min(both), max(both)], [min(both), max(both)], color=MUTED, linewidth=0.8, zorder=1)
        axes.set(xlim=x, ylim=y)
        for value, text in ((lo, "lo"), (hi, "hi")):
            if value and x[0] < value < x[1]:
                level(axes, value, f"{text} {value:g}", "right")
        axes.set_xlabel("σ: largest deviation of the force on an atom among the committee (eV/Å)")
        axes.set_ylabel("largest true force error (eV/Å)")

    caption = (
        f"Each dot is a frame of the test set ({plural(int(good.sum()), 'frame')}). A σ that is worth trusting grows "
        "with the true error; on the line they are equal."
    )
    if spearman is not None:
        caption += (
            f" Spearman's rank correlation is {number(spearman, 2)} (1: σ puts the frames in the order of their "
            "errors; 0: it knows nothing)."
        )
    if lo and hi:
        caption += " Frames with σ between the trust levels lo and hi are those that are worth a label."
    svg = draw("calibration", (7.4, 3.3), plot, "Committee deviation against true force error")
    return Section("What σ is worth", [Figure(svg, caption)])
