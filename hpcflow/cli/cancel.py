"""``hpcflow cancel``: end all jobs of the campaign."""

from __future__ import annotations

import sys
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

    Running tasks are asked to stop and may write a checkpoint. Exit code 3: some jobs could not be reached
    now; the next tick asks them again.

    Example: hpcflow cancel
    """
    with open_engine(open_database(directory), patience=5.0) as engine:
        engine.record("cancelled")
        observe(engine)  # adopts jobs that were submitted by a command that was killed
        asked = cancel_all(engine)
        alive = (job for job in engine.state.campaign.jobs.values() if not job.ended)
        left = sum(1 for job in alive if job.id or may_turn_up(engine, job)) - asked
    tell(engine)
    jobs = "1 job was" if asked == 1 else f"{asked} jobs were"
    click.echo(f"{jobs} asked to end; what is finished stays. Go on with: hpcflow resume")
    if left:
        click.echo(f"{left} could not be asked, or nobody knows if they are there; the next tick sees to them")
        sys.exit(EXIT_CODES["waiting"])
