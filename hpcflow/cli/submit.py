"""``hpcflow submit``: check everything, show the plan, start."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stdout
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from hpcflow.cli.campaign import campaign_option, tell_and_show
from hpcflow.cli.completion import sites
from hpcflow.cli.table import columns
from hpcflow.configuration import Configuration, read_configuration
from hpcflow.database.database import Database, find_campaign
from hpcflow.database.state import State
from hpcflow.engine.chain import start_chain
from hpcflow.engine.changes import KEEP, RERUN
from hpcflow.engine.engine import Engine, look, open_engine
from hpcflow.engine.plan import Plan, make_plan
from hpcflow.engine.retry import release
from hpcflow.engine.summary import EXIT_CODES, campaign_state
from hpcflow.engine.tick import tick
from hpcflow.errors import UserError, nearest
from hpcflow.version import __version__


@click.command()
@campaign_option
@click.option(
    "--site", shell_complete=sites, help="Where to run; overrides hpcflow.yaml. On a live campaign: adds workers there."
)
@click.option("--dry-run", is_flag=True, help="Show plan, cost and scripts; change nothing.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option(
    "--chain",
    type=int,
    is_flag=False,
    flag_value=300,
    metavar="[SECONDS]",
    help="Drive itself without cron: a small job ticks every so often (default: 300 s).",
)
@click.option("--keep", multiple=True, metavar="STEP", help="A changed step: go on with what there is.")
@click.option("--rerun", multiple=True, metavar="STEP", help="A changed step: compute it anew.")
@click.option("--json", "as_json", is_flag=True, help="The plan for programs; all else goes to stderr.")
def submit(
    directory: Path | None,
    site: str | None,
    dry_run: bool,
    yes: bool,
    chain: int | None,
    keep: tuple[str, ...],
    rerun: tuple[str, ...],
    as_json: bool,
) -> None:
    """Start the campaign in this directory, or add to it what is new in its inputs.

    A second submit with nothing new does nothing.

    Example: hpcflow submit --site lumi --dry-run
    """
    campaign = find_campaign(directory)
    database = Database(campaign)
    if (keep or rerun) and not (campaign / "hpcflow.yaml").exists():
        _answer_script(database, keep, rerun)
        return
    configuration = read_configuration(campaign)
    chosen = _site(database, site, configuration)
    engine = _look(database, chosen)
    engine.site(chosen)
    answered = _answer(engine, configuration, keep, rerun) if keep or rerun else []
    plan = make_plan(engine, configuration)
    if plan.changes and not dry_run:
        raise UserError("\n".join(plan.changes))
    if as_json:
        click.echo(json.dumps({"site": chosen, **asdict(plan)}, indent=1))
    else:
        show_plan(plan, chosen, directory, scripts=dry_run)
    if dry_run:
        return
    with redirect_stdout(sys.stderr) if as_json else nullcontext():
        _submit(database, configuration, chosen, plan, answered, yes, chain)


def _submit(
    database: Database,
    configuration: Configuration,
    site: str,
    plan: Plan,
    answered: Sequence[dict[str, Any]],
    yes: bool,
    chain: int | None,
) -> None:
    if plan.new and not yes and sys.stdin.isatty() and not click.confirm("Submit?", default=True):
        click.echo("Nothing was submitted.")
        return
    database.create()
    with open_engine(database, patience=10.0) as engine:
        _begin(engine, configuration, site, answered)
        if chain is not None:
            start_chain(engine, chain)
        tick(engine, submission=True)
    tell_and_show(engine)
    if campaign_state(engine.state.campaign) == "attention":
        sys.exit(EXIT_CODES["attention"])


def _site(database: Database, site: str | None, configuration: Configuration) -> str:
    if site is not None:
        return site
    if database.exists:
        return look(database).state.campaign.site or configuration.site
    return configuration.site


def _look(database: Database, site: str) -> Engine:
    if database.exists:
        database.check_place()
        engine = look(database)
    else:
        engine = Engine(database, State(), None, None)
    engine.record("site", site=site)
    return engine


def _begin(engine: Engine, configuration: Configuration, site: str, answered: Sequence[dict[str, Any]] = ()) -> None:
    """What a submission decides before its tick."""
    campaign = engine.state.campaign
    if not campaign.site:
        engine.record("campaign", version=__version__, site=site)
    if campaign.site != site:
        engine.record("site", site=site)
    if configuration.budget is not None and "budget" not in campaign.settings:
        engine.record("set", settings={"budget": configuration.budget})
    for answer in answered:
        engine.record("answer", **answer)
    release(engine)


def _answer(
    engine: Engine, configuration: Configuration, keep: tuple[str, ...], rerun: tuple[str, ...]
) -> list[dict[str, Any]]:
    """Answers to changes, step by step: an answer may bring the replay to the next change."""
    answers: dict[str, dict[str, Any]] = {}
    wanted = {**dict.fromkeys(keep, KEEP), **dict.fromkeys(rerun, RERUN)}
    while True:
        changed = changed_steps(engine, configuration)
        found = [key for key in wanted if key in changed and key not in answers]
        for key in found:
            fingerprint, *parts = changed[key]
            answers[key] = {"key": key, "fingerprint": fingerprint, "answer": wanted[key], "change": parts}
            engine.record("answer", **answers[key])
        if not found:
            break
    for key in wanted:
        if key not in answers:
            raise UserError(f"{key!r} is no changed step.{nearest(key, changed)} Changes: hpcflow submit --dry-run")
    return list(answers.values())


def _answer_script(database: Database, keep: tuple[str, ...], rerun: tuple[str, ...]) -> None:
    """Answers to changes in a script that drives the campaign itself: it goes on when it is run again."""
    with open_engine(database, patience=10.0) as engine:
        waiting = dict(engine.state.campaign.changes)
        for key, answer in {**dict.fromkeys(keep, KEEP), **dict.fromkeys(rerun, RERUN)}.items():
            if key not in waiting:
                raise UserError(f"{key!r} is no changed step.{nearest(key, waiting)}")
            fingerprint, *parts = waiting[key]
            engine.record("answer", key=key, fingerprint=fingerprint, answer=answer, change=parts)
    click.echo("Noted. Run the script again.")


def changed_steps(engine: Engine, configuration: Configuration) -> dict[str, list[str]]:
    """Steps that compute something else than their array: the new fingerprint, and digests of what differs."""
    from hpcflow.engine.plan import PlanSession
    from hpcflow.engine.replay import call_workflow

    session = PlanSession(engine, configuration.seed)
    call_workflow(session, configuration)
    return session.changes


def show_plan(plan: Plan, site: str, directory: Path | None, scripts: bool) -> None:
    """Say what a submission would do."""
    for change in plan.changes:
        click.echo(f"Changed: {change}\n")
    if plan.arrays or plan.calls:
        click.echo(f"On {site}:")
    elif plan.more:
        click.echo("New steps follow: their inputs are results that are there, and will be written out first.")
    elif not plan.changes:
        click.echo("Nothing new to submit.")
    if plan.arrays:
        _show_arrays(plan)
    if plan.calls:
        click.echo(
            f"At once, on this machine: {', '.join(plan.calls)}. What they find says how large the next steps are."
        )
    if plan.arrays:
        click.echo("Steps that need results of these follow when they are there.")
    if plan.renewed:
        changed = ", ".join(plan.renewed)
        click.echo(f"Changed after others had read the results: {changed}. What depends on that is computed anew.")
    if scripts:
        for planned in plan.arrays:
            if planned.script:
                click.echo(f"\n#### job script of {planned.key}\n{planned.script}")
        if plan.calls or plan.more:
            where = "" if directory is None else f" -C {shlex.quote(str(directory))}"
            click.echo(f"To read the scripts that the next steps may use, type: hpcflow sites render {site}{where}")


def _show_arrays(plan: Plan) -> None:
    rows: list[tuple[str, ...]] = [
        ("step", "class", "tasks", "there already", "workers", "slots each", "node-hours at most")
    ]
    for planned in plan.arrays:
        rows.append(
            (
                planned.key,
                planned.task_class,
                str(planned.tasks),
                str(planned.taken or ""),
                str(planned.workers),
                str(planned.slots),
                "" if planned.node_hours is None else f"{planned.node_hours:.1f}",
            )
        )
    if not any(row[-1] for row in rows[1:]):  # nobody counts here, and without it the table fits 80 columns
        rows = [row[:-1] for row in rows]
    for line in columns(rows):
        click.echo(line)
