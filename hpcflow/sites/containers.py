"""Container runtimes as command lines: words that go in front of a program.

A site says which engine it has and how it differs from the usual (``Runtime``); a class says which
image it wants (``Container``). A site may replace the command line by another template of words:

============== =======================================================================
``{gpu}``      the site's GPU flag, if the class has GPUs
``{options}``  the site's further options
``{binds}``    one bind option for each directory to show inside
``{here}``     the option that keeps the working directory, where that is not the rule
``{image}``    the image
============== =======================================================================
"""

from __future__ import annotations

from collections.abc import Iterable
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


ENGINES = {
    "apptainer": Engine("apptainer exec {gpu} {options} {binds} {image}", "--bind {path}"),
    "singularity": Engine("singularity exec {gpu} {options} {binds} {image}", "--bind {path}"),
    # podman passes no variables on by itself.
    "podman-hpc": Engine(
        "podman-hpc run --rm --env=HPCFLOW_* --env=SLURM_* --env=OMP_* {gpu} {options} {binds} {here} {image}",
        "--volume {path}:{path}",
        "--workdir",
    ),
    "shifter": Engine("shifter --image={image} {gpu} {options}"),
    "charliecloud": Engine("ch-run {options} {binds} {here} {image} --", "--bind {path}:{path}", "--cd"),
    "uenv": Engine("uenv run {options} {image} --"),
    "edf": Engine("srun --overlap --ntasks=1 --environment={image} {options}"),
}
"""From the manuals of the engines, of NERSC for podman-hpc and shifter, of CSCS for uenv and EDF."""


def around_worker(runtime: Runtime, container: Container, gpus: int, shown: Iterable[str]) -> str:
    """Return the words that start a worker inside its image, as shell text.

    Parameters
    ----------
    shown
        Directories to show inside, besides those that site and class name, quoted for the shell.
    """
    engine = ENGINES[runtime.engine]
    binds = dict.fromkeys([*shown, *(expanded(path) for path in (*runtime.binds, *container.binds))])
    words: dict[str, list[str]] = {
        "gpu": [runtime.gpu if gpus else ""],
        "options": [runtime.options],
        "binds": [engine.bind.replace("{path}", path) for path in binds],
        "here": [f'{engine.here} "$PWD"' if engine.here else ""],
        "image": [expanded(container.image)],
    }
    found: list[str] = []
    for word in (runtime.command or engine.command).split():
        before, brace, rest = word.partition("{")
        name, _, after = rest.partition("}")
        if not brace:
            found.append(literal(word) if "*" in word else word)
        elif name not in words:
            raise UserError(f"The container's command contains the unknown word {{{name}}}.{nearest(name, words)}")
        else:
            found += [before + text + after for text in words[name] if text]
    return " ".join(found)


def around_command(runtime: Runtime, container: Container, gpus: int, shown: Iterable[str]) -> str:
    """Return the words that run a program of a task inside the image, wherever the task stands."""
    if not ENGINES[runtime.engine].here:
        return around_worker(runtime, container, gpus, shown)
    # The working directory is known only when the program starts, so a shell has to ask for it then.
    words = around_worker(runtime, container, gpus, [*shown, '"$PWD"'])
    inner = f'exec {words} "$@"'
    return f"sh -c {literal(inner)} sh"
