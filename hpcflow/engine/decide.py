"""Decide: what ended workers left undone goes back, failures meet their policy, finished arrays are closed.

Retries, escalation, stragglers and resources of single tasks are all the same thing: one more list of chunks.
"""

from __future__ import annotations

import os
import shlex
from collections import Counter
from typing import Any

from hpcflow.database.chunks import (
    chunk_bounds,
    claim_owner,
    claims,
    read_list,
    resources_id,
    tasks_of,
    write_list,
)
from hpcflow.database.state import (
    FAILED,
    OPEN,
    SUCCEEDED,
    ArrayState,
    JobState,
    Loose,
    WorkerState,
    members,
    ranges,
)
from hpcflow.engine.endings import (
    NEVER_STARTED,
    ending_of,
    hold_cancelled,
    job_log,
    needs_explanation,
    note_never_started,
    sum_up,
    why_gone,
)
from hpcflow.engine.engine import Engine
from hpcflow.engine.escalation import more_memory, more_walltime, next_request
from hpcflow.engine.excluded import exclude_node
from hpcflow.engine.finish import finish_array
from hpcflow.engine.observe import LOOKS, element_is_gone, worker_is_gone
from hpcflow.engine.width import most_workers, slots_per_worker, unclaimed
from hpcflow.schedulers.base import State

DEFAULT_RETRIES = {"error": 1, "timeout": 0, "oom": 3, "lost": 1, "unconverged": 0, "walltime": 3}
"""Attempts that follow a counted failure, by its reason."""

NOT_CHARGED = {"walltime", "node", "preempted", "cancelled", "signal", "no work", "no space", "broken", "unfinished"}
"""Ends of workers that are no fault of the tasks in flight."""

MOST_BARREN = 3
"""Jobs in a row that may bring nothing before an array stops and asks for a person."""

CHUNK_SECONDS = 60.0
"""Work that makes a chunk worth its claim."""


def decide(engine: Engine) -> None:
    """Take back what is undone, cut new lists of chunks, and close what is finished."""
    for array in list(engine.live_arrays()):
        decide_array(engine, array)
    decide_jobs(engine)


def decide_array(engine: Engine, array: ArrayState) -> None:
    """All decisions about one live array."""
    gone = [
        (name, worker)
        for name, worker in sorted(array.workers.items())
        if not worker.settled
        and ((name in array.closed and not worker.woke) or worker_is_gone(engine, array, name, worker))
    ]
    for name, worker in gone:
        if worker.broken and name not in array.pardoned:
            engine.record("pardon", array=array.number, worker=name, tasks=worker.broken)
    if gone:
        _take_back(engine, array, gone)
    _give_up(engine, array)
    if array.open == 0:
        finish_array(engine, array)
        return
    if any(worker.goodbye == "signal" and not worker.settled for worker in array.workers.values()):
        return  # somebody told a worker to stop: who it was decides if its work is given out again
    _cut(engine, array)


# -- workers that are gone ---------------------------------------------------------------------


def _take_back(engine: Engine, array: ArrayState, gone: list[tuple[str, WorkerState]]) -> None:
    """Close workers that are gone; what they took and did not decide becomes loose."""
    path = engine.path(array)
    owned: dict[str, list[tuple[int, int]]] = {}
    for claim in claims(path):
        if claim[0] in array.lists:
            owned.setdefault(claim_owner(path, claim), []).append(claim)
    lists: dict[int, dict[str, Any]] = {}
    jobs = {job.token: job for job in engine.state.campaign.jobs.values()}
    ends: Counter[str] = Counter()
    for name, worker in gone:
        job = jobs.get(worker.job)
        unexplained = name not in array.closed and needs_explanation(engine, worker, job)
        explanation = why_gone(engine, array, worker, job) if unexplained else None
        if unexplained and explanation is None:
            continue  # the scheduler may still explain it; until then it is not closed
        left: list[int] = []
        for number, chunk in owned.get(name, ()):
            content = lists.setdefault(number, {}) or read_list(path, number)
            lists[number] = content
            left += [t for t in tasks_of(content, chunk) if _is_out(engine, array, t, content)]
        in_flight = {t for flight in worker.flight.values() for t in flight.tasks[:1]}.intersection(left)
        if explanation is not None and explanation[0] != worker.goodbye:
            cause, evidence = explanation
            charged = {} if cause in NOT_CHARGED else {str(task): cause for task in sorted(in_flight)}
            engine.record("close", array=array.number, worker=name, cause=cause, evidence=evidence, charged=charged)
            ends[f"{cause} ({evidence})"] += 1
            if cause == "node" and job is not None:
                exclude_node(engine, job.site, ending_of(engine, array, worker, job))
            if cause == "cancelled" and job is not None and worker.element not in job.dismissed:
                hold_cancelled(engine, array, job)
        said = "" if worker.goodbye == "signal" else worker.goodbye
        reason = said or array.closed.get(name) or worker.goodbye
        if reason == "walltime":
            for task in worker.cut_short:
                escalation = array.escalation.setdefault(task, {})
                escalation["cut_short"] = escalation.get("cut_short", 0) + 1
        worker.cut_short = []
        for task in left:
            alone = task in in_flight and reason not in NOT_CHARGED
            array.loose[task] = Loose(reason, _source(engine, array, name, task), alone)
        worker.settled = True
        engine.changed = True
    for end, count in ends.items():
        engine.say(f"{array.key}: {'a worker' if count == 1 else f'{count} workers'} ended: {end}")


