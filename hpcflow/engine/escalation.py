"""More of what a failed task lacked: memory up to the node, walltime up to the queue's longest."""

from __future__ import annotations

from typing import Any

from hpcflow.database.state import ArrayState
from hpcflow.engine.engine import Engine
from hpcflow.engine.width import array_site

GROWTH = 1.5
"""Factor for memory after a task ran out of it."""

DEFAULT_MEMORY = 1024
"""MiB that a task is taken to have had where nobody says."""


def base_request(array: ArrayState, task: int) -> dict[str, Any]:
    """What a task was given beyond its class when the array was made."""
    for request, spans in array.requests:
        if any(start <= task < stop for start, stop in spans):
            return dict(request)
    return {}


def next_request(array: ArrayState, task: int) -> dict[str, Any]:
    """What the next attempt of a task needs beyond its class."""
    request = base_request(array, task)
    escalation = array.escalation.get(task, {})
    request.update({k: v for k, v in escalation.items() if k in ("memory", "walltime", "cores", "gpus")})
    return request


def more_memory(engine: Engine, array: ArrayState, task: int) -> int | None:
    """Memory in MiB for the next attempt of a task that ran out of it; None if the node has no more."""
    site = engine.site(array_site(engine, array))
    task_class = site.task_class("default" if array.call else array.task_class)
    now = next_request(array, task).get("memory") or task_class.memory or DEFAULT_MEMORY
    node = site.node_of(task_class)
    most = node.memory if node is not None else None
    wanted = int(now * GROWTH)
    if most is None or wanted <= most:
        return wanted
    return most if now < most else None


def more_walltime(engine: Engine, array: ArrayState, task: int) -> float | None:
    """Walltime in seconds for the next attempt of a task that never fitted; None if the queue allows no more."""
    from hpcflow.sites.rules import longest_walltime

    site = engine.site(array_site(engine, array))
    task_class = site.task_class("default" if array.call else array.task_class)
    now = float(next_request(array, task).get("walltime") or task_class.walltime)
    most = longest_walltime(site.queue_of(task_class), task_class.nodes)
    if most is None or now * 2 <= most:
        return now * 2
    return most if now < most else None
