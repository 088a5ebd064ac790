"""Observe: one queue listing per scheduler, and what it says about our jobs and workers.

It comes before collect: a worker counts as ended only if it had ended before its file was read.
A reply that failed changes nothing; absence means nothing until it has lasted.
"""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from pathlib import Path

from hpcflow.database.state import ArrayState, JobState, WorkerState
from hpcflow.engine.engine import Engine
from hpcflow.schedulers.base import Element, SchedulerError, State

PATIENCE = 3
"""Settle times after which it no longer matters why something that is gone left without a word."""

LOOKS = 2
"""Good replies, a settle time apart, in which an unanswered submission is looked for before it is repeated."""

ON = ", on "
"""Between how an element ended and where."""


def observe(engine: Engine, calls_only: bool = False) -> None:
    """Update every live job from one listing per site, and note which workers are gone.

    With ``calls_only`` just what runs here: a tick that waits for its own call asks no batch scheduler again.
    """
    unknown: Counter[str] = Counter()
    for site in sorted({job.site for job in engine.state.campaign.jobs.values() if not job.ended}):
        if not calls_only or engine.site(site).scheduler.kind == "local":
            unknown += _observe_site(engine, site)
    if not calls_only and not engine.blind and unknown != engine.state.campaign.unknown:
        engine.state.campaign.unknown = dict(unknown)
        engine.changed = True
    _visible_workers(engine)


def count_queue(engine: Engine, site: str) -> None:
    """Count what this user has in the queue of a site, unless its queue has been listed in this tick."""
    if site not in engine.observed and site not in engine.blind:
        _listing(engine, site)


def _listing(engine: Engine, site: str) -> list[Element] | None:
    """The queue of a site; None if it is not known now."""
    if not _may_query(engine, site):
        engine.blind.add(site)
        return None
    try:
        elements = engine.scheduler(site).listing()
    except SchedulerError as error:
        engine.blind.add(site)
        engine.silent.add(site)
        engine.say_while(f"{site}: the scheduler did not answer ({error}); nothing is concluded from that")
        return None
    engine.observed.add(site)
    links = {job.token for job in engine.state.campaign.jobs.values() if job.array not in engine.state.campaign.arrays}
    alive = sum(1 for element in elements if element.state is not State.ENDED and element.name not in links)
    if engine.state.campaign.occupied.get(site) != alive:
        engine.state.campaign.occupied[site] = alive
        engine.changed = True
    return elements


def _observe_site(engine: Engine, site: str) -> Counter[str]:
    """Look at the jobs on one site; return the states of their elements that this version does not know, counted."""
    unknown: Counter[str] = Counter()
    elements = _listing(engine, site)
    if elements is None:
        return unknown
    by_token: dict[str, list[Element]] = {}
    for element in elements:
        by_token.setdefault(element.name, []).append(element)
    now = engine.now()
    settle = engine.site(site).scheduler.settle
    for job in engine.state.campaign.jobs.values():
        if job.site == site and not job.ended:
            found = by_token.get(job.token, [])
            unknown.update(element.native for element in found if element.state is State.UNKNOWN)
            _observe_job(engine, job, found, now, settle)
    return unknown


def _observe_job(engine: Engine, job: JobState, found: list[Element], now: float, settle: float) -> None:
    if not job.id:
        if found:
            engine.record("submitted", job=job.number, id=found[0].job, adopted=True)
            engine.say(f"job {job.token}: found in the queue as {job.id}")
        elif now - max(job.intended, job.submitted) >= settle * (job.misses + 1) or settle == 0:
            job.misses += 1
            engine.missed.add(job.number)
            engine.changed = True
    elif found and not job.elements and all(element.job != job.id for element in found):
        # Never seen under the id that its submission printed: that was a number in a site's banner.
        said = job.id
        engine.record("submitted", job=job.number, id=found[0].job, adopted=True)
        engine.say(f"job {job.token}: found in the queue as {job.id}, and not as {said}")
    # A token belongs to one job for ever, so a copy of it (a requeue, a second submission of the same script by
    # the scheduler) counts as the same element: some life of it is still there.
    before = (dict(job.elements), dict(job.absent), job.reason)
    best: dict[int, Element] = {}
    remainder = None
    for element in found:
        if element.index is None and job.width > 1:
            remainder = element  # Slurm shows so what of an array was cancelled before it started (seen: 22.05)
            continue
        index = element.index or 0
        if index not in best or best[index].state is State.ENDED:
            best[index] = element
    for index in range(job.width):
        seen = best.get(index, remainder)
        if seen is None:
            if job.id:
                job.absent.setdefault(index, now)
        else:
            job.elements[index] = seen.state.value
            if seen.state is State.ENDED:
                engine.shown[job.token, index] = f"{seen.native}{ON if seen.nodes else ''}{seen.nodes}"
                job.absent.setdefault(index, now)
            else:
                job.absent.pop(index, None)
    job.reason = next((_why(e) for e in best.values() if e.state in (State.HELD, State.QUEUED) and e.reason), "")
    for element in best.values():
        if element.state is State.HELD:
            engine.say_while(f"job {job.token} ({job.id}) is held: {_why(element)}")
    if (job.elements, job.absent, job.reason) != before:
        engine.changed = True


