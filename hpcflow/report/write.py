"""The report of a campaign: everything a person wants to see of it, in one HTML file."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hpcflow.configuration import read_configuration
from hpcflow.database.files import write_whole
from hpcflow.database.journal import Journal
from hpcflow.engine.collect import collect
from hpcflow.engine.engine import HERE, Engine, look
from hpcflow.engine.summary import campaign_state
from hpcflow.errors import UserError
from hpcflow.report import accuracy, cost, exploration, labelling, outcomes, parity, standing, training
from hpcflow.report.formats import core_time, count, date, duration, number, percent, plural, sentence
from hpcflow.report.page import Bar, Page, Section, Table, Tile, render
from hpcflow.report.steps import Iteration, Metrics, read_metrics
from hpcflow.version import __version__


def write_report(engine: Engine, output: Path | None = None) -> Path:
    """Write the report of a campaign as one HTML file that needs nothing else.

    Parameters
    ----------
    engine
        The campaign; one that only looks is enough.
    output
        The file; by default ``report.html`` in the campaign directory.

    Returns
    -------
    path
        The file that was written.

    Raises
    ------
    UserError
        If matplotlib is not installed, or the file cannot be written.
    """
    try:
        import matplotlib
    except ImportError:
        raise UserError("the report needs matplotlib. Install it with: pip install 'hpcflow-arrays[report]'") from None
    path = engine.campaign / "report.html" if output is None else output
    page = _page(engine)
    by = f"hpcflow {__version__}, Python {platform.python_version()}, matplotlib {matplotlib.__version__}"
    page.facts.append(("written", f"{date(time.time())} by {by}"))
    try:
        write_whole(path, render(page).encode(), durable=False)
    except OSError as error:
        raise UserError(f"{path}: the report cannot be written ({error.strerror})") from None
    return path


def _page(engine: Engine) -> Page:
    """Make the page, again if a tick finishes an array while its workers' files are being read."""
    for _ in range(10):
        try:
            return make_page(engine)
        except FileNotFoundError:
            time.sleep(0.1)
            engine = look(engine.database)
            collect(engine)
    raise UserError(f"{engine.campaign}: files come and go; is a backup being restored? Try again: hpcflow report")


def make_page(engine: Engine) -> Page:
    """Collect what there is to say about a campaign; a section without data is not there."""
    campaign = engine.state.campaign
    metrics = read_metrics(engine.campaign / "metrics.jsonl")
    iterations, notes = metrics.iterations, metrics.notes
    where = standing.standing(engine)
    finished = campaign_state(campaign) == "done"
    found: list[Section | None] = [
        standing.attention(campaign),
        # While it runs this is the first question, and afterwards one of the last.
        None if finished else where,
        accuracy.accuracy(iterations),
        *_on_the_test_set(engine, metrics),
        training.training(iterations),
        exploration.exploration(iterations) or _read("walkers", notes, lambda: _sampled(engine)),
        exploration.selection(iterations),
        labelling.labelling(iterations),
        _others(metrics),
        _read("labels", notes, lambda: outcomes.labels(engine)),
        where if finished else None,
        outcomes.times(engine),
        cost.cost(engine),
    ]
    name, workflow = _configured(engine)
    return Page(
        title=name,
        lead=_lead(engine, workflow),
        facts=_facts(engine),
        tiles=_tiles(engine, iterations),
        sections=[section for section in found if section is not None],
        notes=notes,
    )


def _on_the_test_set(engine: Engine, metrics: Metrics) -> list[Section | None]:
    found: list[parity.Predictions] = []

    def read() -> Section | None:
        predictions = parity.predictions(engine)
        if predictions is None:
            return None
        found.append(predictions)
        return parity.parity(predictions)

    section = _read("predictions of the test set", metrics.notes, read)
    return [section, *(parity.calibration(predictions, metrics.iterations) for predictions in found)]


def _sampled(engine: Engine) -> Section | None:
    found = exploration.sampled(engine)
    return None if found is None else exploration.exploration([found])


def _read(what: str, notes: list[str], make: Callable[[], Section | None]) -> Section | None:
    """A section made of frames; one that cannot be made becomes a note and does not stop the others."""
    try:
        return make()
    except ImportError as error:
        notes.append(f"Without {error.name} the {what} cannot be read: pip install 'hpcflow-arrays[structures]'")
    except (UserError, ValueError) as error:
        notes.append(f"The {what} cannot be read: {error}")
    return None


