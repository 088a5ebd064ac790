"""Render the script of a job: options, environment, and then the worker.

Templates are looked for in the campaign's ``templates/``, the user's ``~/.config/hpcflow/templates/``
and the shipped ones; ``shipped/NAME`` names the shipped one in any case, so that a template can
extend the one it replaces. The template of a site is called after its scheduler (``slurm.sh.j2``);
all of them extend ``job.sh.j2``, which documents the variables that there are.
"""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jinja2

from hpcflow.errors import UserError, nearest
from hpcflow.sites.containers import Job, around_command, around_worker
from hpcflow.sites.images import Known
from hpcflow.sites.options import Words, directives, exclude, fill, option_words, resolve_options
from hpcflow.sites.schema import Environment, Site, TaskClass
from hpcflow.sites.shape import Shape
from hpcflow.sites.shell import expanded, literal, one_word
from hpcflow.sites.shipped import shipped, user

_MODULE_COMMANDS = ("load", "use", "unuse", "unload", "swap", "switch", "purge", "reset", "restore")
_SIMPLE = re.compile(r"[^&;|#<>\n()`]*\Z")  # nothing in it changes what a following || belongs to
_IS_UNDEFINED = re.compile(r"'(\w+)' is undefined")


@dataclass(frozen=True)
class Script:
    """What one job is for; all paths are absolute."""

    token: str
    """Name of the job."""
    title: str
    """Says which array it belongs to, for whoever reads the script."""
    width: int
    """Elements it is submitted with."""
    campaign: Path
    array: Path
    """Directory of the array."""
    archive: Path
    """The worker's code."""
    log: Path
    """Directory for what the job prints outside of tasks."""
    resources: str
    """Which chunk lists its workers may take from."""
    request: Mapping[str, Any] = field(default_factory=dict)
    """Replaces ``cores``, ``gpus``, ``memory``, ``walltime`` and ``slots`` of the class."""
    excluded: Sequence[str] = ()
    """Nodes that the job is to be kept away from, where the scheduler has an option for that."""
    command: list[str] | None = None
    """Run instead of a worker, if given: shell text, one piece per line."""
    interpreter: str = sys.executable
    """Runs the worker where neither class nor container says otherwise."""
    tick: str = ""
    """Shell command of a tick for the last worker that leaves, if it runs where the scheduler's commands are."""
    image: Known | None = None
    """What is known of the image of the class, for the records."""


def render(site: Site, class_name: str, script: Script, campaign: Path | None = None) -> str:
    """Return the text of a job's script.

    Parameters
    ----------
    campaign
        Where to look for templates first.

    Raises
    ------
    UserError
        For an unknown class or word, and for whatever a template does wrong.
    """
    task_class = site.task_class(class_name)
    shape = task_class.shape(script.request)
    queue = site.queue_of(task_class)
    options, _ = resolve_options(site, task_class, queue, shape)
    if site.scheduler.kind == "slurm":
        exclude(options, script.excluded)
    words = option_words(site, task_class, queue, shape)
    launcher = site.scheduler.worker_launcher
    variables: dict[str, Any] = {
        "shell": site.shell,
        "directives": directives(options, site.scheduler.kind),
        "title": f"{' '.join(script.title.split())}, class {class_name} of site {site.name}",
        "token": script.token,
        "width": script.width,
        "campaign": str(script.campaign),
        "log": str(script.log),
        "environment": [*_steps(site.environment), *_steps(task_class.environment)],
        "threads": shape.threads if shape.ranks > 1 else None,
        "image": task_class.container.image if task_class.container and not script.command else None,
        "image_digest": script.image.digest if script.image else None,
        "image_stamp": script.image.stamp if script.image else None,
        "worker": script.command or _worker(site, task_class, shape, script),
        "nodes": shape.nodes,
        "fan_out": shape.nodes > 1 and not shape.span and not script.command,
        "worker_launcher": fill(launcher, words, "worker_launcher") if launcher else None,
        "node_cpus": words["node_cpus"],
    }
    variables["quotes_words"] = any("$(hpcflow_words " in line for line in variables["worker"])
    return _expand_template(f"{site.scheduler.kind}.sh.j2", variables, campaign)


def _worker(site: Site, task_class: TaskClass, shape: Shape, script: Script) -> list[str]:
    """Return the command line of the worker, one piece per line."""
    container, runtime = task_class.container, site.container
    wraps_worker = container is not None and container.wraps == "worker"
    if task_class.python:
        python = expanded(task_class.python)
    else:
        python = "python3" if wraps_worker else literal(script.interpreter)
    lines: list[str] = []
    if container is not None and runtime is not None and wraps_worker:
        words = around_worker(runtime, container, _job(site, task_class, shape, script))
        lines += [words] if words else []
    lines += [
        f"{python} {literal(str(script.archive))} worker",
        f"--array {literal(str(script.array))}",
        f"--job {literal(script.token)} --resources {literal(script.resources)}",
    ]
    share = f"--slots {shape.slots or 'auto'} --cores {shape.cores} --gpus {shape.gpus}"
    lines.append(share + (f" --memory {shape.memory}" if shape.memory else ""))
    times = {
        "walltime": shape.walltime,
        "margin": task_class.margin,
        "grace": task_class.grace,
        "beat": site.scheduler.beat,
        "task-walltime": task_class.task_walltime,
    }
    lines.append(" ".join(f"--{name} {seconds:.12g}" for name, seconds in times.items() if seconds is not None))
    lines += _node_arguments(site, task_class, shape)
    if launch := _launch(site, task_class, shape, script):
        lines.append(f"--launch {one_word(launch)}")
    if site.scratch:
        lines.append(f"--scratch {expanded(site.scratch)}")
    if script.tick and not wraps_worker:
        lines.append(f"--tick {literal(script.tick)}")
    return lines


