"""What one element of a job asks for, and how its worker divides it: pure arithmetic on a task class."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from hpcflow.sites.schema import Node, Queue, TaskClass


@dataclass(frozen=True)
class Shape:
    """Resources of one element; memory in MiB, time in seconds."""

    nodes: int
    span: bool
    slots: int | None
    """On one node; None where only the worker can find out."""
    cores: int
    """Of one slot on one node, like ranks, gpus and memory."""
    ranks: int
    gpus: int
    memory: int | None
    walltime: float
    exclusive: bool
    cpus_per_core: int

    @property
    def workers(self) -> int:
        """Workers of one element: one on each node, unless a task spans them all."""
        return 1 if self.span else self.nodes

    @property
    def threads(self) -> int:
        """Cores of one MPI process."""
        return max(1, self.cores // self.ranks)


def shape(task_class: TaskClass, queue: Queue, node: Node | None, request: Mapping[str, Any]) -> Shape:
    """Return what an element of this class asks for.

    Parameters
    ----------
    request
        Values that replace those of the class: ``cores``, ``gpus``, ``memory``, ``walltime``, ``slots``.
    """
    cores = int(request.get("cores") or task_class.cores)
    gpus = int(request.get("gpus", task_class.gpus))
    memory = request.get("memory") or task_class.own_memory or usual_memory(queue, cores, gpus)
    slots = 1 if task_class.span else request.get("slots") or task_class.slots
    whole = node if queue.exclusive else None
    if slots is None:
        slots = 1 if not queue.exclusive else None if whole is None else fit(whole, cores, gpus, memory)
    if memory is None and whole is not None and whole.memory is not None and slots is not None:
        memory = whole.memory // slots
    return Shape(
        nodes=task_class.nodes,
        span=task_class.span,
        slots=slots,
        cores=cores,
        ranks=task_class.ranks if cores % task_class.ranks == 0 else 1,
        gpus=gpus,
        memory=memory,
        walltime=float(request.get("walltime") or task_class.walltime),
        exclusive=queue.exclusive,
        cpus_per_core=node.cpus_per_core if node else 1,
    )


def usual_memory(queue: Queue, cores: int, gpus: int) -> int | None:
    """Return the memory that a queue gives a slot whose class asks for none."""
    if gpus and queue.memory_per_gpu is not None:
        return queue.memory_per_gpu * gpus
    return None if queue.memory_per_core is None else queue.memory_per_core * cores


def fit(node: Node, cores: int, gpus: int, memory: int | None) -> int:
    """Return how many slots of this size a node has room for; at least one."""
    room = node.cores // cores
    if gpus:
        room = min(room, node.gpus // gpus)
    if memory and node.memory is not None:
        room = min(room, node.memory // memory)
    return max(1, room)
