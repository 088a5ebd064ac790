"""How the last committee was trained: its members, and the validation error on the way."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hpcflow.report.formats import count, number
from hpcflow.report.page import Bar, Block, Figure, Section, Table
from hpcflow.report.steps import Iteration

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas


def training(iterations: Sequence[Iteration]) -> Section | None:
    """The newest committee."""
    trained = [i for i in iterations if i.members]
    if not trained:
        return None
    last = trained[-1]
    blocks: list[Block] = []
    if any(len(m.history) > 1 for m in last.members):
        blocks.append(_figure(last))
    rows: list[list[str | Bar]] = [
        [
            str(m.number),
            "from the model before" if m.refined else "from scratch",
            "–" if m.epochs is None else count(m.epochs),
            "–" if m.best is None else count(m.best),
            number(None if m.energy is None else 1000 * m.energy),
            number(None if m.force is None else 1000 * m.force),
        ]
        for m in last.members
    ]
    head = ["member", "trained", "epochs", "best epoch", "energy RMSE (meV/atom)", "force RMSE (meV/Å)"]
    caption = f"The committee of {last.title}, with errors on the validation set at the best epoch."
    blocks.append(Table(head, rows, "llrrrr", caption))
    return Section("Training", blocks)


def _figure(last: Iteration) -> Figure:
    from hpcflow.report.drawing import SERIES, draw, log_axis

    def plot(canvas: Canvas) -> None:
        axes = canvas.subplots()
        values = []
        for place, member in enumerate(last.members):
            epochs = [epoch for epoch, _ in member.history]
            errors = [1000 * error for _, error in member.history]
            values += errors
            color = SERIES[place % len(SERIES)]
            axes.plot(epochs, errors, "-", color=color, linewidth=1.2, label=f"member {member.number}")
        log_axis(axes, "y", values, factor=3)
        axes.set_xlabel("epoch")
        axes.set_title("force RMSE on the validation set (meV/Å)")
        if len(last.members) <= 2 * len(SERIES):
            canvas.legend(loc="outside right upper")

    caption = (
        f"Error of the forces on the validation set while the committee of {last.title} was trained. Lines "
        "that still fall at the end ask for more epochs."
    )
    return Figure(draw("training", (7.4, 2.5), plot, "Validation error by epoch"), caption)