def _is_out(engine: Engine, array: ArrayState, task: int, content: dict[str, Any]) -> bool:
    """Whether a task is still undecided, and was given out in this list and nowhere since."""
    if engine.state.status[array.number][task] != OPEN or task in array.loose:
        return False
    attempt: int = content["attempts"].get(str(task), content["attempt"])
    return attempt == array.attempts.get(task, 1)


def _source(engine: Engine, array: ArrayState, name: str, task: int) -> str:
    """The directory of a task's newest attempt, relative to work/out, if there is anything in it."""
    relative = f"{name}.d/{task}.{array.attempts.get(task, 1)}"
    directory = engine.path(array) / "work" / "out" / relative
    try:
        return relative if any(os.scandir(directory)) else ""
    except OSError:
        return ""


# -- failures meet their policy -----------------------------------------------------------------


def _give_up(engine: Engine, array: ArrayState) -> None:
    """Give up tasks whose failures have used up their retries; escalate the others."""
    if not array.loose:
        return
    retries = {**DEFAULT_RETRIES, **array.policy.get("retries", {})}
    ladder = array.policy.get("ladder", [])
    retries["unconverged"] = max(retries["unconverged"], len(ladder))
    status = engine.state.status[array.number]
    given_up: dict[str, list[int]] = {}
    escalate: dict[str, dict[str, Any]] = {}
    for task, loose in array.loose.items():
        if status[task] != OPEN:
            continue
        charges = array.charges.get(task, {})
        over = [reason for reason, count in charges.items() if count > retries.get(reason, 0)]
        wanted = array.escalation.get(task, {})
        if wanted.get("cut_short", 0) > retries["walltime"]:
            over.append("walltime")
        if over:
            given_up.setdefault(over[0], []).append(task)
        elif loose.reason == "unconverged" and charges.get("unconverged", 0) != wanted.get("rung", 0):
            escalate[str(task)] = {"rung": charges["unconverged"]}
        elif charges.get("oom", 0) > wanted.get("oom", 0):
            memory = more_memory(engine, array, task)
            if memory is None:
                given_up.setdefault("oom", []).append(task)
            else:
                escalate[str(task)] = {"memory": memory, "oom": charges["oom"]}
        elif wanted.get("cut_short", 0) > 1 and loose.reason in ("unfinished", "walltime"):
            walltime = more_walltime(engine, array, task)
            if walltime is None:
                given_up.setdefault("walltime", []).append(task)
            else:
                escalate[str(task)] = {"walltime": walltime}
    for reason, tasks in given_up.items():
        engine.record("give_up", array=array.number, tasks=ranges(sorted(tasks)), reason=reason)
    if escalate:
        engine.record("escalate", array=array.number, tasks=escalate)
        for what in ("memory", "walltime"):
            if count := sum(what in change for change in escalate.values()):
                number = "1 task" if count == 1 else f"{count} tasks"
                engine.say(f"{array.key}: {number} had too little {what} and will get more")
    for task in [t for t in array.loose if status[t] in (SUCCEEDED, FAILED)]:
        del array.loose[task]


# -- lists of chunks -----------------------------------------------------------------------------


