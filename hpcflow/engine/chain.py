"""A campaign that drives itself: delayed small jobs, each of which submits the next and then ticks.

At most one link waits. A link submits its successor before anything else, so that only a kill within its
first moments can break the chain; the next tick of anybody, also that of the last worker of an array, mends it.
"""

from __future__ import annotations

import shlex
import sys

from hpcflow.database.files import write_whole
from hpcflow.database.state import JobState
from hpcflow.engine.engine import Engine
from hpcflow.errors import UserError
from hpcflow.schedulers.base import SchedulerError, Submission

NO_ARRAY = 0
"""The array number of links: they bring no workers."""

LONGEST_PAUSE = 16
"""While nothing changes the interval doubles, up to this many times the one asked for."""


KEPT_LOGS = 5
"""Logs of links that are kept."""


def start_chain(engine: Engine, interval: float) -> None:
    """Make the campaign drive itself from the next tick on.

    Raises
    ------
    UserError
        If jobs of this site may not submit jobs.
    """
    site = engine.site(engine.state.campaign.site)
    if site.scheduler.kind != "local" and not site.scheduler.submit_from_nodes:
        raise UserError(
            f"site {site.name}: jobs may not submit jobs there (scheduler.submit_from_nodes is not true), so a campaign "
            "cannot drive itself. Use: hpcflow cron --install"
        )
    engine.record("chain", interval=interval)


def links(engine: Engine) -> list[JobState]:
    """Links that have not begun, as far as is known."""
    return [job for job in engine.state.campaign.jobs.values() if job.array == NO_ARRAY and not job.ended]


def begin_link(engine: Engine, token: str) -> None:
    """A link has started: it no longer waits."""
    for job in links(engine):
        if job.token == token:
            engine.record("ended", job=job.number, cause="a link, now at work")


def keep_chain(engine: Engine) -> None:
    """See to it that exactly one link waits, unless there is nothing left to wait for."""
    campaign = engine.state.campaign
    if not campaign.chain or campaign.finished or campaign.cancelled or links(engine):
        return
    from hpcflow.engine.submit import new_token
    from hpcflow.sites.scripts import Script, render

    name = campaign.site
    site = engine.site(name)
    task_class = site.task_class("default")
    number = max(campaign.jobs, default=0) + 1
    token = new_token(NO_ARRAY)
    engine.record(
        "intent",
        job=number,
        array=NO_ARRAY,
        token=token,
        width=1,
        resources="",
        request={},
        task_class="default",
        site=name,
        walltime=float(task_class.walltime),
        slots=1,
        cores=1,
        nodes=1,
    )
    directory = engine.database.directory / "chain"
    directory.mkdir(exist_ok=True)
    for old in sorted(directory.glob("*.out"), key=lambda log: log.stat().st_mtime)[:-KEPT_LOGS]:
        old.unlink()
    command = [
        f"{shlex.quote(sys.executable)} -m hpcflow link",
        f"--campaign {shlex.quote(str(engine.campaign))}",
        f"--job {token}",
    ]
    text = render(
        site,
        "default",
        Script(
            token=token,
            title="next tick of the campaign",
            width=1,
            campaign=engine.campaign,
            array=engine.campaign,
            archive=engine.campaign,
            log=directory,
            resources="",
            command=command,
        ),
        engine.campaign,
    )
    script = directory / "link.sh"
    write_whole(script, text.encode(), durable=False)
    start = engine.now() + campaign.chain * min(LONGEST_PAUSE, 2**campaign.quiet)
    engine.verify()
    try:
        identity = engine.scheduler(name).submit(Submission(script, token, 1, None, directory, start))
    except SchedulerError as error:
        if error.kind != "unclear":
            engine.record("refused", job=number, message=str(error), refusal=error.kind)
        engine.say(f"the next link of the chain could not be submitted ({error}); the next tick tries again")
        return
    engine.record("submitted", job=number, id=identity, adopted=False)
