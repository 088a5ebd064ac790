"""What a machine would refuse, found before anything is submitted.

Each rule stands for a documented rejection or a documented silent failure on some machine: jobs
that are refused at submission, that wait for ever, or that use one GPU of eight and are billed for all.
"""

from __future__ import annotations

import datetime
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hpcflow.errors import UserError
from hpcflow.sites.container_rules import container_problems
from hpcflow.sites.layers import ACCOUNT_VARIABLE, site_document
from hpcflow.sites.options import LAUNCHER_WORDS, WORDS, resolve_options, unknown_words
from hpcflow.sites.quantities import duration_text
from hpcflow.sites.schema import Options, Queue, Site, TaskClass
from hpcflow.sites.shape import Shape, fit
from hpcflow.sites.shipped import user
from hpcflow.sites.yaml_reader import Document, KeyPath, dotted

Problem = tuple[KeyPath, str]
"""The key to change, and what is wrong with it."""

OWN_OPTIONS = {
    "slurm": ("array", "a", "job-name", "J", "output", "o", "wrap"),
    "pbs": ("J", "t", "N", "o"),
    "lsf": ("J", "o", "oo"),
    "local": (),
}
"""Options that hpcflow gives at submission: elements, name and output. In a script, they would make other jobs."""


def validate(site: Site, class_name: str | None = None, request: Mapping[str, Any] | None = None) -> None:
    """Raise UserError if jobs of a class (of any class without ``class_name``) could not run.

    Parameters
    ----------
    request
        Values that replace those of the class, as in ``Script.request``.
    """
    names = list(site.classes) if class_name is None else [class_name]
    found = list(_site_problems(site))
    for name in names:
        found += _class_problems(site, name, site.task_class(name), request or {})
    if found:
        document = site_document(site.name, Path(site.campaign) if site.campaign else None)
        raise UserError("\n".join(dict.fromkeys(_message(document, path, text) for path, text in found)))


def _message(document: Document, path: KeyPath, text: str) -> str:
    return f"{document.where(path)}: key {dotted(path)}: {text}"


def _site_problems(site: Site) -> Iterator[Problem]:
    if site.until is not None and site.until < datetime.date.today():
        mend = f"If it still runs, write `until: null` into {user('sites') / site.name}.yaml."
        yield ("until",), f"{site.name} went out of service on {site.until}. {mend}"

    for place in site.campaign_not_in if site.campaign else ():
        mine, forbidden = Path(site.campaign or "").resolve(), Path(os.path.expandvars(place)).resolve()
        if mine.is_relative_to(forbidden):
            text = f"a campaign on {site.name} must not be below {place}, as {mine} is: move it."
            yield ("campaign_not_in",), text


def _class_problems(site: Site, name: str, task_class: TaskClass, request: Mapping[str, Any]) -> Iterator[Problem]:
    queue = site.queue_of(task_class)
    shape = task_class.shape(request)
    unknown = list(_unknown_words(site, name, task_class))
    yield from unknown
    yield from ((("classes", name, "launcher"), p) for p in unknown_words(task_class.launcher, LAUNCHER_WORDS))
    if "{memory}" in task_class.launcher and not shape.memory:
        yield (
            ("classes", name, "launcher"),
            f"class {name}: {{memory}} has no value, the class asks for none.",
        )
    for rule in (_duration, _nodes, _room, _ratio, _packing):
        for key, text in rule(site, task_class, queue, shape):
            yield ("classes", name, key), f"class {name}: {text}"
    if not unknown:
        yield from _options(site, name, task_class, queue, shape)
    yield from container_problems(site, name, task_class)


Rule = Callable[[Site, TaskClass, Queue, Shape], Iterator[tuple[str, str]]]


def _duration(site: Site, task_class: TaskClass, queue: Queue, shape: Shape) -> Iterator[tuple[str, str]]:
    asked = duration_text(shape.walltime)
    longest = longest_walltime(queue, shape.nodes)
    if longest is not None and shape.walltime > longest:
        nodes = f" for {shape.nodes} nodes" if queue.max_walltime_by_nodes else ""
        yield (
            "walltime",
            f"{asked} is more than queue {task_class.queue} allows{nodes}: {duration_text(longest)}.",
        )
    if shape.walltime < queue.min_walltime:
        least = duration_text(queue.min_walltime)
        yield "walltime", f"{asked} is less than the {least} that queue {task_class.queue} is for."
    if shape.walltime <= task_class.margin:
        yield "walltime", f"{asked} is not longer than the margin of {duration_text(task_class.margin)}."


def longest_walltime(queue: Queue, nodes: int) -> float | None:
    """Return the longest walltime a queue allows a job of so many nodes; None if it is not known."""
    for bound in sorted(queue.max_walltime_by_nodes):
        if nodes <= bound:
            return queue.max_walltime_by_nodes[bound]
    return queue.max_walltime


