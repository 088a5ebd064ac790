"""Reference labels from any ASE calculator."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcflow.task import Unconverged, task
from hpcflow.tasks.reference_labels import labelled
from hpcflow.tasks.reference_names import check_arguments, check_names, named_class

if TYPE_CHECKING:
    from ase import Atoms

_VARIABLE = re.compile(r"\$(HPCFLOW_[A-Z]+)")
_GAP = r"[^\w.;\n]+"  # between words of one sentence
_NO_CONVERGENCE = re.compile(
    rf"(?:\bnot|n't|\bnever|\bno|\bfail\w*){_GAP}(?:\w+{_GAP}){{0,3}}?converg"
    rf"|converg\w*{_GAP}(?:\w+{_GAP}){{0,2}}?(?:not|fail)",
    re.IGNORECASE,
)
_OUTPUTS = (".out", ".log", ".pwo", ".nwo", ".txt")
_OUTPUT_SAYS = re.compile(
    rb"convergence NOT achieved[^\n]*"  # Quantum ESPRESSO
    rb"|SCF NOT CONVERGED AFTER[^\n]*|Wavefunction not fully converged"  # ORCA
    rb"|Calculation failed to converge"  # NWChem
    rb"|SCC is NOT converged[^\n]*"  # DFTB+
    rb"|SCF run NOT converged"  # CP2K
)
_calculators: dict[str, Any] = {}
"""The calculator of this process, by name and arguments; never more than one."""


def _check(_: Callable[[], Mapping[str, str]], parameters: Mapping[str, Any]) -> None:
    calculator, arguments = parameters.get("calculator"), parameters.get("arguments") or {}
    if isinstance(calculator, str) and isinstance(arguments, Mapping):  # else it comes from another step
        check_names(calculator, arguments)


@task(version=1, check=_check)
def ase_calculator(
    atoms: Atoms,
    calculator: str,
    arguments: Mapping[str, Any] | None = None,
    stress: bool | None = None,
    force_cap: float | None = None,
) -> Atoms:
    """Label one frame with an ASE calculator.

    The calculator object is made once per process and reused, but every frame starts afresh: with
    GFN2-xTB, forces differ by 1e-4 eV/Å when the last frame's density is the first guess.

    Parameters
    ----------
    atoms
        The frame. Its initial magnetic moments and charges say how many unpaired electrons and
        what charge it has, for calculators that look at them.
    calculator
        Dotted name, like ``tblite.ase.TBLite`` or ``ase.calculators.emt.EMT``.
    arguments
        What the calculator is made with. ``{"$class": NAME, ...}`` anywhere inside is an object of
        that class (a profile of ASE, for instance), and ``$HPCFLOW_LAUNCH`` in a text is the
        launcher of the site: ``{"$class": "ase.calculators.espresso.EspressoProfile",
        "command": "$HPCFLOW_LAUNCH pw.x", "pseudo_dir": "/data/pseudo"}``.
    stress
        Ask for the stress. None asks for it where the frame is periodic in three directions and
        the calculator has it.
    force_cap
        Refuse a frame with a larger force on any atom, in eV/Å.

    Raises
    ------
    UserError
        There is no such calculator, or it has no such argument.
    Unconverged
        The calculator says so, by an exception or its attribute ``converged``, or the program's output does.
    """
    from ase.calculators.calculator import all_changes

    calc = _calculator(calculator, arguments or {})
    implemented = getattr(calc, "implemented_properties", ())
    if stress is None:
        stress = bool(atoms.pbc.all()) and "stress" in implemented
    wanted = ["energy", "forces", "stress"] if stress else ["energy", "forces"]
    lacking = [name for name in wanted if name not in implemented]
    if lacking:
        raise ValueError(f"{calculator} does not compute {' and '.join(lacking)}.")
    frame = atoms.copy()
    frame.calc = calc
    before = time.time()
    try:
        if hasattr(calc, "reset"):
            calc.reset()
        # All at once: some programs run again for each quantity that is asked for later.
        calc.calculate(frame, wanted, all_changes)
    except Exception as error:
        _calculators.clear()  # what it has in mind now may spoil the next frame
        reason = str(error) if says_unconverged(error) else output_says_unconverged(calc, before)
        if reason:
            raise Unconverged(reason) from error
        raise
    if getattr(calc, "converged", None) is False:
        raise Unconverged(f"{calculator} ended without converging.")
    reason = output_says_unconverged(calc, before)
    if reason:
        raise Unconverged(reason)
    results = calc.results
    lacking = [name for name in wanted if name not in results]
    if lacking:
        raise ValueError(
            f"{calculator} gave no {' and '.join(lacking)}; some programs must be asked for it in their arguments."
        )
    if (frame.positions != atoms.positions).any() or (frame.cell != atoms.cell).any():
        raise RuntimeError(f"{calculator} moved the atoms: this is not a single point.")
    energy = results.get("free_energy", results["energy"])
    return labelled(atoms, energy, results["forces"], results["stress"] if stress else None, force_cap)


def says_unconverged(error: BaseException) -> bool:
    """Tell whether an exception of a calculator, or one that it comes from, speaks of no convergence."""
    link: BaseException | None = error
    while link is not None:
        name = type(link).__name__
        if name == "SCFError" or "Convergence" in name or _NO_CONVERGENCE.search(str(link)):
            return True
        link = link.__cause__ or link.__context__
    return False


def output_says_unconverged(calculator: Any, since: float) -> str:
    """Return what an output file says of no convergence, or nothing.

    Not every program that did not converge fails, and not every reader of ASE looks.

    Parameters
    ----------
    calculator
        Its directory is searched, the working directory if it has none of its own.
    since
        Files that are older (seconds since the epoch) are of other calculations.
    """
    directory = Path(getattr(calculator, "directory", None) or ".")
    for path in sorted(directory.iterdir()) if directory.is_dir() else ():
        # File systems round times, some of them to two seconds.
        if path.suffix in _OUTPUTS and path.is_file() and path.stat().st_mtime > since - 2:
            found = _OUTPUT_SAYS.search(path.read_bytes())
            if found:
                return f"{path.name}: {found[0].decode(errors='replace').strip()}"
    return ""


def _calculator(name: str, arguments: Mapping[str, Any]) -> Any:
    expanded = _expanded(arguments)
    key = json.dumps([name, expanded], sort_keys=True)
    if key not in _calculators:
        _calculators.clear()
        _calculators[key] = _made({"$class": name, **expanded})
    return _calculators[key]


def _expanded(value: Any) -> Any:
    """Fill in what the worker says about this task's share of the machine."""
    if isinstance(value, str):
        return _VARIABLE.sub(lambda found: os.environ.get(found[1], ""), value).strip()
    if isinstance(value, Mapping):
        return {key: _expanded(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_expanded(item) for item in value]
    return value


def _made(value: Any) -> Any:
    """Turn every ``{"$class": NAME, ...}`` into an object."""
    if isinstance(value, list):
        return [_made(item) for item in value]
    if not isinstance(value, dict):
        return value
    made = {key: _made(item) for key, item in value.items() if key != "$class"}
    if "$class" not in value:
        return made
    found = named_class(value["$class"])
    check_arguments(value["$class"], found, made)  # where it was submitted, it may not be installed
    return found(**made)
