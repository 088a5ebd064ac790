"""``hpcflow link``: what a link of the chain runs, and the last worker of an array on its way out. Not for people."""

from __future__ import annotations

import os
import time
from pathlib import Path

import click

from hpcflow.cli.campaign import campaign_option, open_database, tell
from hpcflow.database.database import Database
from hpcflow.engine.chain import begin_link, keep_chain, lacks_link
from hpcflow.engine.engine import Engine, open_engine
from hpcflow.engine.tick import tick

PATIENCE = {"link": 300.0, "worker": 60.0}
"""Seconds to wait for a tick that runs: as long as this link is in the queue, nobody submits another."""
RETRY = 60.0
"""Seconds, at most, after which a link whose successor was refused tries again, for as long as its job lasts."""
PAUSE = 4.0
"""Seconds after which workers that left just before the last one have also left the queue."""


@click.command(hidden=True)
@campaign_option
@click.option("--job", help="Name of the job that this is, if it is a link.")
def link(directory: Path | None, job: str | None) -> None:
    """Submit the next link, then tick."""
    database = open_database(directory)
    if job is not None:
        _link(database, job)
        return
    for _ in range(2):
        with open_engine(database, PATIENCE["worker"]) as engine:
            _tick(engine)
        tell(engine)
        if not engine.crowded:
            return
        time.sleep(max(PAUSE, engine.site(engine.state.campaign.site).scheduler.min_interval))


def _link(database: Database, job: str) -> None:
    first = True
    while True:
        with open_engine(database, PATIENCE["link"]) as engine:
            begin_link(engine, job)
            keep_chain(engine)
            if not _tick(engine) and first:
                engine.state.campaign.quiet += 1
            again = lacks_link(engine)
            site = engine.site(engine.state.campaign.site)
            pause = max(min(RETRY, engine.state.campaign.chain), site.scheduler.min_interval)
        tell(engine)
        started = float(os.environ.get("HPCFLOW_STARTED") or time.time())
        end = float(os.environ.get("HPCFLOW_END_TIME") or started + site.task_class("default").walltime)
        if not again or time.time() + 2 * pause > end:
            return
        first = False
        time.sleep(pause)


def _tick(engine: Engine) -> bool:
    """Tick, and return whether anything was decided: if so, the links come as often as was asked for."""
    before = engine.journal_length
    tick(engine)
    engine.changed = True
    if engine.journal_length == before:
        return False
    engine.state.campaign.quiet = 0
    return True
