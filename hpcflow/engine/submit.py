"""Submit: bring workers to unclaimed work, within every limit; take queued ones back that have none.

Intent before act: the token and everything about a job are in the journal before the scheduler is asked.
"""

from __future__ import annotations

import os
import secrets
import time
from typing import Any

from hpcflow.database.state import ArrayState, JobState, WorkerState, ranges
from hpcflow.engine.collect import origin
from hpcflow.engine.engine import Engine
from hpcflow.engine.excluded import excluded_nodes, include_all
from hpcflow.engine.limits import LINKS, UNLIMITED, largest_array, may_run, note_full, note_taken, room
from hpcflow.engine.width import (
    array_site,
    most_elements,
    queued_elements,
    running_elements,
    slots_per_worker,
    unclaimed,
    wanted_elements,
)
from hpcflow.errors import UserError
from hpcflow.schedulers.base import Element, SchedulerError, State, Submission

SOON = 20.0
"""A scheduler that needs longer (s) to say that it is full is not asked again with less in the same tick."""

_INTENT = (
    "array", "token", "width", "resources", "request", "task_class", "site", "walltime", "slots", "cores", "nodes",
    "throttle",
)  # fmt: skip

_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"


def submit(engine: Engine, strict: bool = False) -> None:
    """Submit what is missing for every live array, older ones first.

    Parameters
    ----------
    strict
        A mistake of the user ends it; otherwise it stops only the array that it concerns.
    """
    campaign = engine.state.campaign
    if campaign.cancelled:
        jobs = [job for job in campaign.jobs.values() if not job.ended and len(job.dismissed) < job.width]
        # Those that could not be reached when that was asked for, or turned up since.
        cancel_jobs(engine, [job for job in jobs if job.site not in engine.silent])
        return
    for number in sorted({job.array for job in campaign.jobs.values() if not job.ended}):
        if number in campaign.arrays and campaign.arrays[number].done:
            _cancel_surplus(engine, campaign.arrays[number], {})
    live = list(engine.live_arrays())
    waiting = {array.number: unclaimed(engine, array) for array in live}
    for array in live:  # before anything is submitted, which would need another look at the queue
        _cancel_surplus(engine, array, waiting[array.number])
    for array in live:
        try:
            submit_array(engine, array, waiting[array.number])
        except UserError as error:
            if strict:
                raise
            engine.record("hold", array=array.number, reason="its job script cannot be written")
            message = f"{array.key}: {error}\nWhen that is mended, type: hpcflow resume"
            engine.attention(f"array {array.number}", message)


def submit_array(engine: Engine, array: ArrayState, waiting: dict[str, int]) -> None:
    """Bring workers to one array, for chunks that wait, by the resources they need."""
    if not waiting or array.hold or f"changed {array.key}" in engine.state.campaign.attention:
        return  # of a changed step nobody knows yet whether its old work is still wanted
    # A call is the tick's own work: it would wait for itself.
    if not array.call and (engine.state.campaign.paused or not _in_budget(engine)):
        return
    for resources, chunks in sorted(waiting.items()):
        _submit_for(engine, array, resources, chunks)


def _workers_of(array: ArrayState, job: JobState) -> list[WorkerState]:
    return [worker for worker in array.workers.values() if worker.job == job.token]


def _live_jobs(engine: Engine, array: ArrayState, resources: str | None = None) -> list[JobState]:
    return [
        job
        for job in engine.state.campaign.jobs.values()
        if job.array == array.number and not job.ended and resources in (None, job.resources)
    ]


def _elements(engine: Engine, array: ArrayState, resources: str | None = None) -> tuple[int, int]:
    """Elements of an array that wait, and elements that run."""
    queued = running = 0
    for job in _live_jobs(engine, array, resources):
        mine = _workers_of(array, job)
        queued += queued_elements(engine, job, mine)
        running += running_elements(mine)
    return queued, running