def _cut(engine: Engine, array: ArrayState) -> None:
    """Give out every task that no live chunk holds, in one more list for each set of resources."""
    if array.hold and array.lists:
        return  # workers that still run must not meet what it is held for again and again
    if not array.lists:
        status = engine.state.status[array.number]
        fresh = [t for t in range(array.count) if status[t] == OPEN]
        groups = _group_fresh(array, fresh)
    elif array.loose:
        # What comes back waits until nothing else is left to take: a list for every failure of a long array would
        # be a file for each, and a tick more or less does not matter before the end.
        waiting = unclaimed(engine, array)
        groups = [group for group in _group_loose(array) if not waiting.get(resources_id(group[0]))]
    else:
        return
    for request, rung, tasks in groups:
        _cut_list(engine, array, request, rung, tasks)


Group = tuple[dict[str, Any], int, list[int]]


def _group_fresh(array: ArrayState, tasks: list[int]) -> list[Group]:
    if not array.requests:
        return [({}, 0, tasks)] if tasks else []
    wanted = set(tasks)
    groups: list[Group] = []
    for request, spans in array.requests:
        mine = [t for t in members(spans) if t in wanted]
        wanted.difference_update(mine)
        if mine:
            groups.append((dict(request), 0, mine))
    rest = [t for t in tasks if t in wanted]
    if rest:
        groups.append(({}, 0, rest))
    return groups


def _group_loose(array: ArrayState) -> list[Group]:
    groups: dict[tuple[str, int], Group] = {}
    for task in sorted(array.loose):
        request = next_request(array, task)
        rung = array.escalation.get(task, {}).get("rung", 0)
        key = (resources_id(request), rung)
        groups.setdefault(key, (request, rung, []))[2].append(task)
    return list(groups.values())


def _cut_list(engine: Engine, array: ArrayState, request: dict[str, Any], rung: int, tasks: list[int]) -> None:
    number = max(array.lists, default=0) + 1
    first = not array.lists or all(task not in array.loose for task in tasks)
    alone = [t for t in tasks if t in array.loose and array.loose[t].alone]
    together = [t for t in tasks if not (t in array.loose and array.loose[t].alone)]
    mean = array.seconds / array.succeeded if array.succeeded else 0.0
    smallest = int(CHUNK_SECONDS / mean) if mean > 0 else 1
    bounds = chunk_bounds(len(together), expected_slots(engine, array, request, len(together)), smallest)
    ordered = together + alone
    bounds += [bounds[-1] + i + 1 for i in range(len(alone))]
    attempts = {} if first else {str(t): array.attempts.get(t, 1) + 1 for t in ordered}
    ladder = array.policy.get("ladder", [])
    engine.record(
        "cut",
        array=array.number,
        list=number,
        resources=resources_id(request),
        request=request,
        tasks=ranges(ordered),
        bounds=bounds,
        attempt=1,
        attempts=attempts,
        parameters=ladder[rung - 1] if 0 < rung <= len(ladder) else {},
        known=list(array.known),
        **{"from": {str(t): array.loose[t].source for t in ordered if t in array.loose and array.loose[t].source}},
    )
    write_missing_lists(engine)


def write_missing_lists(engine: Engine) -> None:
    """Write the lists of chunks that stand in the journal and not on disk yet."""
    while engine.unwritten:
        entry = engine.unwritten[0]
        array = engine.state.campaign.arrays[entry["array"]]
        if not array.done:
            engine.verify()
            write_list(
                engine.path(array), {k: v for k, v in entry.items() if k not in ("kind", "time", "array", "crc")}
            )
        engine.unwritten.pop(0)


def expected_slots(engine: Engine, array: ArrayState, request: dict[str, Any], tasks: int) -> int:
    """How many slots will share a list, as far as can be said before any worker runs."""
    return max(1, min(tasks, most_workers(engine, array) * slots_per_worker(engine, array, request)))


# -- jobs ----------------------------------------------------------------------------------------


