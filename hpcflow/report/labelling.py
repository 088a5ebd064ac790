"""What became of the frames that were sent to be labelled."""

from __future__ import annotations

from collections.abc import Sequence

from hpcflow.report.formats import count, number, plural
from hpcflow.report.page import Bar, Block, Section, Table
from hpcflow.report.steps import Iteration

MOST_DISCARDED = 12


def labelling(iterations: Sequence[Iteration]) -> Section | None:
    """New labels: accepted, failed, discarded."""
    labelled = [i for i in iterations if i.asked is not None or i.accepted is not None]
    if not labelled:
        return None
    blocks: list[Block] = [_table(labelled)]
    discarded = [(i, d) for i in labelled for d in i.discarded]
    if discarded:
        rows: list[list[str | Bar]] = [
            [
                i.name,
                "–" if d.walker is None else str(d.walker),
                "–" if d.step is None else count(d.step),
                number(None if d.energy is None else 1000 * d.energy),
                number(None if d.force is None else 1000 * d.force),
            ]
            for i, d in discarded
        ]
        blocks.append(
            Table(
                ["iteration", "walker", "time step", "energy error (meV/atom)", "force RMSE (meV/Å)"],
                rows,
                "lrrrr",
                "Labels that were discarded because prediction and reference are absurdly far apart: look at these "
                "frames before you trust either of them.",
                f"All {plural(len(rows), 'discarded label')}" if len(rows) > MOST_DISCARDED else "",
            )
        )
    return Section("Labels of each iteration", blocks)


def _table(labelled: Sequence[Iteration]) -> Table:
    rows: list[list[str | Bar]] = []
    for i in labelled:
        asked = i.asked or 0
        failed = None if i.asked is None or i.labelled is None else i.asked - i.labelled
        parts = [(i.accepted or 0, "good"), (len(i.discarded), "plain"), (failed or 0, "bad")]
        rows.append(
            [
                i.name,
                "–" if i.asked is None else count(i.asked),
                Bar([(n / asked, tone) for n, tone in parts]) if asked else "",
                "–" if i.accepted is None else count(i.accepted),
                "–" if failed is None else count(failed),
                count(len(i.discarded)),
                number(None if i.new is None or i.new.energy_rmse is None else 1000 * i.new.energy_rmse),
                number(None if i.new is None or i.new.force_rmse is None else 1000 * i.new.force_rmse),
            ]
        )
    caption = (
        "Labels of each iteration. Failed calculations are kept and never trained on; the table of failures has their "
        "reasons. The errors are "
        "those of the committee on the new labels before it was trained on them."
    )
    head = ["iteration", "asked for", "", "accepted", "failed", "discarded", "energy RMSE (meV/atom)"]
    return Table([*head, "force RMSE (meV/Å)"], rows, "lrlrrrrr", caption)