def _submit_for(engine: Engine, array: ArrayState, resources: str, chunks: int) -> None:
    request = next(c.request for c in array.lists.values() if c.resources == resources)
    slots = slots_per_worker(engine, array, request)
    queued, _ = _elements(engine, array, resources)
    need = wanted_elements(chunks, slots) - queued
    name = array_site(engine, array)
    if need <= 0 or name in engine.silent:
        return  # a scheduler that just gave no answer is not asked for more
    if engine.site(name).scheduler.kind == "local":
        may_start = free = _free_here(engine, array, request)
    else:
        may_start, free = room(engine, array, name), may_run(engine, array, name)
    mine = sum(_elements(engine, array))
    width = min(need, most_elements(engine, array) - mine, may_start)
    if name in engine.silent:
        return
    engine.crowded = engine.crowded or may_start < min(need, most_elements(engine, array) - mine - LINKS - 1)
    if not mine and not min(may_start, free):
        engine.say_while(f"{array.key}: waits, because {name} has no room for more elements of this user now")
    most = UNLIMITED if array.call else largest_array(engine, array, name)
    while width > 0 and free > 0:
        part = min(width, most)
        began = time.monotonic()
        error = _submit_job(engine, array, resources, request, part, slots, free if free < part else None)
        if error is None:
            width -= part
            free -= part
        elif error.kind == "limit" and part > 1 and time.monotonic() - began < SOON:
            most = part // 2
        else:
            if error.kind == "limit":
                note_full(engine, name)
                engine.say_while(f"{name}: the scheduler takes no more jobs now ({error}); the rest waits")
            return