def decide_jobs(engine: Engine, only: ArrayState | None = None) -> None:
    """Close jobs of which nothing is left, and stop arrays whose jobs bring nothing."""
    workers: dict[str, list[WorkerState]] = {}
    for array in engine.state.campaign.arrays.values():
        for worker in array.workers.values():
            workers.setdefault(worker.job, []).append(worker)
    for job in list(engine.state.campaign.jobs.values()):
        if job.ended or (only is not None and job.array != only.number):
            continue
        mine = workers.get(job.token, [])
        if not _job_is_over(engine, job, mine, _lives_lost(engine, job)):
            continue
        if job.array not in engine.state.campaign.arrays:
            engine.record("ended", job=job.number, cause="a link of the chain, gone")
            continue
        array = engine.state.campaign.arrays[job.array]
        if array.done:
            engine.record("ended", job=job.number, cause="done")
            continue
        progress = any(worker.progress for worker in mine)
        # Neither an intent that never became a job nor one that came when all work was taken has failed.
        surplus = not job.id or (not mine and unclaimed(engine, array).get(job.resources, 0) == 0)
        # Failures use up the tries of their tasks, which ends by itself, unless a worker says that they are no fault
        # of the tasks.
        tries = any(worker.charged for worker in mine) and not any(worker.broken for worker in mine)
        barren = 0 if progress else array.barren if surplus or tries else array.barren + 1
        if not surplus:
            known = {*job.ends, *job.dismissed, *(worker.element for worker in mine)}
            if unknown := [index for index in range(job.width) if index not in known]:
                ends = {index: engine.shown.get((job.token, index), "nobody knows why") for index in unknown}
                note_never_started(engine, array, job, ends)
        engine.record("ended", job=job.number, cause=_cause_of_job(job, mine, array), barren=barren)
        if array.barren >= MOST_BARREN and not array.hold:
            # All of them: one that found nothing to do may have come after those that say what is wrong.
            ended = [j.cause for j in engine.state.campaign.jobs.values() if j.array == array.number and j.ended]
            evidence = "; ".join(dict.fromkeys(ended[-array.barren :])) + _log_tail(engine, array, job)
            engine.record("hold", array=array.number, reason="its jobs bring nothing")
            engine.attention(
                f"array {array.number}",
                f"{array.key}: {array.barren} jobs in a row brought neither a finished task nor a newer checkpoint. "
                f"How they ended: {evidence}\nLook with: hpcflow explain {shlex.quote(array.name)}\n"
                "Then go on with: hpcflow resume",
            )


def _lives_lost(engine: Engine, job: JobState) -> Counter[int]:
    """Workers of each element that the scheduler took away: where it puts the element back, others come."""
    array = engine.state.campaign.arrays.get(job.array)
    if array is None:
        return Counter()
    taken = [name for name, cause in array.closed.items() if cause in ("node", "preempted") and name in array.workers]
    return Counter(array.workers[name].element for name in taken if array.workers[name].job == job.token)


def _job_is_over(engine: Engine, job: JobState, mine: list[WorkerState], lost: Counter[int]) -> bool:
    if not job.id:
        # Never answered: it may still turn up until its time would be over.
        settle = engine.site(job.site).scheduler.settle
        waited = engine.now() - job.intended
        return (job.misses >= LOOKS and waited > job.walltime + settle) or (settle == 0 and job.misses >= 1)
    brought = Counter(worker.element for worker in mine)
    waiting = (State.QUEUED.value, State.HELD.value)  # again, where it has brought its workers: it was requeued
    return all(worker.settled for worker in mine) and all(
        (brought[i] - lost[i] >= job.nodes and job.elements.get(i) not in waiting) or element_is_gone(engine, job, i)
        for i in range(job.width)
    )


def _cause_of_job(job: JobState, mine: list[WorkerState], array: ArrayState) -> str:
    never = f"{NEVER_STARTED}: {sum_up(job.ends.values())}" if job.ends else NEVER_STARTED
    if not mine:
        return never
    said = sorted({w.goodbye + (f": {w.message}" if w.message else "") for w in mine if w.goodbye})
    silent = sorted(
        {array.closed.get(name, "lost") for name, w in array.workers.items() if w in mine and not w.goodbye}
    )
    return "; ".join([*said, *silent, *([f"{len(job.ends)} of {job.width} {never}"] if job.ends else [])])


def _log_tail(engine: Engine, array: ArrayState, job: JobState) -> str:
    """The last lines that a job printed outside of tasks, and what they mean if its container did not start."""
    from hpcflow.sites.container_failures import explain_failure  # not needed by a light tick

    if text := job_log(engine, array, job):
        return "\n".join(["", *(f"  {line}" for line in text.splitlines()[-5:]), *explain_failure(text).splitlines()])
    return ""