def _nodes(site: Site, task_class: TaskClass, queue: Queue, shape: Shape) -> Iterator[tuple[str, str]]:
    if shape.nodes < queue.min_nodes:
        yield (
            "nodes",
            f"queue {task_class.queue} takes jobs of at least {queue.min_nodes} nodes, not {shape.nodes}.",
        )
    if queue.max_nodes is not None and shape.nodes > queue.max_nodes:
        yield (
            "nodes",
            f"queue {task_class.queue} takes jobs of at most {queue.max_nodes} nodes, not {shape.nodes}.",
        )


def _room(site: Site, task_class: TaskClass, queue: Queue, shape: Shape) -> Iterator[tuple[str, str]]:
    node = site.node_of(task_class)
    if node is None and site.scheduler.kind == "local":
        here = len(os.sched_getaffinity(0))
        if shape.cores > here:
            yield "cores", f"{shape.cores} cores are more than this machine has: {here}."
        memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 20
        if shape.memory is not None and shape.memory > memory:
            yield "memory", f"{shape.memory} MiB of memory are more than this machine has: {memory}."
    if node is None or shape.slots is None:
        return
    slots = f" in {shape.slots} slots" if shape.slots > 1 else ""
    for key, per_slot, has, unit in (
        ("cores", shape.cores, node.cores, "cores"),
        ("gpus", shape.gpus, node.gpus, "GPUs"),
        ("memory", shape.memory or 0, node.memory, "MiB of memory"),
    ):
        if has is not None and per_slot * shape.slots > has:
            total = per_slot * shape.slots
            yield key, f"{total} {unit}{slots} are more than a node of queue {task_class.queue} has: {has}."


def _ratio(site: Site, task_class: TaskClass, queue: Queue, shape: Shape) -> Iterator[tuple[str, str]]:
    name, exact, most = task_class.queue, queue.cores_per_gpu, queue.max_cores_per_gpu
    if (exact or most) and not shape.gpus:
        yield "gpus", f"queue {name} is for jobs with GPUs."
    elif exact is not None and shape.cores != exact * shape.gpus:
        yield "cores", f"queue {name} wants {exact} cores per GPU: {exact * shape.gpus}, not {shape.cores}."
    elif most is not None and shape.cores > most * shape.gpus:
        yield (
            "cores",
            f"queue {name} gives at most {most} cores per GPU: {most * shape.gpus}, not {shape.cores}.",
        )


def _packing(site: Site, task_class: TaskClass, queue: Queue, shape: Shape) -> Iterator[tuple[str, str]]:
    node = site.node_of(task_class)
    if not queue.exclusive or node is None or task_class.slots is None or shape.span:
        return
    room = fit(node, shape.cores, shape.gpus, task_class.own_memory)
    if room >= 2 * task_class.slots:
        waste = f"queue {task_class.queue} hands out whole nodes, and {room} such slots fit on one"
        mend = "Leave `slots` out to use the node, or ask for more cores per slot."
        yield "slots", f"{waste}, not only {task_class.slots}. {mend}"


def _options(site: Site, name: str, task_class: TaskClass, queue: Queue, shape: Shape) -> Iterator[Problem]:
    options, missing = resolve_options(site, task_class, queue, shape)
    for option in missing:
        if option in ("account", "A", "P", "G"):
            mend = f"Set `account:` in {user('sites') / site.name}.yaml, or {ACCOUNT_VARIABLE}."
            yield ("required",), f"{site.name} runs no job without an account (option {option}). {mend}"
        else:
            yield (
                ("classes", name, "options"),
                f"class {name}: the option {option!r} is required on {site.name}.",
            )
    for option in OWN_OPTIONS[site.scheduler.kind]:
        if option in options:
            text = f"hpcflow says which elements, name and output a job has, so that {option!r} cannot be an option."
            yield _place_of_option(site, name, task_class, option), f"class {name}: {text}"
    for option in queue.forbidden:
        if option in options:
            text = f"queue {task_class.queue} refuses jobs with the option {option!r}."
            yield _place_of_option(site, name, task_class, option), f"class {name}: {text}"


def _place_of_option(site: Site, name: str, task_class: TaskClass, option: str) -> KeyPath:
    if option in task_class.options:
        return ("classes", name, "options", option)
    if task_class.queue and option in site.queue_of(task_class).options:
        return ("queues", task_class.queue, "options", option)
    return ("options", option)


def _unknown_words(site: Site, name: str, task_class: TaskClass) -> Iterator[Problem]:
    places: list[tuple[KeyPath, Options]] = [
        (("options",), site.options),
        (("classes", name, "options"), task_class.options),
    ]
    if task_class.queue:
        places.append((("queues", task_class.queue, "options"), site.queue_of(task_class).options))
    for path, options in places:
        for option, value in options.items():
            for text in [value] if isinstance(value, str) else value or []:
                yield from (((*path, option), problem) for problem in unknown_words(text, WORDS))
