"""What a machine would refuse, found before anything is submitted.

Each rule stands for a documented rejection or a documented silent failure on some machine: jobs
that are refused at submission, that wait for ever, or that use one GPU of eight and are billed for all.
"""

from __future__ import annotations

import datetime
import os
import platform
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from hpcflow.containers import how_to_make
from hpcflow.errors import UserError
from hpcflow.sites.containers import ENGINES
from hpcflow.sites.images import architecture, local_path, missing_bytes
from hpcflow.sites.layers import ACCOUNT_VARIABLE, site_document
from hpcflow.sites.options import LAUNCHER_WORDS, WORDS, resolve_options, unknown_words
from hpcflow.sites.quantities import duration_text
from hpcflow.sites.schema import Options, Queue, Runtime, Site, TaskClass
from hpcflow.sites.shape import Shape, fit
from hpcflow.sites.shipped import user
from hpcflow.sites.yaml_reader import Document, KeyPath, dotted

Problem = tuple[KeyPath, str]
"""The key to change, and what is wrong with it."""

HIDE_THE_ENVIRONMENT = ("--cleanenv", "-e", "--containall", "-C")


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
    yield from _container(site, name, task_class)


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
    for option in queue.forbidden:
        if option in options:
            yield (
                ("classes", name, "options", option),
                f"class {name}: queue {task_class.queue} refuses jobs with the option {option!r}.",
            )


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


def _container(site: Site, name: str, task_class: TaskClass) -> Iterator[Problem]:
    container, runtime = task_class.container, site.container
    if container is None:
        return
    here: KeyPath = ("classes", name, "container")
    if runtime is None:
        yield (
            here,
            f"class {name}: site {site.name} does not say how containers are run there (key container).",
        )
        return
    hiding = [option for option in runtime.options.split() if option in HIDE_THE_ENVIRONMENT]
    if hiding and container.wraps == "worker":
        text = f"a worker in a container needs the variables of its job, which {hiding[0]} hides from it."
        yield ("container", "options"), f"class {name}: {text}"
    separators = sorted(set(site.campaign or "") & set(",:"))
    if separators and (ENGINES[runtime.engine].bind or runtime.command):
        text = (
            f"the campaign cannot be shown in a container: its path {site.campaign} contains {separators[0]!r}, which "
        )
        yield here, f"class {name}: {text}stands between paths there. Move or rename the campaign."
    image = local_path(runtime, container, site.campaign)
    if image is not None:
        for problem in _image(site, task_class, runtime, image):
            yield (*here, "image"), f"class {name}: {problem}"


def _image(site: Site, task_class: TaskClass, runtime: Runtime, image: Path) -> Iterator[str]:
    """Yield what is wrong with an image that can be looked at from here."""
    places = [os.path.realpath(os.path.expandvars(place)) for place in runtime.image_on]
    real = os.path.realpath(image)
    if places and not any(os.path.commonpath([real, place]) == place for place in places):
        allowed = " or ".join(runtime.image_on)
        yield f"images must lie below {allowed} on {site.name}, not at {real}."
    if not os.path.exists(image):
        yield f"there is no image {image}. {how_to_make(image)}"
        return
    try:
        missing, made_for = missing_bytes(image), architecture(image)
    except OSError as error:
        yield f"the image {image} cannot be read: {error.strerror}."
        return
    if missing:
        yield f"the image {image} is not whole, {missing} bytes are missing. Copy it again, or make it anew."
    node = site.node_of(task_class)
    runs_on = node.arch if node else platform.machine() if site.scheduler.kind == "local" else None
    if made_for and runs_on and made_for != runs_on:
        yield f"the image {image} is for {made_for}, and it would run on {runs_on}. Build it on such a machine."
