"""Where a campaign stands, in one plain dictionary: what ``hpcflow status --json`` prints."""

from __future__ import annotations

import json
import math
from collections import Counter
from typing import Any

from hpcflow.database.state import OPEN, ArrayState, CampaignState, JobState, WorkerState
from hpcflow.engine.endings import job_log, sum_up
from hpcflow.engine.engine import Engine

EXIT_CODES = {"done": 0, "running": 3, "waiting": 3, "attention": 4}
"""Exit code of ``poll`` by the state of the campaign."""


def campaign_state(campaign: CampaignState) -> str:
    """``done``, ``attention``, ``running`` or ``waiting``."""
    if campaign.attention:
        return "attention"
    if campaign.finished:
        return "done"
    return "running" if any(running_workers(array) for array in campaign.arrays.values()) else "waiting"


def running_workers(array: ArrayState) -> list[WorkerState]:
    """Workers that have begun and, as far as is known, not ended."""
    return [
        worker
        for name, worker in array.workers.items()
        if worker.job and worker.hello and not worker.settled and not worker.goodbye
        if name not in array.closed or worker.woke
    ]


def summarize(engine: Engine) -> dict[str, Any]:
    """All numbers that people and programs ask for. Costs nothing per finished task."""
    campaign = engine.state.campaign
    arrays = [a for a in campaign.arrays.values() if not a.call and a.current]
    total = sum(a.count for a in arrays)
    succeeded = sum(a.succeeded for a in arrays)
    failed = sum(a.failed for a in arrays)
    everything = campaign.arrays.values()
    return {
        "campaign": str(engine.campaign),
        "state": campaign_state(campaign),
        "site": campaign.site,
        "paused": campaign.paused,
        "cancelled": campaign.cancelled,
        "tasks": {
            "total": total,
            "succeeded": succeeded,
            "failed": failed,
            "unfinished": total - succeeded - failed,
        },
        "arrays": [_array(engine, a) for a in arrays],
        "attention": dict(campaign.attention),
        "conditions": list(campaign.told),
        "cost": {
            # Rounded: in another order the same numbers have another sum.
            "core_hours": round(sum(a.core_seconds + a.wasted for a in everything) / 3600, 9),
            "wasted_core_hours": round(sum(a.wasted for a in everything) / 3600, 9),
            "repeated_tasks": sum(a.repeated for a in everything),
        },
        "settings": dict(campaign.settings),
        "unknown_states": dict(campaign.unknown),
        "metrics": read_metrics(engine),
    }


def _array(engine: Engine, array: ArrayState) -> dict[str, Any]:
    campaign = engine.state.campaign
    workers = running_workers(array)
    jobs = [job for job in campaign.jobs.values() if job.array == array.number]
    return {
        "number": array.number,
        "name": array.key,
        "class": array.task_class,
        "state": "done" if array.done else "held" if array.hold else "live",
        "hold": array.hold,
        "total": array.count,
        "succeeded": array.succeeded,
        "failed": array.failed,
        "unfinished": array.open,
        "running_workers": len(workers),
        # Tasks that were handed over: those behind the first of each slot wait.
        "in_flight": sum(1 for worker in workers for flight in worker.flight.values() if flight.tasks),
        "mean_seconds": round(array.seconds / array.succeeded, 9) if array.succeeded else None,
        "left_seconds": _left(array, workers),
        "ended_by": dict(sorted(_ends(array).items())),
        "failures": dict(sorted(_failures(engine, array).items())),
        "never_started": _never_started(engine, array, jobs),
        "jobs": [
            {
                "number": job.number,
                "id": job.id,
                "name": job.token,
                "site": job.site,
                "workers": job.width,
                "state": "ended" if job.ended else _job_state(job.elements, bool(job.id)),
                "cause": job.cause or job.error,
                "reason": job.reason,
            }
            for job in jobs
        ],
    }


def _ends(array: ArrayState) -> Counter[str]:
    """Workers that ended before there was no work left, by what ended them."""
    said = (worker.goodbye for name, worker in array.workers.items() if name not in array.closed)
    return Counter(array.closed.values()) + Counter(goodbye for goodbye in said if goodbye not in ("", "no work"))


def _failures(engine: Engine, array: ArrayState) -> Counter[str]:
    """Attempts that count as one of the tries of tasks that are still tried, by reason.

    What was counted for decided tasks depends on the order in which their records were read.
    """
    status = engine.state.status.get(array.number, b"")
    counts: Counter[str] = Counter()
    for task, charges in array.charges.items():
        if task < len(status) and status[task] == OPEN:
            counts.update(charges)
    return +counts


def _never_started(engine: Engine, array: ArrayState, jobs: list[JobState]) -> dict[str, Any] | None:
    """Elements that ended before any worker could start, and how those of the last such job did."""
    dead = [job for job in jobs if job.ends]
    if not dead:
        return None
    said = job_log(engine, array, dead[-1]).splitlines()[-1:]
    return {
        "elements": sum(len(job.ends) for job in dead),
        "job": dead[-1].id,
        "why": sum_up(dead[-1].ends.values()),
        "said": "".join(said),
    }


def _left(array: ArrayState, workers: list[WorkerState]) -> float | None:
    """About how long the workers that are there now need for the rest; None where nothing says so."""
    slots = sum(worker.slots for worker in workers)
    if array.done or not slots or not array.succeeded:
        return None
    return round(math.ceil(array.open / slots) * array.seconds / array.succeeded, 3)


def _job_state(elements: dict[int, str], known: bool) -> str:
    if not known:
        return "unanswered"
    states = set(elements.values())
    return next((s for s in ("running", "held", "queued", "unknown", "ended") if s in states), "submitted")


def read_metrics(engine: Engine) -> list[dict[str, Any]]:
    """The lines of metrics.jsonl, where the workflow writes any; lines that somebody damaged are left out."""
    try:
        lines = (engine.campaign / "metrics.jsonl").read_text(errors="replace").splitlines()
    except OSError:
        return []
    found = []
    for line in lines:
        try:
            entry = json.loads(line)
        except ValueError:
            continue  # the report says so; the next replay writes the file anew
        if isinstance(entry, dict):
            found.append(entry)
    return found
