"""What the tasks of plain arrays returned and how long they took: labels of structures, and times."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from hpcflow.database.results import Accepted, read_records
from hpcflow.database.state import ArrayState
from hpcflow.engine.engine import Engine
from hpcflow.engine.retry import succeeded_tasks
from hpcflow.report.formats import THIN, count, duration, number, plural
from hpcflow.report.page import Block, Figure, Section
from hpcflow.report.standing import arrays_of, stage

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

MOST = 4000
"""Of a longer array so many tasks are looked at, evenly spread."""


def sample(engine: Engine, array: ArrayState, most: int = MOST) -> list[Accepted]:
    """Accepted records of an array: all of them, or some, evenly spread."""
    tasks = succeeded_tasks(engine, array)
    if len(tasks) > most:
        tasks = [tasks[i * len(tasks) // most] for i in range(most)]
    return list(read_records(engine.path(array), array, engine.state.status.get(array.number), tasks))


def times(engine: Engine) -> Section | None:
    """How long tasks took, by step."""
    found: dict[str, list[float]] = {}
    whole = True
    for array in arrays_of(engine.state.campaign):
        if array.succeeded:
            records = sample(engine, array)
            whole = whole and len(records) == array.succeeded
            seconds = [float(r.header["seconds"]) for r in records if r.header.get("seconds", 0) > 0]
            found.setdefault(stage(array), []).extend(seconds)
    found = {name: seconds for name, seconds in found.items() if seconds}
    if not found or max(map(len, found.values())) < 5:
        return None
    part = "" if whole else f" Of long arrays {count(MOST)} tasks were looked at, evenly spread."
    block = _one_histogram(found, part) if len(found) == 1 else _strips(found, part)
    return Section("Time per task", [block])


def _one_histogram(found: dict[str, list[float]], part: str) -> Figure:
    import numpy as np

    from hpcflow.report.drawing import BLUE, draw

    (name, seconds), unit, scale = next(iter(found.items())), "s", 1.0
    middle = float(np.median(seconds))
    for other, length in (("h", 3600.0), ("min", 60.0), ("ms", 1e-3)):
        if (length > 1 and middle >= length) or (length < 1 and middle < 0.5):
            unit, scale = other, length
            break

    def plot(canvas: Canvas) -> None:
        axes = canvas.subplots()
        _histogram(axes, np.array(seconds) / scale, BLUE)
        axes.set_xlabel(f"time per task ({unit})")
        axes.set_ylabel("tasks")

    slow = float(np.max(seconds))
    caption = (
        f"Time of {plural(len(seconds), 'task')} of {name}: median {duration(middle)}, longest {duration(slow)}.{part}"
    )
    return Figure(draw("times", (7.4, 2.3), plot, f"Histogram of the time per task of {name}"), caption)


def _strips(found: dict[str, list[float]], part: str) -> Figure:
    from hpcflow.report.drawing import BLUE, PALE, SURFACE, draw

    names = sorted(found, key=lambda name: sum(found[name]))[-12:]

    def plot(canvas: Canvas) -> None:
        import numpy as np

        axes = canvas.subplots()
        for row, name in enumerate(names):
            low, q1, middle, q3, high = np.percentile(found[name], [0, 25, 50, 75, 100])
            axes.plot([low, high], [row, row], color=PALE, linewidth=3, solid_capstyle="round")
            axes.plot([q1, q3], [row, row], color=BLUE, linewidth=7, solid_capstyle="round")
            axes.plot(middle, row, "o", color=SURFACE, markersize=4, markeredgecolor=BLUE)
        _time_axis(axes, [v for name in names for v in found[name]])
        axes.set_yticks(range(len(names)), names)
        axes.set_ylim(-0.6, len(names) - 0.4)
        axes.grid(visible=False, axis="y")
        axes.spines["left"].set_visible(False)
        axes.set_xlabel("time per task")

    caption = f"Time per task by step: all tasks (thin), the middle half of them (thick) and the median (dot).{part}"
    size = (7.4, 0.7 + 0.27 * len(names))
    return Figure(draw("times", size, plot, "Time per task, by step"), caption)


def _time_axis(axes: Axes, seconds: list[float]) -> None:
    """Logarithmic, with marks where people count time."""
    from matplotlib.ticker import NullLocator

    marks = [1e-6, 1e-5, 1e-4, 1e-3, 0.01, 0.1, 1, 10, 60, 600, 3600, 6 * 3600, 86400, 7 * 86400]
    axes.set_xscale("log")
    axes.set_xlim(min(seconds) / 1.5, max(seconds) * 1.5)
    low, high = axes.get_xlim()
    shown = [mark for mark in marks if low <= mark <= high]
    if len(shown) < 2:
        middle = (low * high) ** 0.5
        shown = [float(f"{mark:.1g}") for mark in ((low * middle) ** 0.5, middle, (middle * high) ** 0.5)]
    axes.set_xticks(shown, [duration(mark, 1) for mark in shown])
    axes.xaxis.set_minor_locator(NullLocator())


@dataclass
class Labels:
    """What reference calculations returned for some frames of a step."""

    name: str
    """Of the step, or of its one array."""
    energies: np.ndarray
    """In eV/atom."""
    forces: np.ndarray
    """Largest force on any atom of a frame, in eV/Å."""
    atoms: int
    isolated: int
    """Isolated atoms, which are not among the frames."""
    succeeded: int
    """Results that there are; of more than MOST only some were looked at."""


def read_labels(engine: Engine, arrays: Sequence[ArrayState]) -> Labels | None:
    """The labels among the results of a step's arrays, or None if there are no frames with a ``REF_energy``."""
    import numpy as np

    from hpcflow.structures import parse

    energies: list[float] = []
    forces: list[float] = []
    atoms = isolated = 0
    succeeded = sum(array.succeeded for array in arrays)
    for array in arrays:
        share = array.succeeded if succeeded <= MOST else max(1, MOST * array.succeeded // succeeded)
        for record in sample(engine, array, share):
            if b"REF_energy" not in record.frames[:100_000]:
                if not energies and not isolated:
                    return None
                continue
            for frame in parse(record.frames):
                if "REF_energy" not in frame.info or not len(frame):
                    continue
                # An isolated atom is no structure: its energy per atom is far from all others.
                if frame.info.get("config_type") == "IsolatedAtom":
                    isolated += 1
                    continue
                atoms += len(frame)
                energies.append(float(frame.info["REF_energy"]) / len(frame))
                if "REF_forces" in frame.arrays:
                    forces.append(float(np.linalg.norm(frame.arrays["REF_forces"], axis=1).max()))
    name = arrays[0].key if len(arrays) == 1 else f"{stage(arrays[0])} ({len(arrays)} arrays)"
    return Labels(name, np.array(energies), np.array(forces), atoms, isolated, succeeded) if energies else None


def labels(engine: Engine) -> Section | None:
    """Distributions of what reference calculations gave, for each step that labels: all of its arrays together."""
    steps: dict[str, list[ArrayState]] = {}
    for array in arrays_of(engine.state.campaign):
        if array.succeeded:
            steps.setdefault(stage(array), []).append(array)
    blocks: list[Block] = []
    for name, arrays in steps.items():
        # Other steps of an iteration may return labelled frames that somebody gave them, as a test does.
        labelling = any("/" not in array.key or array.task_class == "reference" for array in arrays)
        found = read_labels(engine, arrays) if labelling else None
        if found is not None:
            blocks.append(_labels_figure(name, found))
    return Section("Reference labels", blocks) if blocks else None


def _labels_figure(step: str, found: Labels) -> Figure:
    import numpy as np

    from hpcflow.report.drawing import BLUE, ORANGE, draw

    def plot(canvas: Canvas) -> None:
        left, right = canvas.subplots(1, 2)
        _histogram(left, found.energies, BLUE)
        left.set_xlabel("energy (eV/atom)")
        left.set_ylabel("frames")
        _histogram(right, found.forces, ORANGE)
        right.set_xlabel("largest force on an atom (eV/Å)")

    frames = len(found.energies)
    which = plural(frames, "labelled frame")
    if found.succeeded > MOST:
        which = f"{which} of {count(found.succeeded)}, evenly spread,"
    force = (
        f" The largest force of a frame has the median {number(float(np.median(found.forces)))}{THIN}eV/Å and reaches "
        f"{number(float(found.forces.max()))}{THIN}eV/Å."
        if len(found.forces)
        else ""
    )
    caption = (
        f"{which} of {found.name}, {number(found.atoms / frames)} atoms each in the mean. Energies from "
        f"{number(float(found.energies.min()), 4)} to {number(float(found.energies.max()), 4)}{THIN}eV/atom.{force}"
    )
    if found.isolated:
        caption += f" {plural(found.isolated, 'isolated atom')} left out: the energy of one is far from all others."
    name = f"labels-{step}"
    return Figure(draw(name, (7.4, 2.4), plot, "Histograms of energy per atom and largest force"), caption)


def _histogram(axes: Axes, values: np.ndarray, color: str) -> None:
    axes.hist(values, bins=min(40, max(8, int(len(values) ** 0.5))), color=color, alpha=0.85, rwidth=0.94)
    axes.grid(visible=False, axis="x")
