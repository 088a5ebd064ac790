"""What is wrong with the container of a class, found before anything is submitted."""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from pathlib import Path

from hpcflow.containers import how_to_make
from hpcflow.sites.containers import ENGINES
from hpcflow.sites.images import architecture, local_path, missing_bytes
from hpcflow.sites.schema import Runtime, Site, TaskClass
from hpcflow.sites.yaml_reader import KeyPath

HIDE_THE_ENVIRONMENT = ("--cleanenv", "-e", "--containall", "-C")


def container_problems(site: Site, name: str, task_class: TaskClass) -> Iterator[tuple[KeyPath, str]]:
    """Yield the key to change and what is wrong, for each mistake."""
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
    engine = ENGINES[runtime.engine]
    separators = sorted(set(site.campaign or "") & set(",:"))
    if separators and (engine.bind if runtime.command is None else "{binds}" in runtime.command):
        text = (
            f"the campaign cannot be shown in a container: its path {site.campaign} contains {separators[0]!r}, which "
        )
        yield here, f"class {name}: {text}stands between paths there. Move or rename the campaign."
    if engine.option and runtime.command is None:
        if container.wraps == "command" and "srun" not in task_class.launcher.split():
            text = f"with {runtime.engine} the image is an option of srun, so the launcher must begin with srun."
            yield ("classes", name, "launcher"), f"class {name}: {text}"
        if container.wraps == "worker" and task_class.nodes > 1 and not task_class.span:
            text = (
                f"with {runtime.engine} a worker is started by srun, and cannot be started so on each of several nodes."
            )
            yield ("classes", name, "nodes"), f"class {name}: {text}"
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
        make = "The site's documentation says how to write one." if runtime.engine == "edf" else how_to_make(image)
        yield f"there is no image {image}. {make}"
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
