"""A campaign that drives itself: delayed small jobs, each of which submits the next and then ticks.

At most one link waits. A link submits its successor before anything else, so that only a kill within its
first moments can break the chain; the next tick of anybody, also that of the last worker of an array, mends it.
A link whose successor is refused stays, and tries again as long as its own time lasts.
"""

from __future__ import annotations

import os

from hpcflow.database.files import write_whole
from hpcflow.database.state import JobState
from hpcflow.engine.engine import Engine
from hpcflow.engine.limits import LINKS, site_limits
from hpcflow.engine.observe import may_turn_up, whole_job
from hpcflow.engine.script import link_command
from hpcflow.engine.submit import cancel_jobs, new_token
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
            f"site {site.name}: jobs may not submit jobs there (scheduler.submit_from_nodes is not true), so a "
            "campaign cannot drive itself. Use: hpcflow cron --install"
        )
    most = site_limits(engine, site.name).submit
    if most is not None and most <= LINKS:
        raise UserError(
            f"site {site.name}: no more than {most} jobs may be in the queue (limits.submit), and a campaign that "
            f"drives itself needs {LINKS + 1}: a link at work, the one that waits, and a worker. "
            "Use: hpcflow cron --install"
        )
    engine.record("chain", interval=interval)


def links(engine: Engine) -> list[JobState]:
    """Links that wait, as far as is known."""
    jobs = engine.state.campaign.jobs.values()
    waiting = (job for job in jobs if job.array == NO_ARRAY and not job.ended)
    return [job for job in waiting if job.id or may_turn_up(engine, job)]


def begin_link(engine: Engine, token: str) -> None:
    """A link has started: it no longer waits."""
    for job in list(engine.state.campaign.jobs.values()):
        if job.token != token or job.ended:
            continue
        identity = whole_job(os.environ.get("HPCFLOW_SCHEDULER_ID", ""), engine.site(job.site).clusters)
        if not job.id and identity:  # whoever submitted it did not live to write that down
            engine.record("submitted", job=job.number, id=identity, adopted=True)
        engine.record("ended", job=job.number, cause="a link, now at work")


def keep_chain(engine: Engine) -> None:
    """See to it that exactly one link waits, unless there is nothing left to wait for."""
    campaign = engine.state.campaign
    waiting = links(engine)
    if not campaign.chain or campaign.cancelled:
        return
    if campaign.finished or _waits_for_a_person(engine):
        cancel_jobs(engine, waiting)
        return
    cancel_jobs(engine, waiting[1:])  # one that had been given up has turned up after all
    if waiting:
        return
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
            command=[link_command(engine), f"--job {token}"],
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
        engine.say_while(
            f"no link of the chain waits: it could not be submitted ({error}). The one at work, if there is one, "
            "tries again; so does: hpcflow resume"
        )
        return
    engine.record("submitted", job=number, id=identity, adopted=False)


def lacks_link(engine: Engine) -> bool:
    """Whether the chain should have a link that waits, and has none."""
    campaign = engine.state.campaign
    over = not campaign.chain or campaign.cancelled or campaign.finished or _waits_for_a_person(engine)
    return not over and not links(engine)


def _waits_for_a_person(engine: Engine) -> bool:
    """Whether ticks cannot bring anything until somebody types ``resume``, which also goes on with the chain."""
    campaign = engine.state.campaign
    at_work = any(not job.ended and job.array != NO_ARRAY for job in campaign.jobs.values())
    return bool(campaign.attention) and not at_work
