"""``hpcflow cancel``: end all jobs of the campaign."""

from __future__ import annotations

from pathlib import Path

import click

from hpcflow.cli.campaign import campaign_option, open_database, tell
from hpcflow.engine.engine import open_engine
from hpcflow.engine.observe import may_turn_up, observe
from hpcflow.engine.submit import cancel_all

from hpcflow.engine.summary import EXIT_CODES

@click.command()
@campaign_option
def cancel(directory: Path | None) -> None:
    """Cancel every job of this campaign, by id and name. Results stay; resume goes on.

    Running tasks are asked to stop and may write a checkpoint.

    Example: hpcflow cancel
    """
    with open_engine(open_database(directory), patience=5.0) as engine:
        engine.record("cancelled")
        observe(engine)  # adopts jobs that were submitted by a command that was killed
        cancel_all(engine)
        count = sum(1 for job in engine.state.campaign.jobs.values() if not job.ended)
    for line in engine.news:
        click.echo(line)
    click.echo(f"{count} jobs were asked to end; what is finished stays. Go on with: hpcflow resume")
