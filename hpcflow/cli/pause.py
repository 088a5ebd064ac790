"""``hpcflow pause``: submit no more jobs; what runs goes on."""

from __future__ import annotations

from pathlib import Path

import click

from hpcflow.cli.campaign import campaign_option, open_database
from hpcflow.engine.engine import open_engine


@click.command("pause")
@campaign_option
def pause(directory: Path | None) -> None:
    """Submit no more jobs; what runs goes on.

    Example: hpcflow pause
    """
    with open_engine(open_database(directory), patience=5.0) as engine:
        if not engine.state.campaign.paused:
            engine.record("paused", paused=True)
    click.echo("paused: no new jobs are submitted; go on with: hpcflow continue")
