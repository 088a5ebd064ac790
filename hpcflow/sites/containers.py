"""Container runtimes as command lines: words that go in front of a program.

A site says which engine it has and how it differs from the usual (``Runtime``); a class says which
image it wants (``Container``). A site may replace the command line by another template of words,
or by nothing where an option of the job brings the image in (``options: {uenv: "{image}"}``):

============== =======================================================================
``{gpu}``      the site's GPU flag, if the class has GPUs
``{options}``  the site's further options
``{binds}``    one bind option for each directory to show inside
``{here}``     the option that keeps the working directory, where that is not the rule
``{pass}``     one option for each variable to pass on, where that is not the rule
``{image}``    the image
``{cpus}``     CPUs of the job on a node; ``{gpus}``: its GPUs there
============== =======================================================================
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

from hpcflow.errors import UserError, nearest
from hpcflow.sites.shell import expanded, literal

if TYPE_CHECKING:
    from hpcflow.sites.schema import Container, Runtime


class Engine(NamedTuple):
    """A container runtime as it is usually called."""

    command: str
    bind: str = ""
    """How it is told to show a directory inside; empty if it takes no such wishes."""
    here: str = ""
    """How it is told to start in the working directory; empty if it does so by itself."""
    passes: str = ""
    """How it is told to pass on a variable; empty if it passes on all of them."""
    option: str = ""
    """Where a program in the image is no command of its own but an option of the srun that starts it."""


ENGINES = {
    "apptainer": Engine("apptainer exec {gpu} {options} {binds} {image}", "--bind {path}"),
    "singularity": Engine("singularity exec {gpu} {options} {binds} {image}", "--bind {path}"),
    "podman-hpc": Engine(
        # The records shall name the node and not the container.
        "podman-hpc run --rm --uts=host {pass} {gpu} {options} {binds} {here} {image}",
        "--volume {path}:{path}",
        "--workdir",
        "--env={name}",
    ),
    "shifter": Engine("shifter --image={image} {gpu} {options}"),
    "charliecloud": Engine("ch-run {options} {binds} {here} {image} --", "--bind {path}:{path}", "--cd"),
    "uenv": Engine("uenv run {options} {image} --"),
    "edf": Engine(
        # Without numbers, a step gets what one process of the job has, and the worker wants the whole node.
        "srun --overlap --nodes=1 --ntasks=1 --cpus-per-task={cpus} --gpus-per-task={gpus} --cpu-bind=none "
        "--environment={image} {options}",
        option="--environment={image} {options}",
    ),
}
"""From the manuals of the engines, of NERSC for podman-hpc and shifter, of CSCS for uenv and EDF."""

PASSED_ON = ("HPCFLOW_*", "SLURM_*", "OMP_*")
"""Variables that workers and MPI programs need, for engines that have to be told."""


class Job(NamedTuple):
    """What is around a container."""

    shown: Sequence[str]
    """Directories to show inside, besides those that site and class name, quoted for the shell."""
    wants_gpus: bool
    variables: Sequence[str] = ()
    """Names of variables that the job sets."""
    cpus: str | None = None
    """CPUs and GPUs that the job has on a node, if known."""
    gpus: str | None = None


def around_worker(runtime: Runtime, container: Container, job: Job) -> str:
    """Return the words that start a worker inside its image, as shell text."""
    command = ENGINES[runtime.engine].command if runtime.command is None else runtime.command
    return _words(command, runtime, container, job)


def _words(command: str, runtime: Runtime, container: Container, job: Job) -> str:
    engine = ENGINES[runtime.engine]
    binds = dict.fromkeys([*job.shown, *(expanded(path) for path in (*runtime.binds, *container.binds))])
    patterns = tuple(pattern.rstrip("*") for pattern in PASSED_ON)
    names = dict.fromkeys([*PASSED_ON, *(name for name in job.variables if not name.startswith(patterns))])
    words: dict[str, list[str]] = {
        "gpu": [runtime.gpu if job.wants_gpus else ""],
        "options": [runtime.options],
        "binds": [engine.bind.replace("{path}", path) for path in binds],
        "here": [f'{engine.here} "$PWD"' if engine.here else ""],
        "pass": [literal(engine.passes.replace("{name}", name)) for name in names],
        "image": [expanded(container.image)],
        "cpus": [job.cpus or ""],
        "gpus": [job.gpus or ""],
    }
    found: list[str] = []
    for word in command.split():
        before, brace, rest = word.partition("{")
        name, _, after = rest.partition("}")
        if not brace:
            found.append(word)
        elif name not in words:
            raise UserError(f"The container's command contains the unknown word {{{name}}}.{nearest(name, words)}")
        else:
            found += [before + text + after for text in words[name] if text]
    return " ".join(found)


def around_command(runtime: Runtime, container: Container, job: Job) -> str:
    """Return the words that run a program of a task inside the image, wherever the task stands."""
    engine = ENGINES[runtime.engine]
    if runtime.command is None and engine.option:
        return _words(engine.option, runtime, container, job)
    if not engine.here or runtime.command == "":
        return around_worker(runtime, container, job)
    # The working directory is known only when the program starts, so a shell has to ask for it then.
    words = around_worker(runtime, container, job._replace(shown=[*job.shown, '"$PWD"']))
    inner = f'exec {words} "$@"'
    return f"sh -c {literal(inner)} sh"
