"""``hpcflow poll``: the tick for cron."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

from hpcflow.cli.campaign import campaign_option, one_tick, open_database, tell
from hpcflow.engine.summary import EXIT_CODES, campaign_state


@click.command()
@campaign_option
def poll(directory: Path | None) -> None:
    """Move the campaign forward once and print only news.

    Exit code: 0 done, 3 something still runs or waits, 4 needs attention, 75 somebody else is at
    it.

    Example: hpcflow poll -C ~/campaigns/water
    """
    database = open_database(directory)
    engine = one_tick(database)
    tell(engine)
    state = campaign_state(engine.state.campaign)
    if os.environ.get("HPCFLOW_CRON"):
        from hpcflow.cli.cron import after_poll

        after_poll(database, state == "done")
    sys.exit(EXIT_CODES[state])
