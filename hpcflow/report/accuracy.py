"""How good the models are: learning curve, errors of each iteration, and errors by kind of structure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcflow.report.formats import THIN, count, number
from hpcflow.report.page import Bar, Block, Figure, Section, Table, Text
from hpcflow.report.steps import Errors, Iteration

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

QUANTITIES = (("energy", "energy RMSE (meV/atom)"), ("force", "force RMSE (meV/Å)"))
MOST_KINDS = 3
"""Kinds of structures that have a line of their own in a figure."""


@dataclass
class Point:
    """One committee on the learning curve."""

    name: str
    frames: int
    """It was trained on."""
    errors: Errors


def tested(iterations: Sequence[Iteration]) -> list[Iteration]:
    """Those whose committee has been tested."""
    return [i for i in iterations if i.test is not None and i.test.energy_rmse is not None]


def learning_curve(iterations: Sequence[Iteration]) -> tuple[list[Point], bool]:
    """The errors of all committees, and whether they are on one and the same test set.

    At the end of a campaign all committees are compared on the last test set. Before that, each has only been
    tested on the test set of its own iteration.
    """
    done = tested(iterations)
    same = bool(done) and len(done[-1].curve) == len(done)
    errors = done[-1].curve if same else [i.test for i in done]
    return [
        Point(i.name, i.train_frames, e) for i, e in zip(done, errors, strict=True) if i.train_frames and e is not None
    ], same


def accuracy(iterations: Sequence[Iteration]) -> Section | None:
    """Errors on the test set, as they fell."""
    done = tested(iterations)
    if not done:
        return None
    blocks: list[Block] = []
    points, same = learning_curve(iterations)
    if len(points) > 1:
        blocks.append(_curve(points, same))
    if len(done) > 1:
        blocks.append(_by_iteration(done))
    blocks.append(_table(done))
    if len(done[-1].types) > 1:
        blocks.append(_types_table(done[-1]))
    decision = _decision(iterations)
    if decision:
        blocks.append(Text(decision))
    return Section("How good the models are", blocks)


def _decision(iterations: Sequence[Iteration]) -> str:
    decided = [i for i in iterations if i.decision]
    if not decided:
        return ""
    last = decided[-1]
    text = f"Decision after {last.title}: {'stop' if last.stop else 'go on'} ({last.decision})."
    if iterations[-1].name == "final" and not last.stop:
        text += " It was the last iteration all the same, because the campaign has no more of them."
    return text


def rmse(errors: Errors | None, quantity: str) -> float | None:
    """In meV/atom or meV/Å."""
    value = None if errors is None else errors.energy_rmse if quantity == "energy" else errors.force_rmse
    return None if value is None else 1000 * value


def _curve(points: Sequence[Point], same: bool) -> Figure:
    from hpcflow.report.drawing import BLUE, INK, ORANGE, draw, log_axis, padded, spans

    # Of two panels side by side both are logarithmic or none.
    factor = 1.0 if any(spans([rmse(p.errors, q) for p in points]) > 3 for q, _ in QUANTITIES) else 1e9

    def panel(axes: Axes, quantity: str, label: str, color: str) -> None:
        known = [(float(p.frames), error, p.name) for p in points if (error := rmse(p.errors, quantity))]
        axes.set_xlabel("training frames")
        axes.set_title(label)
        if not known:
            return
        x, y = [point[0] for point in known], [point[1] for point in known]
        axes.plot(x, y, "o-", color=color)
        if log_axis(axes, "x", x, factor=3):
            axes.set_xlim(*padded(x))
        else:
            axes.margins(x=0.12)
        if log_axis(axes, "y", y, factor):
            axes.set_ylim(*padded(y, 0.2))
        else:
            axes.set_ylim(0, max(y) * 1.25)
        for k in range(0, len(known), 1 + len(known) // 10):
            axes.annotate(
                known[k][2], (x[k], y[k]), (0, 6), textcoords="offset points", ha="center", fontsize=7.5, color=INK
            )

    def plot(canvas: Canvas) -> None:
        panels = canvas.subplots(1, 2)
        for axes, (quantity, label), color in zip(panels, QUANTITIES, (BLUE, ORANGE), strict=True):
            panel(axes, quantity, label, color)

    first, last = points[0], points[-1]
    energies, forces = ([number(rmse(p.errors, q)) for p in (first, last)] for q in ("energy", "force"))
    which = (
        "all committees on the last test set, which none of them was trained on"
        if same
        else "each committee on the test set of its iteration"
    )
    caption = (
        f"Learning curve: root-mean-square error against the number of training frames, {which}. Labels are "
        f"iterations. From {count(first.frames)} to {count(last.frames)} training frames the error of the energy went "
        f"from {energies[0]} to {energies[1]}{THIN}meV/atom, that of the forces from {forces[0]} to "
        f"{forces[1]}{THIN}meV/Å."
    )
    return Figure(draw("learning", (7.4, 2.7), plot, "Learning curve of energies and forces"), caption)


def _by_iteration(done: Sequence[Iteration]) -> Figure:
    from hpcflow.report.drawing import BLUE, GREEN, MUTED, ORANGE, PURPLE, SURFACE, YELLOW, draw

    sizes = done[-1].types
    kinds = sorted(sizes, key=lambda kind: -sizes[kind].frames)[:MOST_KINDS] if len(sizes) > 1 else []
    befores = any(i.before is not None for i in done)

    def line(errors: list[Errors | None], quantity: str) -> tuple[list[int], list[float]]:
        known = [(place, y) for place, e in enumerate(errors) if (y := rmse(e, quantity)) is not None]
        return [place for place, _ in known], [y for _, y in known]

    def panel(axes: Axes, quantity: str, label: str, color: str) -> None:
        thin: list[float] = []
        for kind, hue in zip(kinds, (GREEN, PURPLE, YELLOW), strict=False):
            places, values = line([i.types.get(kind) for i in done], quantity)
            axes.plot(places, values, "-", color=hue, linewidth=1, label=kind)
            thin += values
        now = line([i.test for i in done], quantity)
        axes.plot(*now, "o-", color=color, label="all frames", zorder=3)
        old = line([i.before for i in done], quantity)
        if befores:
            axes.plot(*old, "o", color=SURFACE, markeredgecolor=MUTED, label="committee before", zorder=4)
        axes.set_ylim(0, 1.15 * max([*now[1], *old[1], *thin], default=1.0))
        axes.set_xticks(range(len(done)), [i.name for i in done])
        axes.locator_params(axis="y", nbins=6)
        if len(done) > 12:
            for place, tick in enumerate(axes.get_xticklabels()):
                tick.set_visible(place % (1 + len(done) // 12) == 0)
        axes.margins(x=0.08)
        axes.set_xlabel("iteration")
        axes.set_title(label)

    def plot(canvas: Canvas) -> None:
        panels = canvas.subplots(1, 2)
        for axes, (quantity, label), color in zip(panels, QUANTITIES, (BLUE, ORANGE), strict=True):
            panel(axes, quantity, label, color)
        if kinds or befores:
            handles, labels = panels[0].get_legend_handles_labels()
            canvas.legend(handles, labels, loc="outside lower center", ncols=len(handles))

    caption = "Error on the test set of each iteration, which grows with new labels."
    if befores:
        caption += (
            " Hollow: the committee of the iteration before on the same test set; the step from hollow to filled is "
            "what the last training brought."
        )
    if kinds:
        caption += " Thin: the most frequent kinds of structures (config_type)."
    return Figure(draw("iterations", (7.4, 2.9), plot, "Test errors by iteration"), caption)


def _table(done: Sequence[Iteration]) -> Table:
    stress = any(i.test is not None and i.test.stress_rmse is not None for i in done)
    rows: list[list[str | Bar]] = [
        [
            i.name,
            "–" if i.train_frames is None else count(i.train_frames),
            count(i.test.frames),
            *_numbers(i.test, stress),
            number(i.spearman, 2),
        ]
        for i in done
        if i.test is not None
    ]
    head = ["iteration", "training frames", "test frames", *_heads(stress), "Spearman σ"]
    caption = (
        "Errors of the committee's mean on the test set of each iteration. Spearman: rank correlation of the deviation "
        "σ with the true error."
    )
    return Table(head, rows, "l" + "r" * (len(head) - 1), caption)


def _types_table(last: Iteration) -> Table:
    stress = any(e.stress_rmse is not None for e in last.types.values())
    rows: list[list[str | Bar]] = [
        [kind, count(errors.frames), *_numbers(errors, stress)]
        for kind, errors in sorted(last.types.items(), key=lambda item: -item[1].frames)
    ]
    caption = f"Errors on the test set by kind of structure (config_type), {last.title}."
    head = ["config_type", "frames", *_heads(stress)]
    return Table(head, rows, "l" + "r" * (len(head) - 1), caption)


def _heads(stress: bool) -> list[str]:
    heads = ["energy RMSE (meV/atom)", "MAE", "force RMSE (meV/Å)", "MAE"]
    return heads + (["stress RMSE (meV/Å³)", "MAE"] if stress else [])


def _numbers(errors: Errors, stress: bool) -> list[str]:
    values = [errors.energy_rmse, errors.energy_mae, errors.force_rmse, errors.force_mae]
    values += [errors.stress_rmse, errors.stress_mae] if stress else []
    return [number(None if value is None else 1000 * value) for value in values]
