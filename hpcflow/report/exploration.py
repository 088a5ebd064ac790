"""What the walkers saw: deviations, walkers, and the frames that were chosen for labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from hpcflow.engine.engine import Engine
from hpcflow.report.formats import count, number, percent, plain, plural
from hpcflow.report.outcomes import sample
from hpcflow.report.page import Bar, Block, Figure, Section, Table
from hpcflow.report.standing import arrays_of
from hpcflow.report.steps import Histogram, Iteration, Values, walker

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas

RIDGES = 6
"""The first iteration and the latest ones are drawn, so many in all."""

MANY_WALKERS = 24
"""More than these are folded."""

MOST_WALKERS = 400
"""Of more walkers these are read, evenly spread."""

CHOSEN = {
    "candidate": "between the levels, unlike all others",
    "fill": "to reach the least number",
    "control": "random picks",
}
LEFT = {
    "accurate": "known well",
    "surplus": "beyond the most",
    "duplicate": "known already",
    "failed": "not to be trusted",
}
"""What the reasons of the selection mean, in the words of a heading."""


def exploration(iterations: Sequence[Iteration]) -> Section | None:
    """Deviations of the explored frames, and the walkers."""
    blocks: list[Block] = []
    drawn = [i for i in iterations if i.histogram is not None and sum(i.histogram.counts) > 0]
    if drawn:
        blocks.append(_ridges(drawn[:1] + drawn[1:][-(RIDGES - 1) :]))
    explored = [i for i in iterations if i.explored is not None]
    if explored:
        blocks.append(_fractions(explored))
    walked = [i for i in iterations if i.walkers]
    if walked:
        if len(walked) > 1:
            blocks.append(_walkers_by_iteration(walked))
        blocks.append(_walkers(walked[-1]))
    return Section("Exploration", blocks) if blocks else None


def sampled(engine: Engine) -> Iteration | None:
    """The same for a campaign that does nothing but explore and writes no metrics: read from its results."""
    import numpy as np

    from hpcflow.structures import parse

    arrays = [a for a in arrays_of(engine.state.campaign) if a.key == "explore" and a.succeeded]
    if not arrays:
        return None
    i = Iteration("all")
    deviations: list[float] = []
    for record in sample(engine, arrays[-1], MOST_WALKERS):
        if isinstance(record.result, dict) and "status" in record.result:
            i.walkers.append(walker(Values(record.result, "", []), []))
        frames = [frame.info for frame in parse(record.frames)]
        deviations += [float(info["deviation"]) for info in frames if "deviation" in info]
    finite = [value for value in deviations if np.isfinite(value)]
    if finite and max(finite) > 0:
        counts, edges = np.histogram(finite, bins=30, range=(0.0, max(finite)))
        i.histogram = Histogram(edges.tolist(), counts.tolist())
    return i


def _ridges(drawn: Sequence[Iteration]) -> Figure:
    import numpy as np

    from hpcflow.report.drawing import BLUE, GREEN, ORANGE, draw, level

    his = [i.hi for i in drawn if i.hi]
    edge = max(float(i.histogram.edges[-1]) for i in drawn if i.histogram is not None)
    end = min(edge, 2.0 * max(his)) if his else edge
    beyond = 0

    for i in drawn:
        assert i.histogram is not None
        middles = (np.array(i.histogram.edges[1:]) + np.array(i.histogram.edges[:-1])) / 2
        beyond += int(np.array(i.histogram.counts)[middles > end].sum())

    def plot(canvas: Canvas) -> None:
        rows = canvas.subplots(len(drawn), 1, sharex=True, squeeze=False)[:, 0]
        for axes, i in zip(rows, drawn, strict=True):
            assert i.histogram is not None
            edges, counts = np.array(i.histogram.edges), np.array(i.histogram.counts)
            middles = (edges[1:] + edges[:-1]) / 2
            lo, hi = i.lo or 0.0, i.hi or np.inf
            colors = np.where(middles < lo, GREEN, np.where(middles < hi, BLUE, ORANGE))
            axes.bar(edges[:-1], counts, width=np.diff(edges) * 0.94, align="edge", color=colors.tolist())
            axes.set_xlim(0, end)
            axes.set_ylim(0, 1.25 * float(counts[edges[:-1] < end].max(initial=1)))
            axes.grid(visible=False)
            axes.locator_params(axis="y", nbins=2)
            name = "" if i.name == "all" else i.title
            axes.annotate(name, (1.01, 0.5), xycoords="axes fraction", fontsize=8, fontweight="bold", va="center")
            for value, text in ((i.lo, "lo"), (i.hi, "hi")):
                if value and value < end:
                    level(axes, value, f"{text} {value:.3g}", "right" if value < 0.9 * end else "left")
        rows[-1].set_xlabel("σ: largest deviation of the force on an atom among the committee (eV/Å)")
        canvas.supylabel("frames", fontsize=8.5)

    caption = (
        "Deviation σ of the frames that the walkers saw. Below lo (green) the committee agrees, from hi on (orange) it "
        "is not to be trusted; what lies between (blue) is worth a label. As the model learns, frames move to the left."
    )
    if beyond:
        caption += f" Outside the figure: {plural(beyond, 'frame')} with larger σ."
    size = (7.4, 0.75 + 0.85 * len(drawn))
    return Figure(draw("deviations", size, plot, "Histograms of the deviation, by iteration"), caption)


def _fractions(explored: Sequence[Iteration]) -> Table:
    rows: list[list[str | Bar]] = []
    for i in explored:
        assert i.explored is not None
        accurate, candidate, failed = i.explored
        rows.append(
            [
                i.name,
                "–" if i.frames is None else count(i.frames),
                Bar([(accurate, "good"), (candidate, "middle"), (failed, "bad")]),
                percent(accurate),
                percent(candidate),
                percent(failed),
                plain(i.lo),
                plain(i.hi),
            ]
        )
    caption = (
        "What the walkers saw, by deviation σ: accurate (σ below lo), candidates (between) and failed (from hi on, not "
        "a number, or stopped by another guard)."
    )
    head = ["iteration", "frames", "", "accurate", "candidates", "failed", "lo (eV/Å)", "hi (eV/Å)"]
    return Table(head, rows, "lrlrrrrr", caption)


def _walkers_by_iteration(walked: Sequence[Iteration]) -> Table:
    rows: list[list[str | Bar]] = []
    for i in walked:
        unsafe = sum(1 for w in i.walkers if w.status == "unsafe")
        hot = [w.temperature for w in i.walkers if w.temperature is not None]
        rows.append(
            [
                i.name,
                count(len(i.walkers)),
                Bar([((len(i.walkers) - unsafe) / len(i.walkers), "good"), (unsafe / len(i.walkers), "bad")]),
                count(unsafe),
                count(sum(w.steps for w in i.walkers)),
                f"{min(hot):.0f} to {max(hot):.0f}" if hot else "–",
                count(sum(1 for w in i.walkers if w.reset)),
            ]
        )
    caption = "Walkers by iteration. An unsafe one was stopped by a guard; a reset one goes back to its start."
    head = ["iteration", "walkers", "", "unsafe", "time steps", "mean temperatures (K)", "reset"]
    return Table(head, rows, "lrlrrrr", caption)


def _walkers(last: Iteration) -> Table:
    rows: list[list[str | Bar]] = [
        [
            str(w.number),
            number(w.temperature),
            count(w.steps),
            w.status,
            w.reason or "",
            "reset" if w.reset else "",
        ]
        for w in last.walkers
    ]
    head = ["walker", "mean temperature (K)", "time steps", "status", "why", ""]
    caption = f"The walkers of {last.title}, with the guard that stopped them."
    folded = f"All {len(rows)} walkers of {last.title}" if len(rows) > MANY_WALKERS else ""
    return Table(head, rows, "lrrlll", caption, folded)


def selection(iterations: Sequence[Iteration]) -> Section | None:
    """How many frames were chosen, and why the others were not."""
    chosen = [i for i in iterations if i.reasons]
    if not chosen:
        return None
    seen = {reason for i in chosen for reason in i.reasons}
    order = [r for r in (*CHOSEN, *LEFT) if r in seen] + sorted(seen - set(CHOSEN) - set(LEFT))
    rows: list[list[str | Bar]] = []
    for i in chosen:
        total = sum(i.reasons.values())
        took = sum(n for reason, n in i.reasons.items() if reason in CHOSEN)
        rows.append(
            [
                i.name,
                count(total),
                Bar([(took / total, "middle")]) if total else "",
                count(took),
                *(count(i.reasons.get(reason, 0)) for reason in order),
            ]
        )
    meanings = "; ".join(f"{reason}: {meaning}" for reason, meaning in {**CHOSEN, **LEFT}.items() if reason in seen)
    caption = f"Frames by what became of them. {meanings[:1].upper()}{meanings[1:]}."
    head = ["iteration", "frames", "", "chosen", *order]
    return Section("Selection", [Table(head, rows, "lrlr" + "r" * len(order), caption)])
