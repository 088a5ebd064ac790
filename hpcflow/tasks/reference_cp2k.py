"""Reference labels from CP2K, with the user's own input as a template."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcflow.errors import UserError
from hpcflow.task import task
from hpcflow.tasks import reference_cp2k_output as output
from hpcflow.tasks.reference_cp2k_input import check_template, filled
from hpcflow.tasks.reference_labels import labelled

if TYPE_CHECKING:
    from ase import Atoms

INPUT, OUTPUT = "cp2k.inp", "cp2k.out"
_TAIL = 40_000
"""Characters of a failed calculation's output that are shown."""
_shells: dict[str, Any] = {}
"""The running CP2K shell of this process, by its command; never more than one."""


def _check(elements: Callable[[], Mapping[str, str]], parameters: Mapping[str, Any]) -> None:
    template = parameters.get("template")
    if not isinstance(template, (str, Path)):
        return  # it comes from another step, and is not there yet
    text = _template(template)
    try:
        check_template(text, elements())
    except UserError as error:
        raise error if text == template else UserError(f"{template}: {error}") from None


@task(version=1, check=_check)
def cp2k(
    atoms: Atoms,
    template: str,
    command: str = "cp2k.psmp",
    settings: Mapping[str, Any] | None = None,
    files: Sequence[str] = (),
    stress: bool | None = None,
    force_cap: float | None = None,
    threads: int | None = None,
    shell: bool = False,
) -> Atoms:
    """Label one frame with CP2K.

    The template is a complete CP2K input for any structure of the kind. Its method stays as it
    is; these parts are replaced for each frame:

    * ``GLOBAL/RUN_TYPE``, by ``ENERGY_FORCE``;
    * ``SUBSYS/COORD`` and coordinate files of ``SUBSYS/TOPOLOGY``, by the atoms;
    * ``SUBSYS/CELL``, by cell and periodicity of the frame. A frame without a cell keeps the
      template's, and is put in the middle of it;
    * ``DFT/CHARGE``, if the frame has initial charges, and ``DFT/MULTIPLICITY`` and ``DFT/UKS``, if
      its initial magnetic moments add up to something;
    * what is printed of forces, stress and coordinates, and ``STRESS_TENSOR``, if a stress is wanted.

    Parameters
    ----------
    atoms
        The frame.
    template
        Path of the template, or its text.
    command
        How CP2K is called; the launcher of the site goes in front of it.
    settings
        Changes to the template, applied last: ``{"FORCE_EVAL/DFT/SCF/MAX_SCF": 200}``. A path ends in a
        keyword, in ``_`` for the parameter of the section itself, or, with None, in what is
        removed; ``SUBSYS/KIND H`` is the section of that parameter. A rung of a ladder for
        frames that do not converge is such a mapping.
    files
        Other files that the template names (basis sets, for instance); they are found under their
        bare names.
    stress
        Ask for the stress; None asks where the frame is periodic in three directions.
    force_cap
        Refuse a frame with a larger force on any atom, in eV/Å.
    threads
        OpenMP threads of each process. None means one with a launcher, and all cores of the task without.
    shell
        Keep one CP2K running for all frames of this process, and give it one frame after the other.
        Saves the half second of a start, which is most of the time for a small molecule. Nothing
        is taken over from frame to frame.

    Raises
    ------
    Unconverged
        The SCF did not converge, whatever the exit status.
    RuntimeError
        CP2K failed otherwise; its output is printed.
    """
    if stress is None:
        stress = bool(atoms.pbc.all())
    text = filled(_template(template), atoms, stress, settings or {})
    # A directory of its own: CP2K appends to outputs and reads restart files that it finds.
    directory = Path(tempfile.mkdtemp(prefix="cp2k-", dir=os.getcwd()))
    (directory / INPUT).write_text(text)
    for file in files:
        (directory / Path(file).name).symlink_to(Path(file).resolve())
    words = [*shlex.split(os.environ.get("HPCFLOW_LAUNCH", "")), *shlex.split(command)]
    if shutil.which(words[0]) is None:
        raise UserError(f"there is no program {words[0]} here (to call as: {shlex.join(words)}).")
    try:
        if shell:
            _ask_shell(directory, shlex.join([*words, "-s"]), _environment(threads))
        else:
            _run(directory, [*words, "-i", INPUT, "-o", OUTPUT], _environment(threads))
        found = output.read(_read(directory / OUTPUT), atoms)
    except Exception:
        print(_read(directory / OUTPUT)[-_TAIL:])
        raise
    if stress and found.stress is None:
        raise RuntimeError("no stress in the output of CP2K.")
    shutil.rmtree(directory)
    return labelled(atoms, found.energy, found.forces, found.stress if stress else None, force_cap)


def _template(template: str | Path) -> str:
    if isinstance(template, str) and "&" in template:  # text: no path of an input has a section in it
        return template
    try:
        return Path(template).read_text()
    except OSError as error:
        raise UserError(f"CP2K template {template}: {error.strerror}.") from None


def _environment(threads: int | None) -> dict[str, str]:
    """CP2K takes every core it sees for each of its processes, unless it is told."""
    if threads is None:
        alone = not os.environ.get("HPCFLOW_LAUNCH")
        threads = int(os.environ.get("HPCFLOW_CORES", "1")) if alone else 1
    return {**os.environ, "OMP_NUM_THREADS": str(threads)}


def _run(directory: Path, command: list[str], environment: dict[str, str]) -> None:
    ended = subprocess.run(
        command,
        cwd=directory,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )
    try:
        output.check_end(_read(directory / OUTPUT), ended.stdout, ended.returncode)
    except Exception:
        print(ended.stdout[-_TAIL:])
        raise


def _ask_shell(directory: Path, command: str, environment: dict[str, str]) -> None:
    """Let the running CP2K compute one input, in a force environment of its own."""
    # The shell cuts its requests at blanks; /proc has a name without any for where we are.
    name = f"/proc/{os.getpid()}/cwd/{directory.name}" if " " in str(directory) else str(directory)
    try:
        shell = _shell(command, environment)
        shell.send(f"CD {name}")
        shell.expect("* READY")
        shell.send(f"LOAD {INPUT} {OUTPUT}")
        number = int(shell.recv())
        shell.expect("* READY")
        for request in (f"EVAL_EF {number}", f"DESTROY {number}"):
            shell.send(request)
            shell.expect("* READY")
        output.check_convergence(_read(directory / OUTPUT))
    except (AssertionError, ValueError, OSError) as error:  # so ASE says that it is gone
        end_shell()
        output.check_end(_read(directory / OUTPUT), "", 1)
        raise RuntimeError(f"the CP2K shell ({command}) does not answer as expected.") from error
    except RuntimeError:
        end_shell()  # a WALLTIME, for one, counts from the start of the shell
        raise


def end_shell() -> None:
    """End the CP2K that runs for this process, if there is one."""
    while _shells:
        _, shell = _shells.popitem()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # ASE warns when one is ended that has failed
            shell.close()


def _shell(command: str, environment: dict[str, str]) -> Any:
    from ase.calculators.cp2k import Cp2kShell

    if command not in _shells:
        end_shell()
        before = dict(os.environ)
        os.environ.update(environment)  # the class has no argument for it
        try:
            _shells[command] = Cp2kShell(command, debug=False)
        finally:
            os.environ.clear()
            os.environ.update(before)
    return _shells[command]


def _read(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""
