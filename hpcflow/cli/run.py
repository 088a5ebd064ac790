"""``hpcflow run``: ticks until the campaign is done, with a live display."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import click

from hpcflow.cli.campaign import campaign_option
from hpcflow.cli.completion import sites
from hpcflow.cli.submit import _begin, _look, _site, show_plan
from hpcflow.configuration import read_configuration
from hpcflow.database.database import Database, find_campaign
from hpcflow.engine.engine import Engine, open_engine
from hpcflow.engine.plan import make_plan
from hpcflow.engine.submit import cancel_all
from hpcflow.engine.summary import EXIT_CODES, campaign_state, read_metrics, summarize
from hpcflow.engine.tick import tick
from hpcflow.errors import Busy, UserError


@click.command()
@campaign_option
@click.option("--site", shell_complete=sites, help="Where to run; overrides hpcflow.yaml.")
@click.option("--interval", type=float, help="Seconds between ticks (default: as the site allows).")
def run(directory: Path | None, site: str | None, interval: float | None) -> None:
    """Submit if necessary and move the campaign forward until it is done: the laptop's way.

    Ctrl-C stops local workers at a checkpoint; with a scheduler it only detaches. Exit code: 0
    done, 4 needs attention.

    Example: hpcflow run
    """
    campaign = find_campaign(directory)
    configuration = read_configuration(campaign)
    database = Database(campaign)
    chosen = _site(database, site, configuration)
    engine = _look(database, chosen)
    settings = engine.site(chosen)
    plan = make_plan(engine, configuration)
    if plan.changes:
        raise UserError("\n".join(plan.changes))
    show_plan(plan, chosen, directory, scripts=False)
    database.create()
    local = settings.scheduler.kind == "local"
    pause = interval if interval is not None else 0.5 if local else max(5.0, settings.scheduler.min_interval)
    first, waits = True, False
    from hpcflow.cli.display import Display

    with Display() as display:
        try:
            while True:
                try:
                    with open_engine(database, patience=5.0 if first else 0.0) as engine:
                        if first:
                            _begin(engine, configuration, chosen)
                        tick(engine, submission=first)
                        first = False
                    summary = summarize(engine)
                    # What needs attention ends this loop, and is said below.
                    display.update([n for n in engine.news if n not in summary["attention"].values()], summary)
                    if campaign_state(engine.state.campaign) in ("done", "attention"):
                        break
                    waits = False
                except Busy:
                    if first:
                        raise
                    if not waits:
                        display.update(["another process moves this campaign forward now; this one waits"], None)
                    waits = True
                time.sleep(pause)
        except KeyboardInterrupt:
            display.close()
            _interrupted(database, local)
            sys.exit(130)
    _last_words(engine)
    sys.exit(EXIT_CODES[campaign_state(engine.state.campaign)])


def _interrupted(database: Database, local: bool) -> None:
    if not local:
        click.echo("\nDetached: jobs go on. Collect with hpcflow resume or hpcflow run; end them with hpcflow cancel")
        return
    with open_engine(database, patience=30.0) as engine:
        cancel_all(engine)
    click.echo("\nWorkers on this machine were asked to stop at a checkpoint. Go on with: hpcflow run")


def _last_words(engine: Engine) -> None:
    campaign = engine.state.campaign
    for message in campaign.attention.values():
        click.echo(f"\nNeeds attention: {message}")
    if campaign.finished and (engine.campaign / "metrics.jsonl").exists():
        from hpcflow.report import write_report

        for line in read_metrics(engine):
            if isinstance(line.get("test"), dict) and isinstance(line["test"].get("force_rmse"), float):
                click.echo(f"{line.get('step', '')}: force error on the test set {line['test']['force_rmse']:.3f} eV/Å")
        click.echo(f"Report: {write_report(engine)}")
    for model in last_models(engine):
        click.echo(f"Model: {model}")


def last_models(engine: Engine) -> list[Path]:
    """Files named ``*.model`` or ``model`` that the newest finished array with any has kept."""
    for array in reversed(list(engine.state.campaign.arrays.values())):
        kept = engine.path(array) / "files"
        found = (
            sorted(p for p in kept.glob("*/*") if p.name == "model" or p.suffix == ".model") if kept.is_dir() else []
        )
        if found and array.current:
            return found
    return []
