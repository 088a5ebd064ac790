"""``metrics.jsonl``, read with care: what cannot be understood is left out and said, and never stops a report."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass
class Errors:
    """Of predictions against labels. Energies in eV/atom, forces in eV/Å, stress in eV/Å³."""

    frames: int = 0
    energy_rmse: float | None = None
    energy_mae: float | None = None
    force_rmse: float | None = None
    force_mae: float | None = None
    stress_rmse: float | None = None
    stress_mae: float | None = None


@dataclass
class Histogram:
    """Counts between edges; one more edge than counts."""

    edges: list[float]
    counts: list[float]


@dataclass
class Walker:
    """One walker in one iteration."""

    number: int
    status: str
    steps: int
    reason: str | None
    temperature: float | None
    """Mean, in K."""
    reset: bool = False


@dataclass
class Member:
    """The training of one model of a committee."""

    number: int
    epochs: int | None
    best: int | None
    """The epoch whose model was kept."""
    energy: float | None
    """RMSE on the validation set, in eV/atom."""
    force: float | None
    """RMSE on the validation set, in eV/Å."""
    refined: bool
    history: list[tuple[float, float]]
    """Epochs, and the force RMSE on the validation set in eV/Å after them."""


@dataclass
class Discarded:
    """A label that was too far from its prediction; errors in eV/atom and eV/Å."""

    walker: int | None
    step: int | None
    energy: float | None
    force: float | None


@dataclass
class Iteration:
    """What the metrics say of one iteration; what they do not say is None or empty."""

    name: str
    """Its number; ``final``; or ``all`` of a campaign without iterations."""

    @property
    def title(self) -> str:
        return {"final": "the final training", "all": "this campaign"}.get(self.name, f"iteration {self.name}")

    train_frames: int | None = None
    members: list[Member] = field(default_factory=list)
    test: Errors | None = None
    before: Errors | None = None
    """Of the committee of the iteration before, on the same test set."""
    curve: list[Errors] = field(default_factory=list)
    """Of all committees so far on the same test set, the latest last."""
    types: dict[str, Errors] = field(default_factory=dict)
    spearman: float | None = None
    frames: int | None = None
    """Explored."""
    lo: float | None = None
    hi: float | None = None
    explored: tuple[float, float, float] | None = None
    """Fractions of explored frames: accurate, candidate, failed."""
    histogram: Histogram | None = None
    reasons: dict[str, int] = field(default_factory=dict)
    walkers: list[Walker] = field(default_factory=list)
    asked: int | None = None
    labelled: int | None = None
    accepted: int | None = None
    discarded: list[Discarded] = field(default_factory=list)
    new: Errors | None = None
    """Of the committee on the new labels, before it was trained on them."""
    stop: bool = False
    decision: str = ""
    """Why it stopped there or went on."""


@dataclass
class Metrics:
    """All of a file."""

    iterations: list[Iteration] = field(default_factory=list)
    others: list[dict[str, Any]] = field(default_factory=list)
    """Lines of other steps, as they are."""
    notes: list[str] = field(default_factory=list)


class Values:
    """A JSON object of a line: gives values of the wanted kind, and notes those of another."""

    def __init__(self, values: dict[str, Any], where: str, notes: list[str]) -> None:
        self._values = values
        self._where = where
        self._notes = notes

    def _get(self, name: str, wanted: str, kinds: tuple[type, ...]) -> Any:
        value = self._values.get(name)
        if value is None or (isinstance(value, kinds) and not (isinstance(value, bool) and bool not in kinds)):
            return value
        self._notes.append(f"{self._where}{name}: expected {wanted}, found {json.dumps(value)[:60]}. It is left out.")
        return None

    def number(self, name: str) -> float | None:
        value = self._get(name, "a number", (int, float))
        return float(value) if _is_number(value) else None

    def whole(self, name: str) -> int | None:
        value = self.number(name)
        return None if value is None else round(value)

    def text(self, name: str) -> str:
        return str(self._get(name, "text", (str,)) or "")

    def flag(self, name: str) -> bool:
        return bool(self._get(name, "true or false", (bool,)))

    def inside(self, name: str) -> Values:
        return Values(self._get(name, "an object", (dict,)) or {}, f"{self._where}{name}.", self._notes)

    def items(self, name: str) -> list[Any]:
        return list(self._get(name, "a list", (list,)) or [])

    def objects(self, name: str) -> list[Values]:
        out = []
        for index, item in enumerate(self.items(name)):
            if isinstance(item, dict):
                out.append(Values(item, f"{self._where}{name}[{index}].", self._notes))
            else:
                self._notes.append(f"{self._where}{name}[{index}]: expected an object. It is left out.")
        return out

    def each(self) -> list[str]:
        return [str(name) for name in self._values]

    def __bool__(self) -> bool:
        return bool(self._values)


def read_metrics(path: Path) -> Metrics:
    """Read a file of metrics; no file is no metrics."""
    metrics = Metrics()
    try:
        lines = path.read_text("utf-8", errors="replace").split("\n")
    except FileNotFoundError:
        return metrics
    except OSError as error:
        metrics.notes.append(f"{path.name} cannot be read: {error.strerror}.")
        return metrics
    for place, line in enumerate(lines, 1):
        if not line.strip():
            continue
        where = f"{path.name}, line {place}"
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            metrics.notes.append(f"{where} is not JSON ({error}). The line is left out.")
            continue
        if not isinstance(values, dict):
            metrics.notes.append(f"{where} is not a JSON object. The line is left out.")
            continue
        found = _STEP.fullmatch(str(values.get("step", "")))
        if found and _KNOWN & set(values):
            iteration = _iteration(found[1] or found[0] or "all", Values(values, f"{where}, ", metrics.notes))
            metrics.iterations.append(iteration)
        else:
            metrics.others.append(values)
    metrics.iterations.sort(key=lambda i: (not i.name.isdigit(), int(i.name) if i.name.isdigit() else 0))
    return metrics


_STEP = re.compile(r"iterations\[(\d+)\]|final|")
_KNOWN = {"frames", "training", "explore", "select", "labels", "test", "decision"}
"""A line of such a step with one of these keys is one of the learning or training workflow."""


def _iteration(name: str, line: Values) -> Iteration:
    test, explore, labels = (line.inside(key) for key in ("test", "explore", "labels"))
    reset = labels.items("reset")
    kinds = test.inside("config_types")
    i = Iteration(name)
    i.train_frames = line.inside("frames").whole("train")
    i.members = [_member(m) for m in line.objects("training")]
    i.test = _errors(test)
    i.before = _errors(line.inside("test_before"))
    i.curve = [e for one in line.objects("curve") if (e := _errors(one)) is not None]
    i.types = {kind: e for kind in kinds.each() if (e := _errors(kinds.inside(kind))) is not None}
    i.spearman = test.number("spearman")
    i.frames, i.lo, i.hi = explore.whole("frames"), explore.number("lo"), explore.number("hi")
    i.explored = _fractions(explore.inside("fractions"))
    i.histogram = _histogram(explore.inside("histogram"))
    i.walkers = [walker(w, reset) for w in explore.objects("walkers")]
    i.reasons = _counts(line.inside("select").inside("reasons"))
    i.asked, i.labelled, i.accepted = (labels.whole(key) for key in ("asked", "labels", "accepted"))
    i.discarded = [
        Discarded(d.whole("walker"), d.whole("step"), d.number("energy"), d.number("force"))
        for d in labels.objects("discarded")
    ]
    i.new = _errors(labels.inside("errors"))
    i.stop, i.decision = line.inside("decision").flag("stop"), line.inside("decision").text("reason")
    return i


def _errors(values: Values) -> Errors | None:
    if not values:
        return None
    names = ("energy_rmse", "energy_mae", "force_rmse", "force_mae", "stress_rmse", "stress_mae")
    return Errors(values.whole("frames") or 0, *(values.number(name) for name in names))


def _fractions(values: Values) -> tuple[float, float, float] | None:
    parts = [values.number(name) for name in ("accurate", "candidate", "failed")]
    return None if None in parts else (parts[0] or 0.0, parts[1] or 0.0, parts[2] or 0.0)


def _histogram(values: Values) -> Histogram | None:
    edges, counts = values.items("edges"), values.items("counts")
    if not counts or len(edges) != len(counts) + 1 or not all(map(_is_number, edges + counts)):
        return None
    return Histogram([float(v) for v in edges], [float(v) for v in counts])


def _is_number(value: Any) -> bool:
    """Whether this is a number that can be drawn."""
    try:
        return isinstance(value, (int, float)) and math.isfinite(value)
    except OverflowError:  # a whole number beyond all floats
        return False


def _member(values: Values) -> Member:
    valid = values.inside("valid")
    rows = values.items("history")
    numbers = [r for r in rows if isinstance(r, list) and len(r) == 4 and _is_number(r[0]) and _is_number(r[3])]
    return Member(
        values.whole("member") or 0,
        values.whole("epochs"),
        values.whole("best_epoch"),
        valid.number("energy_rmse"),
        valid.number("force_rmse"),
        values.flag("refined"),
        [(float(r[0]), float(r[3])) for r in numbers],
    )


def _counts(values: Values) -> dict[str, int]:
    return {name: n for name in values.each() if (n := values.whole(name)) is not None}


def walker(values: Values, reset: list[Any]) -> Walker:
    """What the exploration says of one walker; ``reset`` are the numbers of those that go back to their start."""
    number = values.whole("walker") or 0
    return Walker(
        number,
        values.text("status") or "–",
        values.whole("steps") or 0,
        values.text("reason") or None,
        values.number("temperature"),
        number in reset,
    )
