"""How many workers an array may use, and how much unclaimed work there is for them."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from hpcflow.database.chunks import claims
from hpcflow.database.state import ArrayState, JobState, WorkerState
from hpcflow.engine.engine import HERE, Engine

UNLIMITED = 1 << 30


def array_site(engine: Engine, array: ArrayState) -> str:
    """Where the workers of an array are to run: ``run.call`` always on this machine, the rest on the campaign's site."""
    return HERE if array.call else engine.state.campaign.site


def most_workers(engine: Engine, array: ArrayState) -> int:
    """The most elements an array may have at once: class, campaign, queue, site, and this machine's cores."""
    if array.call:
        return 1
    name = array_site(engine, array)
    site = engine.site(name)
    task_class = site.task_class(array.task_class)
    limits = [site.limits]
    if task_class.queue:
        limits.append(site.queues[task_class.queue].limits)
    known = [task_class.workers, engine.state.campaign.settings.get("width")]
    known += [n for limit in limits for n in (limit.submit, limit.running)]
    if site.scheduler.kind == "local":
        cores = engine.scheduler(name).limits().running or 1
        known.append(cores // (task_class.cores * task_class.expected_slots()))
    return max(1, min((n for n in known if n is not None), default=DEFAULT_WIDTH))


DEFAULT_WIDTH = 16
"""Elements at once where neither site, class nor campaign sets a limit."""


def slots_per_worker(engine: Engine, array: ArrayState, request: dict[str, Any]) -> int:
    """Slots that one element is expected to have. The worker cuts them from what it really gets."""
    site = engine.site(array_site(engine, array))
    task_class = site.task_class("default" if array.call else array.task_class)
    return max(1, task_class.expected_slots(request)) * max(1, task_class.nodes)


def unclaimed(engine: Engine, array: ArrayState) -> dict[str, int]:
    """Chunks that nobody has taken, by the resources they need."""
    left: dict[str, int] = {}
    taken: dict[int, int] = {}
    for number, _ in claims(engine.path(array)):
        taken[number] = taken.get(number, 0) + 1
    for number, content in array.lists.items():
        count = content.chunks - taken.get(number, 0)
        if count > 0:
            left[content.resources] = left.get(content.resources, 0) + count
    return left


def queued_workers(engine: Engine, job: JobState, workers: list[WorkerState]) -> int:
    """Workers that a live job may still bring: of elements that are not gone and have not brought them."""
    settle = engine.site(job.site).scheduler.settle
    if not job.id and job.misses >= (1 if settle == 0 else 2):
        return 0  # looked for twice in good replies and not found: no longer counted on
    brought = Counter(worker.element for worker in workers)
    return sum(max(0, job.nodes - brought[i]) for i in range(job.width) if i not in job.absent)


def wanted_elements(chunks: int, slots: int) -> int:
    """Elements that unclaimed chunks can keep busy."""
    return math.ceil(chunks / max(1, slots))
