"""``hpcflow resume``: a tick, reported to a person."""

from __future__ import annotations

from pathlib import Path

import click

from hpcflow.cli.campaign import campaign_option, one_tick, open_database, tell
from hpcflow.cli.table import show
from hpcflow.database.database import Database, find_campaign
from hpcflow.engine.engine import Engine
from hpcflow.engine.retry import disown, release, retry_failed
from hpcflow.engine.summary import summarize


@click.command()
@campaign_option
@click.option("--retry-failed", is_flag=True, help="Compute tasks again that were given up.")
@click.option("--moved", is_flag=True, help="The campaign directory was moved or renamed.")
@click.option("--copied", is_flag=True, help="This is a copy: keep its results, leave the original's jobs alone.")
def resume(directory: Path | None, **flags: bool) -> None:
    """Go on after anything: a kill, a full disk, a cancelled job, a mended mistake.

    Example: hpcflow resume --retry-failed
    """
    if flags["moved"] or flags["copied"]:
        Database(find_campaign(directory)).accept_place(copy=flags["copied"])
    database = open_database(directory)

    def before(engine: Engine) -> None:
        if flags["copied"]:
            disown(engine)
        release(engine)
        if flags["retry_failed"]:
            count = retry_failed(engine)
            engine.say(f"{count} failed tasks are computed again" if count else "there are no failed tasks")

    engine = one_tick(database, patience=2.0, before=before)
    tell(engine)
    show(summarize(engine))
