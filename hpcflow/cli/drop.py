"""``hpcflow drop``: give up tasks."""

from __future__ import annotations

from pathlib import Path

import click

from hpcflow.cli.campaign import campaign_option, open_database, pick_tasks, tell
from hpcflow.cli.completion import arrays
from hpcflow.engine.collect import collect
from hpcflow.engine.engine import open_engine
from hpcflow.engine.retry import drop as give_up
from hpcflow.engine.tick import tick


@click.command()
@campaign_option
@click.argument("tasks", shell_complete=arrays)
@click.option("--reason", default="dropped by the user", show_default=True, help="Kept with the task.")
def drop(directory: Path | None, tasks: str, reason: str) -> None:
    """Give up undecided TASKS: ``label/17``, ``label/3-9,12``, or all of ``label``.

    Example: hpcflow drop label/17 --reason "not a molecule"
    """
    with open_engine(open_database(directory), patience=5.0) as engine:
        collect(engine)
        array, wanted = pick_tasks(engine, tasks)
        count = give_up(engine, array, wanted, reason)
        tick(engine)
    tell(engine)
    click.echo(f"{array.key}: {count} of {len(wanted)} tasks were undecided and are given up now")
