"""Submit: bring workers to unclaimed work, within every limit; take queued ones back that have none.

Intent before act: the token and everything about a job are in the journal before the scheduler is asked.
"""

from __future__ import annotations

import secrets
from typing import Any

from hpcflow.database.state import ArrayState, JobState, WorkerState
from hpcflow.engine.engine import Engine
from hpcflow.engine.limits import UNLIMITED
from hpcflow.engine.width import (
    array_site,
    queued_workers,
    slots_per_worker,
    unclaimed,
    wanted_elements,
)
from hpcflow.schedulers.base import Element, SchedulerError, State, Submission

_ALPHABET = "abcdefghijklmnopqrstuvwxyz0123456789"


def submit(engine: Engine) -> None:
    """Submit what is missing for every live array, older ones first."""
    if engine.state.campaign.cancelled:
        return
    for array in list(engine.live_arrays()):
        submit_array(engine, array)


def submit_array(engine: Engine, array: ArrayState) -> None:
    """Bring workers to one array."""
    waiting = unclaimed(engine, array)
    _cancel_surplus(engine, array, waiting)
    if not waiting or engine.state.campaign.paused or array.hold or not _in_budget(engine):
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
    """Queued elements and running workers of an array."""
    queued = running = 0
    for job in _live_jobs(engine, array, resources):
        mine = _workers_of(array, job)
        queued += queued_workers(engine, job, mine)
        running += sum(1 for worker in mine if not worker.settled)
    return queued, running


def _submit_for(engine: Engine, array: ArrayState, resources: str, chunks: int) -> None:
    request = next(c.request for c in array.lists.values() if c.resources == resources)
    slots = slots_per_worker(engine, array, request)
    queued, _ = _elements(engine, array, resources)
    all_queued, all_running = _elements(engine, array)
    need = wanted_elements(chunks, slots) - queued
    width = min(need, most_workers(engine, array) - all_queued - all_running, _room(engine, array, request))
    while width > 0:
        limits = engine.site(array_site(engine, array)).limits
        part = min(width, limits.array or UNLIMITED)
        if not _submit_job(engine, array, resources, request, part, slots):
            return
        width -= part


def _room(engine: Engine, array: ArrayState, request: dict[str, Any]) -> int:
    """Elements that this user may still have in the queue of the site."""
    name = array_site(engine, array)
    site = engine.site(name)
    used = 0
    used_cores = 0
    for job in engine.state.campaign.jobs.values():
        if job.site == name and not job.ended and job.array == 0:
            used += 1  # a link of the chain
        elif job.site == name and not job.ended:
            owner = engine.state.campaign.arrays[job.array]
            mine = _workers_of(owner, job)
            alive = queued_workers(engine, job, mine) + sum(1 for worker in mine if not worker.settled)
            used += alive
            used_cores += alive * job.slots * job.cores
    if site.scheduler.kind == "local":
        if array.call:
            return 1  # a call is the tick's own work: it does not wait for room
        # A local worker never queues: there is room for one or there is not.
        limit = engine.scheduler(name).limits().running or 1
        task_class = site.task_class(array.task_class)
        cores = max(1, int(request.get("cores") or task_class.cores)) * slots_per_worker(engine, array, request)
        return max((limit - used_cores) // cores, 0 if used else 1)
    limits = site.limits
    room = UNLIMITED if limits.submit is None else limits.submit - used
    if room <= 0:
        engine.say_while(f"{name}: {used} elements are queued or running, the site's limit; the rest waits")
    return max(0, room)


def _submit_job(
    engine: Engine, array: ArrayState, resources: str, request: dict[str, Any], width: int, slots: int
) -> bool:
    """Journal the intent, write the script, ask the scheduler, journal the id. False: do not go on."""
    from hpcflow.engine.script import write_script

    name = array_site(engine, array)
    site = engine.site(name)
    task_class = site.task_class("default" if array.call else array.task_class)
    number = max(engine.state.campaign.jobs, default=0) + 1
    token = new_token(array.number)
    engine.record(
        "intent",
        job=number,
        array=array.number,
        token=token,
        width=width,
        resources=resources,
        request=request,
        task_class=array.task_class,
        site=name,
        walltime=float(request.get("walltime") or task_class.walltime),
        slots=slots // task_class.shape(request).workers,
        cores=int(request.get("cores") or task_class.cores),
        nodes=task_class.shape(request).workers,
    )
    script, log = write_script(engine, array, engine.state.campaign.jobs[number])
    throttle = site.limits.running if site.limits.running is not None and site.limits.running < width else None
    engine.verify()
    try:
        identity = engine.scheduler(name).submit(Submission(script, token, width, throttle, log))
    except SchedulerError as error:
        return _submission_failed(engine, array, number, error)
    engine.record("submitted", job=number, id=identity, adopted=False)
    if not array.call:
        engine.say(f"{array.key}: submitted job {identity} with {width} worker{'s' if width > 1 else ''}")
    return True


def _submission_failed(engine: Engine, array: ArrayState, number: int, error: SchedulerError) -> bool:
    if error.kind == "unclear":
        engine.say(f"{array.key}: the scheduler did not say whether it took the job; it will be looked for ({error})")
        return False
    engine.record("refused", job=number, message=str(error), refusal=error.kind)
    if error.kind == "permanent":
        message = f"{array.key}: the scheduler refused the job: {error}"
        if error.command:
            message += f"\n  command: {' '.join(error.command)}"
        if error.reply.strip():
            message += f"\n  it said: {error.reply.strip()[:1000]}"
        engine.record("hold", array=array.number, reason="the scheduler refused its job")
        engine.attention(f"array {array.number}", message + "\nWhen that is mended, type: hpcflow resume")
    else:
        engine.say(f"{array.key}: not submitted now ({error}); the next tick tries again")
    return False


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
        queued = [
            Element(job.id, index if job.width > 1 else None, job.token, State.QUEUED, "")
            for index, state in job.elements.items()
            if state in (State.QUEUED.value, State.HELD.value) and index not in job.absent
        ]
        if not queued:
            continue
        engine.verify()
        try:
            engine.scheduler(job.site).cancel(queued)
        except SchedulerError as error:
            engine.say(f"{array.key}: queued workers without work could not be cancelled ({error})")
        else:
            engine.say(f"{array.key}: cancelled {len(queued)} queued workers that have no work left")


def cancel_array(engine: Engine, array: ArrayState) -> None:
    """Cancel the jobs of one array."""
    _cancel_jobs(engine, _live_jobs(engine, array))


def cancel_all(engine: Engine) -> None:
    """Cancel every job of this campaign."""
    _cancel_jobs(engine, [job for job in engine.state.campaign.jobs.values() if not job.ended])


def _cancel_jobs(engine: Engine, jobs: list[JobState]) -> None:
    """Cancel whole jobs, by id and name together."""
    for job in jobs:
        if not job.id:
            continue
        engine.verify()
        try:
            engine.scheduler(job.site).cancel([Element(job.id, None, job.token, State.RUNNING, "")])
        except SchedulerError as error:
            engine.say(f"job {job.token} ({job.id}) could not be cancelled: {error}; try again")
