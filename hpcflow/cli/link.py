"""``hpcflow link``: what a link of the chain runs. Not for people."""

from __future__ import annotations

from pathlib import Path

import click

from hpcflow.cli.campaign import campaign_option, open_database, tell
from hpcflow.engine.chain import begin_link, keep_chain
from hpcflow.engine.engine import open_engine
from hpcflow.engine.tick import tick


@click.command(hidden=True)
@campaign_option
@click.option("--job", required=True, help="Name of the job that this is.")
def link(directory: Path | None, job: str) -> None:
    """Submit the next link, then tick."""
    with open_engine(open_database(directory), patience=300.0) as engine:
        begin_link(engine, job)
        keep_chain(engine)
        before = engine.journal_length
        tick(engine)
        engine.state.campaign.quiet = 0 if engine.journal_length > before else engine.state.campaign.quiet + 1
        engine.changed = True
    tell(engine)
