"""What a campaign has cost so far, step by step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcflow.database.state import ArrayState
from hpcflow.engine.engine import Engine
from hpcflow.errors import UserError
from hpcflow.report.formats import core_time, count, hours, number, percent, plural
from hpcflow.report.page import Bar, Figure, Section, Table
from hpcflow.report.standing import stage

if TYPE_CHECKING:
    from matplotlib.figure import Figure as Canvas


@dataclass
class Cost:
    """Sums over arrays. Times in seconds."""

    arrays: int = 0
    tasks: int = 0
    """Results that it computed."""
    taken: int = 0
    """Results that it took over from earlier arrays."""
    cores: float = 0.0
    """Core-seconds, wasted ones included."""
    wasted: float = 0.0
    gpus: float | None = 0.0
    """GPU-seconds of results; None if it cannot be known how many GPUs a slot had."""
    nodes: float = 0.0
    """Seconds that workers were there, from their first word to their last."""
    repeated: int = 0

    def add(self, engine: Engine, array: ArrayState) -> None:
        self.arrays += 1
        self.tasks += max(0, array.succeeded - array.taken)
        self.taken += array.taken
        self.cores += array.core_seconds + array.wasted
        self.wasted += array.wasted
        share = gpus_per_slot(engine, array)
        # What was taken over was paid for elsewhere; its seconds are known in the mean only.
        computed = array.seconds * max(0, array.succeeded - array.taken) / max(1, array.succeeded)
        self.gpus = None if share is None or self.gpus is None else self.gpus + share * computed
        live = sum(max(0.0, w.last - w.hello) for w in array.workers.values() if w.hello and w.job)
        self.nodes += array.node_seconds if array.done else live
        self.repeated += array.repeated

    @property
    def waste(self) -> float:
        """Wasted share."""
        return self.wasted / self.cores if self.cores else 0.0


def gpus_per_slot(engine: Engine, array: ArrayState) -> int | None:
    """How many GPUs each task of an array had; None where jobs differ or their site is not known any more."""
    jobs = [job for job in engine.state.campaign.jobs.values() if job.array == array.number]
    found = set()
    for job in jobs:
        try:
            own = job.request.get("gpus")
            name = "default" if array.call else job.task_class
            found.add(int(engine.task_class(job.site, name).gpus if own is None else own))
        except UserError:
            return None
    if not found:
        return 0
    return found.pop() if len(found) == 1 else None


def total(engine: Engine) -> Cost:
    """The cost of the whole campaign, calls and replaced arrays included."""
    cost = Cost()
    for array in engine.state.campaign.arrays.values():
        cost.add(engine, array)
    return cost


def cost(engine: Engine) -> Section | None:
    """A table by step, and where the time went, iteration by iteration."""
    everything = total(engine)
    if not everything.cores:
        return None
    stages: dict[str, Cost] = {}
    for array in engine.state.campaign.arrays.values():
        # Light work between the steps is many calls that cost next to nothing each.
        stages.setdefault("light work (calls)" if array.call else stage(array), Cost()).add(engine, array)
    section = Section("What it has cost", [_table(stages, everything)])
    drawing = _drawing(engine)
    if drawing is not None:
        section.blocks.append(drawing)
    return section


def _table(stages: dict[str, Cost], everything: Cost) -> Table:
    with_gpus = everything.gpus is None or everything.gpus > 0
    rows = []
    names = sorted(stages, key=lambda name: -stages[name].cores)
    for name, one in [(name, stages[name]) for name in names] + [("all", everything)]:
        row: list[str | Bar] = [
            name,
            count(one.arrays),
            count(one.tasks),
            *([count(one.taken)] if everything.taken else []),
            Bar([(one.cores / everything.cores, "plain")]),
            hours(one.cores),
            *([hours(one.gpus)] if with_gpus else []),
            hours(one.nodes),
            percent(one.waste),
            count(one.repeated),
        ]
        rows.append(row)
    head = [
        "step",
        "arrays",
        "results",
        *(["taken over"] if everything.taken else []),
        "",
        "core-hours",
        *(["GPU-hours"] if with_gpus else []),
    ]
    head += ["worker-hours", "wasted", "repeated tasks"]
    caption = (
        "Cost by step. Core-hours are the time of all attempts times the cores that a task had; the wasted share is "
        "that of attempts that brought neither a result nor a checkpoint, and of tasks that ran twice to the end "
        "(repeated). Worker-hours count from the first to the last word of each worker, idle time included."
    )
    if with_gpus:
        caption += " GPU-hours are those of accepted results; – where a task's GPUs are not known any more."
    if everything.taken:
        caption += " Results are counted where they were computed; those taken over from earlier arrays cost nothing."
    align = "lrrrl" if everything.taken else "lrrl"
    return Table(head, rows, align + "r" * (len(head) - len(align)), caption)


def _drawing(engine: Engine) -> Figure | None:
    """Core time of each iteration by step; only where there are several iterations."""
    table: dict[str, dict[str, float]] = {}
    for array in engine.state.campaign.arrays.values():
        if "/" not in array.key:
            continue
        scope = array.key.split("/", 1)[0]
        mine = table.setdefault(scope, {})
        name = "calls" if array.call else stage(array)
        mine[name] = mine.get(name, 0.0) + array.core_seconds + array.wasted
    if len(table) < 2:
        return None
    sums: dict[str, float] = {}
    for mine in table.values():
        for name, value in mine.items():
            sums[name] = sums.get(name, 0.0) + value
    unit, length = core_time(sum(sums.values()))
    from hpcflow.report.drawing import PALE, SERIES, draw

    names = sorted(sums, key=lambda name: -sums[name])
    shown, rest = names[:5], names[5:]
    series = [(name, [mine.get(name, 0.0) / length for mine in table.values()]) for name in shown]
    if rest:
        series.append(("other", [sum(mine.get(name, 0.0) for name in rest) / length for mine in table.values()]))

    def plot(canvas: Canvas) -> None:
        axes = canvas.subplots()
        base = [0.0] * len(table)
        labels = [scope.replace("iterations[", "").replace("]", "") for scope in table]
        for (name, values), color in zip(series, [*SERIES, PALE], strict=False):
            axes.bar(labels, values, bottom=base, color=color, width=0.62, label=name)
            base = [low + more for low, more in zip(base, values, strict=True)]
        axes.set_xlabel("iteration")
        axes.set_ylabel(unit)
        axes.grid(visible=False, axis="x")
        canvas.legend(loc="outside right upper", reverse=True)

    svg = draw("cost", (7.4, 2.5), plot, f"{unit} of each iteration, by step")
    spent = number(sum(sums.values()) / length)
    caption = f"Cost by iteration and step: {spent} {unit} in all over {plural(len(table), 'iteration')}."
    return Figure(svg, caption)