def _node_arguments(site: Site, task_class: TaskClass, shape: Shape) -> list[str]:
    node = site.node_of(task_class)
    lines = []
    if shape.exclusive and node is not None and node.gpu_cores and shape.gpus:
        ids = node.gpu_ids or [str(i) for i in range(node.gpus)]
        lines.append(f'--whole-node --map-cores "{";".join(node.gpu_cores)}"')
        lines.append(f'--map-gpus "{";".join(ids)}"')
    elif shape.exclusive:
        lines.append("--whole-node")
    if node is not None and shape.gpus:
        lines.append(f"--gpu-variable {literal(node.gpu_variable)}")
    return lines


def _launch(site: Site, task_class: TaskClass, shape: Shape, script: Script) -> str:
    """Return what tasks put in front of external programs; the worker fills in {cores} and {cpu_list}."""
    container, runtime = task_class.container, site.container
    wrap = ""
    if container is not None and runtime is not None and container.wraps == "command":
        wrap = around_command(runtime, container, _job(site, task_class, shape, script))
    words: Words = {
        "cores": "{cores}",
        "cpu_list": "{cpu_list}",
        "container": wrap,
        "ranks": str(shape.ranks * (shape.nodes if shape.span else 1)),
        "ranks_per_node": str(shape.ranks),
        "threads": str(shape.threads),
        "gpus": str(shape.gpus),
        "memory": str(shape.memory) if shape.memory else None,
        "nodes": str(shape.nodes if shape.span else 1),
    }
    launcher = task_class.launcher if "{container}" in task_class.launcher else task_class.launcher + " {container}"
    text = fill(launcher, words, "the launcher")
    if text is None:
        raise UserError(f"The launcher {task_class.launcher!r} uses {{memory}}, but its class asks for no memory.")
    return text.strip()


def _job(site: Site, task_class: TaskClass, shape: Shape, script: Script) -> Job:
    """Return what a container must show and pass on: the campaign, the scratch directory, what the job sets."""
    campaign = str(script.campaign)
    shown = [literal(path) for path in dict.fromkeys([campaign, os.path.realpath(campaign)])]
    shown += [expanded(site.scratch)] if site.scratch else []
    node = site.node_of(task_class)
    variables = [node.gpu_variable if node else "CUDA_VISIBLE_DEVICES"] if shape.gpus else []
    for environment in (site.environment, task_class.environment):
        variables += [name for name, value in environment.variables.items() if value is not None]
    words = option_words(site, task_class, site.queue_of(task_class), shape)
    return Job(shown, shape.gpus > 0, variables, words["node_cpus"], words["gpus"])


def _steps(environment: Environment) -> list[dict[str, str]]:
    """Return the steps of an environment: shell text, and what to call it if it fails."""
    steps = [(line, _guarded(line)) for line in map(module_line, environment.modules)]
    exports = [f"export {name}={expanded(v)}" for name, v in environment.variables.items() if v is not None]
    steps += zip(exports, exports, strict=True)  # they cannot fail
    steps += [(line, _guarded(line)) for line in environment.lines]
    return [{"line": line, "guarded": guarded} for line, guarded in steps]


def module_line(entry: str) -> str:
    """Return the shell line that loads a module, or does what else the entry says."""
    first = entry.split(maxsplit=1)[0] if entry.strip() else ""
    return f"module {entry}" if first in _MODULE_COMMANDS or first.startswith("-") else f"module load {entry}"


def _guarded(line: str) -> str:
    """Return a shell line that ends the job, saying which line it was, if it fails."""
    failed = f"|| hpcflow_failed {literal(line)}"
    return f"{line} {failed}" if _SIMPLE.match(line) else f"{{ {line}\n}} {failed}"


def _expand_template(name: str, variables: dict[str, Any], campaign: Path | None) -> str:
    mine = [campaign / "templates"] if campaign is not None else []
    own = jinja2.FileSystemLoader(shipped("templates"))
    loader = jinja2.ChoiceLoader(
        [
            jinja2.FileSystemLoader([*mine, user("templates")]),
            own,
            jinja2.PrefixLoader({"shipped": own}),
        ]
    )
    jinja = jinja2.Environment(
        loader=loader,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    jinja.filters.update(literal=literal, expanded=expanded)
    try:
        text = jinja.get_template(name).render(variables)
        return re.sub(r"\n{3,}", "\n\n", text).rstrip("\n") + "\n"
    except jinja2.TemplateSyntaxError as error:
        raise UserError(f"{error.filename or name}, line {error.lineno}: {error.message}") from error
    except jinja2.TemplateNotFound as error:
        raise UserError(
            f"There is no template {error.name!r}.{nearest(str(error.name), loader.list_templates())}"
        ) from error
    except Exception as error:  # a template is a program of the user's: whatever goes wrong is in there
        raise _template_error(error, name, variables) from error


def _template_error(error: Exception, name: str, variables: dict[str, Any]) -> UserError:
    frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.endswith(".j2")]
    place = f"{frames[-1].filename}, line {frames[-1].lineno}" if frames else name
    undefined = _IS_UNDEFINED.match(str(error)) if isinstance(error, jinja2.UndefinedError) else None
    hint = nearest(undefined[1], variables) if undefined else ""
    return UserError(f"{place}: {str(error) or type(error).__name__}.{hint}")
