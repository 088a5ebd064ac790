"""What a site allows this user, and how much room that leaves now.

The site file counts first; what it does not say is asked of the cluster, once an hour. Where neither knew of a
limit and a submission meets one, the number of elements that were there is taken for it for a while.
"""

from __future__ import annotations

from dataclasses import replace

from hpcflow.database.state import Allowance, ArrayState, JobState
from hpcflow.engine.engine import Engine
from hpcflow.engine.observe import count_queue, may_turn_up
from hpcflow.schedulers.base import Limits, SchedulerError

UNLIMITED = 1 << 30

VALID = 3600.0
"""Seconds for which an answer of the cluster counts."""

PARTLY_VALID = 300.0
"""The same for an answer of which a part was missing."""

FULL = 600.0
"""Seconds after which a limit that was met, and that nobody knows, is tried again."""

LINKS = 2
"""Links of a chain that may be in the queue at once: one at work, and one that waits."""

MOST_UNASKED = 100
"""Elements at once where only the cluster sets a limit: what it allows is no reason to use all of it."""


def site_limits(engine: Engine, name: str) -> Limits:
    """Limits over all queues of a site: of its file, and where that is silent of the cluster."""
    own = engine.site(name).limits
    if own.submit is not None and own.running is not None and own.array is not None:
        return Limits(own.submit, own.running, own.array)
    cluster = _asked(engine, name)
    return Limits(
        submit=cluster.submit if own.submit is None else own.submit,
        running=cluster.running if own.running is None else own.running,
        array=cluster.array if own.array is None else own.array,
    )


def _asked(engine: Engine, name: str) -> Limits:
    """What the cluster says, or said last if it does not answer."""
    known = engine.state.campaign.allowances.get(name)
    old = known is None or not 0 <= engine.now() - known.asked < VALID
    if old and name not in engine.silent:
        try:
            found = engine.scheduler(name).limits()
        except SchedulerError as error:
            found = Limits()
            if error.transient:
                engine.silent.add(name)  # a client may wait for minutes: not asked again in this tick, for anything
                engine.say_while(f"{name}: the scheduler did not answer ({error}); nothing is submitted now")
        if name not in engine.silent:
            if not found.whole and known is not None:  # what was known for sure holds until something else is
                found = replace(found, submit=known.submit, running=known.running)
            asked = engine.now() - (0.0 if found.whole else VALID - PARTLY_VALID)
            known = Allowance(asked, found.submit, found.running, found.array)
            engine.state.campaign.allowances[name] = known
            engine.changed = True
    return Limits() if known is None else Limits(known.submit, known.running, known.array)


def queue_limits(engine: Engine, name: str, class_name: str) -> Limits:
    """Limits of the queue of a class alone."""
    site = engine.site(name)
    own = site.queue_of(site.task_class(class_name)).limits
    return Limits(own.submit, own.running, own.array)


def largest_array(engine: Engine, array: ArrayState, name: str) -> int:
    """Elements that one job of an array may have."""
    limits = [site_limits(engine, name).array, queue_limits(engine, name, array.task_class).array]
    return min((limit for limit in limits if limit is not None), default=UNLIMITED)


def room(engine: Engine, array: ArrayState, name: str) -> int:
    """Elements of an array that may still be put into the queue of its site."""
    limits = site_limits(engine, name)
    own = queue_limits(engine, name, array.task_class)
    if limits.submit is None and own.submit is None and name not in engine.state.campaign.full:
        return UNLIMITED
    count_queue(engine, name)
    used = used_elements(engine, name)
    rooms = [] if limits.submit is None else [limits.submit - used - _for_links(engine, limits.submit)]
    if own.submit is not None:
        rooms.append(own.submit - _used_in_queue(engine, name, array.task_class))
    learned = _learned(engine, name)
    if learned is not None:
        rooms.append(learned - used)
    return max(0, min(rooms, default=UNLIMITED))


def _for_links(engine: Engine, most: int) -> int:
    """Places that a campaign which drives itself must leave free: for a link at work, and the one that waits."""
    return min(LINKS, most - 1) if engine.state.campaign.chain else 0


def used_elements(engine: Engine, name: str) -> int:
    """Elements of this user, of any campaign, that the last listing showed or that were submitted since."""
    campaign = engine.state.campaign
    asked = (job for job in campaign.jobs.values() if job.site == name and not job.ended and not job.id)
    return campaign.occupied.get(name, 0) + sum(job.width for job in asked if may_turn_up(engine, job))


def _used_in_queue(engine: Engine, name: str, class_name: str) -> int:
    """Elements of this campaign in the queue of a class."""
    site = engine.site(name)
    queue = site.task_class(class_name).queue
    jobs = [j for j in engine.state.campaign.jobs.values() if j.site == name and not j.ended]
    return sum(
        1
        for job in jobs
        if job.task_class in site.classes and site.classes[job.task_class].queue == queue
        for index in range(job.width)
        if index not in job.absent
    )


def may_run(engine: Engine, array: ArrayState, name: str) -> int:
    """Elements that may run beside those of live jobs, where the site limits that."""
    limits = [site_limits(engine, name).running, queue_limits(engine, name, array.task_class).running]
    known = [limit for limit in limits if limit is not None]
    if not known:
        return UNLIMITED
    jobs = [j for j in engine.state.campaign.jobs.values() if j.site == name and not j.ended]
    return max(0, min(known) - sum(_may_run_of(job) for job in jobs))


def _may_run_of(job: JobState) -> int:
    alive = sum(1 for index in range(job.width) if index not in job.absent)
    return min(alive, job.throttle or alive)


def note_full(engine: Engine, name: str) -> None:
    """The scheduler takes no more than what is there now."""
    engine.state.campaign.full[name] = (engine.now(), used_elements(engine, name))
    engine.changed = True


def note_taken(engine: Engine, name: str, width: int) -> None:
    """The scheduler took so many more; a limit that it met before may be gone."""
    campaign = engine.state.campaign
    campaign.occupied[name] = campaign.occupied.get(name, 0) + width
    if name in campaign.full and campaign.occupied[name] > campaign.full[name][1]:
        del campaign.full[name]
    engine.changed = True


def _learned(engine: Engine, name: str) -> int | None:
    """The number of elements at which the scheduler took no more, as long as it counts.

    Afterwards one more than is there may be tried.
    """
    if name not in engine.state.campaign.full:
        return None
    since, number = engine.state.campaign.full[name]
    if 0 <= engine.now() - since < FULL:
        return number
    return max(number, used_elements(engine, name)) + 1
