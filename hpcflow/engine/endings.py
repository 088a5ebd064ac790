"""Endings: what accounting says of workers and job elements that are gone, and of submissions that were not answered.

It is asked once for everything of a site, and not again before the site's settle time is over.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from hpcflow.database.state import ArrayState, JobState, WorkerState
from hpcflow.engine.engine import Engine
from hpcflow.engine.excluded import exclude_node
from hpcflow.engine.observe import LOOKS, ON, PATIENCE, came_back, element_is_gone, worker_is_gone
from hpcflow.engine.width import unclaimed
from hpcflow.schedulers.base import Cause, Element, Ending, SchedulerError, State

NEVER_STARTED = "ended before any worker could start"
MOST_NODES = 4
"""Names of nodes in one line."""


def explain(engine: Engine) -> None:
    """Ask about everything that is gone and has not said why itself, and about what may be a job or not."""
    sought: dict[str, list[JobState]] = {}
    for job in engine.state.campaign.jobs.values():
        # The listing has given it up. A job that has begun, failed and left the queue is known to accounting alone.
        if job.number in engine.missed and job.misses == LOOKS and not job.id:
            sought.setdefault(job.site, []).append(job)
    started: dict[str, list[tuple[JobState, int]]] = {}
    others: dict[str, list[tuple[JobState, int]]] = {}
    for array in engine.live_arrays():
        for job, index in _silent(engine, array):
            started.setdefault(job.site, []).append((job, index))
        for job, index in _never_started(engine, array):
            others.setdefault(job.site, []).append((job, index))
    for site in sorted({*started, *others, *sought}):
        _ask(engine, site, started.get(site, []), others.get(site, []), sought.get(site, []))
    for array in engine.live_arrays():
        _note_never_started(engine, array)


def needs_explanation(engine: Engine, worker: WorkerState, job: JobState | None) -> bool:
    """Whether a worker that is gone has not said why: not at all, or only that it was told to stop."""
    if not worker.goodbye:
        return True
    return worker.goodbye == "signal" and job is not None and engine.site(job.site).scheduler.kind != "local"


def why_gone(engine: Engine, array: ArrayState, worker: WorkerState, job: JobState | None) -> tuple[str, str] | None:
    """Cause and evidence of a worker's end; None if it may still become known."""
    if job is None or not job.id:
        return (worker.goodbye or "lost", worker.message or "ended without a word")
    ending = ending_of(engine, array, worker, job)
    if ending is not None and ending.cause is not Cause.UNKNOWN:
        plain = ending.cause in (Cause.COMPLETED, Cause.FAILED)  # of the job; the worker knows better
        return ((worker.goodbye or "lost") if plain else ending.cause.value, describe(ending))
    settle = engine.site(job.site).scheduler.settle
    if worker.missed <= worker.grown:
        # A batch system may need minutes to notice that a node is dead, and accounting is asked only then.
        worker.missed = engine.now()
        engine.changed = True
    waited = min(engine.now() - worker.grown, engine.now() - worker.missed + settle)
    if waited < PATIENCE * settle:
        return None
    if came_back(engine, array, job, worker):
        return ("preempted", "put back into the queue")  # no scheduler does that for a fault of the job
    if worker.goodbye:
        return (worker.goodbye, worker.message)
    return ("lost", "ended without a word, and nothing explains it")


def ending_of(engine: Engine, array: ArrayState, worker: WorkerState, job: JobState) -> Ending | None:
    """What was found out of the life of its element in which a worker began; None if nothing is known of that one."""
    ending = engine.endings.get((job.token, worker.element))
    again = came_back(engine, array, job, worker)
    if ending is None or not (again or (ending.lives and worker.hello)):
        return ending
    # Clocks of nodes differ a little, and times are rounded: the life that is nearest is the one.
    known = [life for life in ending.lives or (ending,) if life.start is not None]
    nearest = min(known, key=lambda life: _outside(life, worker.hello), default=None)
    near = nearest is not None and _outside(nearest, worker.hello) <= engine.site(job.site).scheduler.settle
    return nearest if near else None


def _outside(life: Ending, moment: float) -> float:
    """Seconds between a moment and a life of an element; 0 within it."""
    return max(0.0, (life.start or 0.0) - moment, moment - (moment if life.end is None else life.end))


def describe(ending: Ending) -> str:
    """An ending in the scheduler's words."""
    text = ending.native
    if ending.exit_code:
        text += f", exit code {ending.exit_code}"
    if ending.signal:
        text += f", signal {ending.signal}"
    if ending.nodes:
        text += f"{ON}{ending.nodes}"
    return text


def hold_cancelled(engine: Engine, array: ArrayState, job: JobState) -> None:
    """Somebody else has ended a job of ours: nothing more is submitted before that person has spoken."""
    if array.hold or engine.state.campaign.cancelled:
        return
    engine.record("hold", array=array.number, reason="its job was cancelled by somebody")
    engine.attention(
        f"array {array.number}",
        f"{array.key}: job {job.id} ({job.token}), or a part of it, was cancelled, and not by hpcflow. "
        "Finished tasks stay, and workers that run go on. To compute the rest, type: hpcflow resume\n"
        "To stop everything: hpcflow cancel",
    )


