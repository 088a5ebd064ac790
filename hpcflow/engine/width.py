"""How many workers an array may use, and how much unclaimed work there is for them."""

from __future__ import annotations

import math
from collections import Counter
from typing import Any

from hpcflow.database.chunks import claims
from hpcflow.database.state import ArrayState, JobState, WorkerState
from hpcflow.engine.engine import HERE, Engine
from hpcflow.engine.limits import MOST_UNASKED, queue_limits, site_limits
from hpcflow.engine.observe import PATIENCE, element_is_gone, may_turn_up


def array_site(engine: Engine, array: ArrayState) -> str:
    """Where the workers of an array run: those of ``run.call`` on this machine, the rest on the campaign's site."""
    return HERE if array.call else engine.state.campaign.site


def most_workers(engine: Engine, array: ArrayState) -> int:
    """The most elements an array may have at work at once: class, campaign, queue, site, and this machine's cores."""
    return _most(engine, array, relief=1)


def most_elements(engine: Engine, array: ArrayState) -> int:
    """The most elements an array may have in the queue.

    Where the number that may run is limited, as many again may wait behind them: they take over when the
    walltime of the others is over, without a tick.
    """
    return _most(engine, array, relief=2)


def _most(engine: Engine, array: ArrayState, relief: int) -> int:
    if array.call:
        return 1
    name = array_site(engine, array)
    site = engine.site(name)
    task_class = site.task_class(array.task_class)
    wanted = [task_class.workers, engine.state.campaign.settings.get("width")]
    if site.scheduler.kind == "local":
        cores = engine.scheduler(name).limits().running or 1
        wanted += [site.limits.running, cores // (task_class.cores * task_class.expected_slots())]
        return max(1, min(n for n in wanted if n is not None))
    limits = [site_limits(engine, name), queue_limits(engine, name, array.task_class)]
    wanted += [limit.submit for limit in limits]
    wanted += [limit.running * relief for limit in limits if limit.running is not None]
    known = [n for n in wanted if n is not None]
    if not known:
        return DEFAULT_WIDTH
    # A limit that only the cluster sets is no wish of anybody's.
    own = site.limits.submit or site.limits.running or limits[1].submit or limits[1].running
    chosen = own or wanted[0] is not None or wanted[1] is not None
    return max(1, min(known) if chosen else min(MOST_UNASKED, *known))


DEFAULT_WIDTH = 16
"""Elements at once where nobody sets a limit."""


def slots_per_worker(engine: Engine, array: ArrayState, request: dict[str, Any]) -> int:
    """Slots that one element is expected to have. The worker cuts them from what it really gets."""
    site = engine.site(array_site(engine, array))
    task_class = site.task_class("default" if array.call else array.task_class)
    shape = task_class.shape(request)
    return max(1, shape.slots or 1) * shape.workers


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


def queued_elements(engine: Engine, job: JobState, workers: list[WorkerState]) -> int:
    """Elements of a live job that may still bring workers: not gone, and not all of theirs are here."""
    if not job.id and not may_turn_up(engine, job):
        return 0
    brought = Counter(worker.element for worker in workers)
    patience = PATIENCE * engine.site(job.site).scheduler.settle

    def awaited(index: int) -> bool:
        if not element_is_gone(engine, job, index):
            return True
        # Not replaced before it is known why it ended without a worker: perhaps somebody wanted that.
        unexplained = not brought[index] and index not in job.ends and index not in job.dismissed
        return unexplained and engine.now() - job.absent.get(index, 0.0) < patience

    return sum(1 for index in range(job.width) if brought[index] < job.nodes and awaited(index))


def running_elements(workers: list[WorkerState]) -> int:
    """Elements of a job whose workers are at work."""
    return len({worker.element for worker in workers if not worker.settled})


def wanted_elements(chunks: int, slots: int) -> int:
    """Elements that unclaimed chunks can keep busy."""
    return math.ceil(chunks / max(1, slots))