def _free_here(engine: Engine, array: ArrayState, request: dict[str, Any]) -> int:
    """Workers for which this machine has room. They never queue: there is room for one or there is not."""
    if array.call:
        return 1  # a call is the tick's own work: it does not wait for room
    name = array_site(engine, array)
    site = engine.site(name)
    used = 0
    for job in engine.state.campaign.jobs.values():
        if job.site == name and not job.ended and job.array:
            mine = _workers_of(engine.state.campaign.arrays[job.array], job)
            used += (queued_elements(engine, job, mine) + running_elements(mine)) * job.slots * job.cores
    limit = engine.scheduler(name).limits().running or 1
    task_class = site.task_class(array.task_class)
    cores = max(1, int(request.get("cores") or task_class.cores)) * slots_per_worker(engine, array, request)
    return max((limit - used) // cores, 0 if used else 1)


def _submit_job(
    engine: Engine,
    array: ArrayState,
    resources: str,
    request: dict[str, Any],
    width: int,
    slots: int,
    throttle: int | None,
) -> SchedulerError | None:
    """Journal the intent, write the script, ask the scheduler, journal the id; return what it said against it."""
    from hpcflow.engine.script import job_script, log_directory, write_script

    name = array_site(engine, array)
    site = engine.site(name)
    task_class = site.task_class("default" if array.call else array.task_class)
    job = JobState(
        number=max(engine.state.campaign.jobs, default=0) + 1,
        array=array.number,
        token=new_token(array.number),
        width=width,
        resources=resources,
        request=request,
        task_class=array.task_class,
        site=name,
        intended=engine.now(),
        walltime=float(request.get("walltime") or task_class.walltime),
        slots=slots // task_class.shape(request).workers,
        cores=int(request.get("cores") or task_class.cores),
        nodes=task_class.shape(request).workers,
        throttle=throttle,
    )
    text = job_script(engine, array, job)  # first: a mistake in a template must not leave an intent
    engine.record("intent", job=job.number, **{field: getattr(job, field) for field in _INTENT})
    script = write_script(engine, array, job, text)
    engine.verify()
    try:
        submission = Submission(script, job.token, width, throttle, log_directory(engine, array))
        identity = engine.scheduler(name).submit(submission)
    except SchedulerError as error:
        _submission_failed(engine, array, job.number, error)
        return error
    engine.record("submitted", job=job.number, id=identity, adopted=False)
    note_taken(engine, name, width)
    if not array.call:
        engine.say(f"{array.key}: submitted job {identity} with {width} worker{'s' if width > 1 else ''}")
    return None


def _submission_failed(engine: Engine, array: ArrayState, number: int, error: SchedulerError) -> None:
    if error.kind == "unclear":
        engine.say(f"{array.key}: the scheduler did not say whether it took the job; it will be looked for ({error})")
        return
    engine.record("refused", job=number, message=str(error), refusal=error.kind)
    site = engine.state.campaign.jobs[number].site
    if error.kind == "permanent" and excluded_nodes(engine, site):
        include_all(engine, site)
        engine.say(f"{array.key}: refused ({error}); the next tick tries again with the nodes that had failed")
    elif error.kind == "permanent":
        message = f"{array.key}: the scheduler refused the job: {error}"
        if error.command:
            message += f"\n  command: {' '.join(error.command)}"
        if error.reply.strip():
            message += f"\n  it said: {error.reply.strip()[:1000]}"
        engine.record("hold", array=array.number, reason="the scheduler refused its job")
        engine.attention(f"array {array.number}", message + "\nWhen that is mended, type: hpcflow resume")
    elif error.kind != "limit":
        engine.say_while(f"{array.key}: not submitted now ({error}); the next tick tries again")


def new_token(number: int) -> str:
    """A name no other job has: a prefix for people and ten random characters; 15 in all, which every site takes."""
    return f"hf{number % 1000:03d}" + "".join(secrets.choice(_ALPHABET) for _ in range(10))


def _in_budget(engine: Engine) -> bool:
    """Whether the campaign may still spend node-hours."""
    budget = engine.state.campaign.settings.get("budget")
    if budget is None:
        return True
    used = node_hours(engine)
    if used < budget:
        return True
    engine.attention(
        "budget",
        f"The budget of {budget:g} node-hours is used up ({used:.1f}). To go on, raise it with: hpcflow set --budget N",
    )
    return False


def node_hours(engine: Engine) -> float:
    """Node-hours of all workers so far, of live arrays from hello to the last word."""
    hours = 0.0
    for array in engine.state.campaign.arrays.values():
        for worker in array.workers.values():
            if worker.hello:
                hours += max(0.0, worker.last - worker.hello) / 3600
    return hours + sum(array.node_seconds for array in engine.state.campaign.arrays.values() if array.done) / 3600


def _cancel_surplus(engine: Engine, array: ArrayState, waiting: dict[str, int]) -> None:
    """Queued workers for whose resources nothing is left would only wait to leave again."""
    for job in _live_jobs(engine, array):
        if not job.id or waiting.get(job.resources, 0) or job.site in engine.blind:
            continue
        started = _started(engine, array, job)
        queued = [
            Element(job.id, index if job.width > 1 else None, job.token, State.QUEUED, "")
            for index, state in job.elements.items()
            if state in (State.QUEUED.value, State.HELD.value) and index not in job.absent and index not in started
        ]
        if not queued:
            continue
        fresh = {element.index or 0 for element in queued}.difference(job.dismissed)
        if fresh:
            engine.record("dismissed", job=job.number, elements=ranges(sorted(fresh)))
        engine.verify()
        try:
            engine.scheduler(job.site).cancel(queued)
        except SchedulerError as error:
            engine.say(f"{array.key}: queued workers without work could not be cancelled ({error})")
        else:
            number = f"{len(queued)} queued worker{'s' if len(queued) > 1 else ''}"
            engine.say(f"{array.key}: cancelled {number} for which no work is left")


def _started(engine: Engine, array: ArrayState, job: JobState) -> set[int]:
    """Elements with a worker by now: one that has taken, since the listing, what seems to be left to nobody.

    A worker makes its file before its first claim.
    """
    try:
        names = os.listdir(engine.path(array) / "work" / "out")
    except FileNotFoundError:
        return set()  # the array is done
    return {element for token, element in map(origin, names) if token == job.token}


def cancel_array(engine: Engine, array: ArrayState) -> None:
    """Cancel the jobs of one array."""
    cancel_jobs(engine, _live_jobs(engine, array))


def cancel_all(engine: Engine) -> int:
    """Cancel every job of this campaign; return how many could be asked to end."""
    return cancel_jobs(engine, [job for job in engine.state.campaign.jobs.values() if not job.ended])


def cancel_jobs(engine: Engine, jobs: list[JobState]) -> int:
    """Cancel whole jobs, by id and name together; return how many could be asked to end."""
    asked = 0
    for site in sorted({job.site for job in jobs}):
        mine = [job for job in jobs if job.site == site and job.id]
        names = ", ".join(f"{job.token} ({job.id})" for job in mine)
        if not mine:
            continue
        if site in engine.silent:
            engine.say(f"{site}: the scheduler did not answer, so {names} could not be cancelled")
            continue
        for job in mine:
            if len(job.dismissed) < job.width:
                engine.record("dismissed", job=job.number, elements=[[0, job.width]])
        engine.verify()
        try:
            engine.scheduler(site).cancel([Element(job.id, None, job.token, State.RUNNING, "") for job in mine])
        except SchedulerError as error:
            engine.say(f"{site}: of {names} not all could be cancelled: {error}; type again: hpcflow cancel")
        else:
            asked += len(mine)
    return asked