def _silent(engine: Engine, array: ArrayState) -> Iterator[tuple[JobState, int]]:
    """Elements of workers that are gone and did not say why."""
    jobs = {job.token: job for job in engine.state.campaign.jobs.values()}
    for name, worker in array.workers.items():
        job = jobs.get(worker.job)
        if job is None or not job.id or worker.settled or name in array.closed:
            continue
        gone = needs_explanation(engine, worker, job) and worker_is_gone(engine, array, name, worker)
        if gone and (element_is_gone(engine, job, worker.element) or came_back(engine, array, job, worker)):
            yield job, worker.element


def _never_started(engine: Engine, array: ArrayState) -> Iterator[tuple[JobState, int]]:
    """Elements that are gone without ever bringing a worker."""
    jobs = [j for j in engine.state.campaign.jobs.values() if j.array == array.number and j.id and not j.ended]
    if array.hold or not any(job.absent for job in jobs):
        return
    brought = {(worker.job, worker.element) for worker in array.workers.values()}
    for job in jobs:
        for index in job.absent:
            known = index in job.ends or index in job.dismissed or (job.token, index) in brought
            if not known and element_is_gone(engine, job, index):
                yield job, index


def _ask(
    engine: Engine,
    site: str,
    started: list[tuple[JobState, int]],
    others: list[tuple[JobState, int]],
    sought: list[JobState],
) -> None:
    campaign = engine.state.campaign
    settle = engine.site(site).scheduler.settle
    if engine.now() - campaign.asked.get(site, 0.0) < settle:
        _seek_again(engine, sought, settle)
        return
    campaign.asked[site] = engine.now()
    engine.changed = True
    asked = {_element(job, index) for job, index in [*started, *others]}
    # What of an array was cancelled before it started may be known as a whole only.
    asked |= {Element(job.id, None, job.token, State.ENDED, "") for job in [*(job for job, _ in others), *sought]}
    try:
        endings = engine.scheduler(site).endings(asked)
    except SchedulerError as error:
        engine.say_while(f"{site}: accounting did not answer ({error}); workers that are gone are explained later")
        _seek_again(engine, sought, settle)
        return
    for job in sought:
        if ending := endings.get((job.token, None)):
            engine.record("submitted", job=job.number, id=ending.job, adopted=True)
            engine.say(f"job {job.token}: found in accounting as {ending.job}")
    for job, index in started:
        if ending := endings.get((job.id, _element(job, index).index)):
            engine.endings[job.token, index] = ending
    for job, index in others:
        if ending := endings.get((job.id, _element(job, index).index)) or endings.get((job.id, None)):
            engine.endings[job.token, index] = ending


def _seek_again(engine: Engine, sought: list[JobState], settle: float) -> None:
    """What accounting could not be asked about now is not given up yet, unless that lasts."""
    for job in sought:
        if engine.now() - job.intended < (PATIENCE + 1) * settle:
            job.misses -= 1


def _element(job: JobState, index: int) -> Element:
    return Element(job.id, index if job.width > 1 else None, job.token, State.ENDED, "")


def _note_never_started(engine: Engine, array: ArrayState) -> None:
    found: dict[int, dict[int, str]] = {}
    cancelled = set()
    for job, index in _never_started(engine, array):
        ending = engine.endings.get((job.token, index))
        if ending is not None:
            found.setdefault(job.number, {})[index] = describe(ending)
            if ending.cause is Cause.NODE:
                exclude_node(engine, job.site, ending)
            if ending.cause is Cause.CANCELLED:
                cancelled.add(job.number)
    jobs = engine.state.campaign.jobs
    for number, ends in found.items():
        note_never_started(engine, array, jobs[number], ends)
    left = unclaimed(engine, array) if cancelled else {}
    for number in sorted(cancelled):
        if left.get(jobs[number].resources):  # others would be submitted in their place
            hold_cancelled(engine, array, jobs[number])


def note_never_started(engine: Engine, array: ArrayState, job: JobState, ends: dict[int, str]) -> None:
    """Write down and say how elements ended before a worker could start, and the last line that their job printed."""
    engine.record("never_started", job=job.number, ends={str(index): why for index, why in ends.items()})
    elements = f"{len(ends)} elements" if len(ends) > 1 else "an element"
    said = job_log(engine, array, job).splitlines()[-1:]
    engine.say(
        "\n  ".join([f"{array.key}: {elements} of job {job.id} {NEVER_STARTED}: {sum_up(ends.values())}", *said])
    )


def sum_up(ends: Iterable[str]) -> str:
    """Descriptions of endings, those that differ in their nodes alone together."""
    nodes: dict[str, set[str]] = {}
    for end in ends:
        words, _, node = end.partition(ON)
        nodes.setdefault(words, set()).update([node] if node else [])
    return "; ".join(words + _places(sorted(places)) for words, places in sorted(nodes.items()))


def _places(nodes: list[str]) -> str:
    if not nodes:
        return ""
    more = f" and {len(nodes) - MOST_NODES} more" if len(nodes) > MOST_NODES else ""
    return f"{ON}{', '.join(nodes[:MOST_NODES])}{more}"


def job_log(engine: Engine, array: ArrayState, job: JobState) -> str:
    """The end of what a job printed outside of tasks."""
    logs = (engine.path(array) / "work" / "log").glob(f"{job.token}*")
    try:
        for log in sorted(logs, key=lambda path: path.stat().st_mtime, reverse=True):
            if text := log.read_bytes()[-2000:].decode("utf-8", "replace").strip():
                return text
    except FileNotFoundError:
        return ""  # a tick has finished the array while somebody only looked
    return ""