def _others(metrics: Metrics) -> Section | None:
    """What a workflow of the user's own wrote with ``run.metrics``: the plain values of each line."""
    lines = [{k: v for k, v in line.items() if isinstance(v, (str, int, float))} for line in metrics.others]
    names = list(dict.fromkeys(name for line in lines for name in line if name != "step"))[:12]
    if not names:
        return None

    def text(value: Any) -> str:
        return "" if value is None else number(value) if isinstance(value, float) else str(value)

    rows: list[list[str | Bar]] = [
        [text(line.get("step")), *(text(line.get(name)) for name in names)] for line in lines
    ]
    table = Table(["step", *names], rows, "l" + "r" * len(names), "What the workflow wrote into metrics.jsonl.")
    return Section("Metrics", [table])


def _configured(engine: Engine) -> tuple[str, str]:
    """Name and workflow of the campaign; a script that drives a campaign itself has no hpcflow.yaml."""
    name = engine.campaign.resolve().name
    if not (engine.campaign / "hpcflow.yaml").exists():
        return name, "a Python script"
    try:
        configuration = read_configuration(engine.campaign)
    except UserError:
        return name, ""  # other commands say what is wrong with it; the report is about what is done
    return configuration.name, f"workflow {configuration.workflow}"


def _lead(engine: Engine, workflow: str) -> str:
    campaign = engine.state.campaign
    arrays = standing.arrays_of(campaign)
    total, decided = sum(a.count for a in arrays), sum(a.succeeded + a.failed for a in arrays)
    what = f"Report of {workflow or 'a campaign'} on {campaign.site or 'no site yet'}. "
    if not arrays:
        return what + "Nothing has been submitted yet."
    meaning = standing.STATES[campaign_state(campaign)][1]
    return what + f"{count(decided)} of {plural(total, 'task')} decided. {meaning}"


def _facts(engine: Engine) -> list[tuple[str, str]]:
    campaign = engine.state.campaign
    sites = sorted({job.site for job in campaign.jobs.values()} - {HERE} | {campaign.site})
    facts = [("directory", str(engine.campaign)), ("site", sentence([s for s in sites if s]) or "none yet")]
    entries = list(Journal(engine.database.directory).read())
    if entries:
        facts.append(("begun", date(entries[0]["time"])))
        facts.append(("last change", date(entries[-1]["time"])))
        versions = dict.fromkeys(str(e["version"]) for e in entries if e["kind"] == "campaign" and "version" in e)
        if versions and list(versions) != [__version__]:
            facts.append(("begun with", "hpcflow " + sentence(list(versions))))
    return facts


def _tiles(engine: Engine, iterations: list[Iteration]) -> list[Tile]:
    campaign = engine.state.campaign
    arrays = standing.arrays_of(campaign)
    state = campaign_state(campaign)
    succeeded, failed = sum(a.succeeded for a in arrays), sum(a.failed for a in arrays)
    tones = {"done": "good", "attention": "bad"}
    tasks = f"{plural(succeeded, 'task')} succeeded" + (f", {count(failed)} failed" if failed else "")
    tiles = [Tile(standing.STATES[state][0], "", tasks, tones.get(state, ""))]
    points, _ = accuracy.learning_curve(iterations)
    if points:
        for quantity, unit in (("energy", "meV/atom"), ("force", "meV/Å")):
            now, before = (accuracy.rmse(p.errors, quantity) for p in (points[-1], points[0]))
            label = f"test RMSE of the {'energy' if quantity == 'energy' else 'forces'}"
            if len(points) > 1:
                label += f"; {number(before)} in iteration {points[0].name}"
            tiles.append(Tile(number(now), unit, label))
        tiles.append(Tile(count(points[-1].frames), "", "training frames"))
    all_costs = cost.total(engine)
    if all_costs.cores:
        waste = f", {percent(all_costs.waste)} wasted" if all_costs.wasted else ""
        unit, length = core_time(all_costs.cores)
        tiles.append(Tile(number(all_costs.cores / length), unit, f"computed{waste}"))
    elif arrays:
        tiles.append(Tile(duration(None), "", "nothing computed yet"))
    return tiles
