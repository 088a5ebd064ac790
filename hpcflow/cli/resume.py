"""``hpcflow resume``: a tick, reported to a person."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from hpcflow.cli.campaign import campaign_option, one_tick, open_database, tell_and_show
from hpcflow.database.database import Database
from hpcflow.engine.engine import Engine, open_engine
from hpcflow.engine.retry import disown, release, retry_failed
from hpcflow.engine.summary import EXIT_CODES, campaign_state
from hpcflow.errors import UserError


@click.command()
@campaign_option
@click.option("--retry-failed", is_flag=True, help="Compute tasks again that were given up.")
@click.option("--moved", is_flag=True, help="The campaign directory was moved or renamed.")
@click.option("--copied", is_flag=True, help="This is a copy: keep its results, leave the original's jobs alone.")
def resume(directory: Path | None, **flags: bool) -> None:
    """Go on after anything: a kill, a full disk, a cancelled job, a mended mistake.

    Exit code: 0 the campaign goes on or is done, 4 it needs attention.

    Example: hpcflow resume --retry-failed
    """
    database = open_database(directory)
    if flags["moved"] or flags["copied"]:
        _settle_place(database, copied=flags["copied"])

    def before(engine: Engine) -> None:
        release(engine)
        if flags["retry_failed"]:
            count = retry_failed(engine)
            engine.say(f"{count} failed tasks are computed again" if count else "there are no failed tasks")

    engine = one_tick(database, patience=2.0, before=before)
    tell_and_show(engine)
    if campaign_state(engine.state.campaign) == "attention":
        sys.exit(EXIT_CODES["attention"])


def _settle_place(database: Database, copied: bool) -> None:
    """Make this the campaign's place. A copy first gives up what belongs to the original."""
    if database.identity()["path"] == str(database.campaign):
        raise UserError(f"{database.campaign}: the campaign is where it was made; type: hpcflow resume")
    with open_engine(database, patience=2.0, anywhere=True) as engine:
        if copied:
            disown(engine)
        engine.verify()
        database.accept_place(copy=copied)