def _why(element: Element) -> str:
    """Why an element waits or is held: the scheduler's word, and what it means."""
    return f"{element.reason or element.native}{': ' if element.plain else ''}{element.plain}"


def element_is_gone(engine: Engine, job: JobState, index: int) -> bool:
    """Whether a good listing said that an element ended, or none knew it for the settle time."""
    if job.ended:
        return True
    if job.site in engine.blind or index not in job.absent:
        return False
    scheduler = engine.site(job.site).scheduler
    said_so = job.elements.get(index) == State.ENDED.value
    return said_so or engine.now() - job.absent[index] >= scheduler.settle


def may_turn_up(engine: Engine, job: JobState) -> bool:
    """Whether an unanswered intent is still counted on: not yet looked for twice in good replies."""
    return job.misses < (1 if engine.site(job.site).scheduler.settle == 0 else LOOKS)


def adopt(engine: Engine) -> None:
    """Unanswered intents whose workers have said hello did become jobs, whatever the queue knows of them now."""
    unanswered = {j.token: j for j in engine.state.campaign.jobs.values() if not j.id and not j.ended}
    if not unanswered:
        return
    for array in engine.live_arrays():
        for worker in array.workers.values():
            job = unanswered.get(worker.job)
            identity = "" if job is None else whole_job(worker.scheduler_id, engine.site(job.site).clusters)
            if job is not None and identity and not job.id:
                engine.record("submitted", job=job.number, id=identity, adopted=True)
                engine.say(f"job {job.token}: its workers say that it is {identity}")


def whole_job(element: str, clusters: tuple[str, ...]) -> str:
    """Id of a whole job as its submission would have told it, from that of an element; empty if it cannot be said."""
    if len(clusters) > 1:
        return ""  # any of them might have taken it
    # Slurm: 12_3 of 12; PBS: 12[3].server of 12[], 12.server of 12; LSF: 12[3] of 12.
    plain = re.sub(r"^(\d+)(\[)?\d*\]?\.\S+$", lambda m: f"{m[1]}[]" if m[2] else m[1], element)
    plain = re.sub(r"_\d+$|\[\d+\]$", "", plain)
    return ";".join([plain, *clusters]) if plain else ""


def _visible_workers(engine: Engine) -> None:
    """Note workers whose process this host can see is gone: no settle time is needed for them."""
    jobs = {job.token: job for job in engine.state.campaign.jobs.values()}
    for array in engine.live_arrays():
        for name, worker in array.workers.items():
            if worker.settled or worker.goodbye or not worker.pid:
                continue
            job = jobs.get(worker.job)
            site = engine.state.campaign.site if job is None else job.site
            # A worker in a container may have a pid of a namespace of its own; its element is seen all the same.
            if job is not None and _is_listed(job, worker.element):
                continue
            if engine.scheduler(site).visible(worker.host, worker.pid, worker.start) is False:
                engine.gone.add((array.number, name))


def _is_listed(job: JobState, index: int) -> bool:
    """Whether the last good listing had an element running."""
    return not job.ended and index not in job.absent and job.elements.get(index) == State.RUNNING.value


def worker_is_gone(engine: Engine, array: ArrayState, name: str, worker: WorkerState) -> bool:
    """Whether a worker has ended: it said goodbye, or everything says so and it is silent.

    Beats outvote the scheduler: tasks of a killed node daemon run on.
    """
    if worker.goodbye or (array.number, name) in engine.gone:
        return True
    job = next((j for j in engine.state.campaign.jobs.values() if j.token == worker.job), None)
    site = job.site if job is not None else engine.state.campaign.site
    scheduler = engine.site(site).scheduler
    # No listing will say anything of a worker that somebody else's job or a bare shell brought: wait for its beats.
    silence = max(scheduler.settle, 3 * scheduler.beat) if job is None else scheduler.settle
    if engine.now() - worker.grown < silence:
        return False
    if job is None:
        return True
    return came_back(engine, array, job, worker) or element_is_gone(engine, job, worker.element)


def came_back(engine: Engine, array: ArrayState, job: JobState, worker: WorkerState) -> bool:
    """Whether the element of a worker has begun another life, or waits for it: it was put back into the queue."""
    waits = job.elements.get(worker.element) in (State.QUEUED.value, State.HELD.value)
    if waits and worker.element not in job.absent and job.site in engine.observed and not job.ended:
        return True
    later = sum(
        1
        for other in array.workers.values()
        if (other.job, other.element, other.scheduler_id) == (worker.job, worker.element, worker.scheduler_id)
        and other.hello > worker.hello
    )
    return later >= job.nodes  # one life brings as many as it has nodes


def _may_query(engine: Engine, site: str) -> bool:
    """Whether the site's minimum interval has passed since any campaign of this user asked.

    The time of the last question is the modification time of a file in the user's cache directory.
    """
    interval = engine.site(site).scheduler.min_interval
    if interval <= 0:
        return True
    stamp = _stamp(site)
    try:
        age = time.time() - stamp.stat().st_mtime
    except OSError:
        age = interval
    if 0 <= age < interval:
        return False
    try:
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.touch()
    except OSError as error:
        engine.say(f"{stamp}: cannot note when the queue was asked ({error.strerror})")
    return True


def _stamp(site: str) -> Path:
    cache = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(cache) / "hpcflow" / f"queried-{site}"
