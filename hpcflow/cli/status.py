"""``hpcflow status``: where the campaign stands."""

from __future__ import annotations

from pathlib import Path

import click

from hpcflow.cli.campaign import campaign_option, open_database, view
from hpcflow.cli.table import show
from hpcflow.engine.summary import summarize
from hpcflow.plain import dumps


@click.command()
@campaign_option
@click.option("--json", "as_json", is_flag=True, help="For programs; the keys are documented and stable.")
def status(directory: Path | None, as_json: bool) -> None:
    """Show tasks, arrays, jobs and what needs attention. Changes nothing and asks no scheduler.

    Example: hpcflow status --json | jq .tasks
    """
    summary = summarize(view(open_database(directory)))
    if as_json:
        click.echo(dumps(summary, indent=1))
    else:
        show(summary)
