"""``hpcflow continue``: take back pause."""

from __future__ import annotations

from pathlib import Path

import click

from hpcflow.cli.campaign import campaign_option, open_database
from hpcflow.engine.engine import open_engine


@click.command("continue")
@campaign_option
def command(directory: Path | None) -> None:
    """Take back pause.

    Example: hpcflow continue
    """
    with open_engine(open_database(directory), patience=5.0) as engine:
        if engine.state.campaign.paused:
            engine.record("paused", paused=False)
    click.echo("jobs are submitted again from the next tick on")
