"""What a CP2K output says, and whether it may be believed.

Exit status 0 proves little. CP2K 2023.1 leaves with 0 and writes forces when the SCF did not
converge, when it reached the WALLTIME of its input, and when a file EXIT appeared; later versions
abort unless the input tells them not to. So evidence of convergence is asked for.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from hpcflow.task import Unconverged
from hpcflow.worker.lastwords import last_words

if TYPE_CHECKING:
    import numpy as np
    from ase import Atoms

_ENERGY = re.compile(r"^ ENERGY\| Total FORCE_EVAL \(.*?\) energy [\[(](.+?)[\])]:?\s+(\S+)", re.MULTILINE)
_FORCES_TO_2024 = re.compile(r"^ ATOMIC FORCES in \[(.+?)\]\s*\n\s*\n *# Atom.*\n((?: +\d+ +\d+ .*\n)+)", re.MULTILINE)
_FORCES = re.compile(
    r"^ FORCES\| Atomic forces \[(.+?)\].*\n FORCES\| +Atom .*\n((?: FORCES\| +\d+ .*\n)+)", re.MULTILINE
)
_STRESS = re.compile(
    r"^ STRESS\| (?:Analytical|Numerical) stress tensor \[(.+?)\].*\n STRESS\| .*\n"
    r"((?: STRESS\| +[xyz] .*\n){3})",
    re.MULTILINE,
)
_ATOMS = re.compile(
    r"^ MODULE \S+ +ATOMIC COORDINATES IN (\w+)\s*\n\s*\n? *Atom +Kind +Element .*\n\s*\n?"
    r"((?: +\d+ +\d+ .*\n)+)",
    re.MULTILINE | re.IGNORECASE,
)
_ABORT = re.compile(r"^( \* +\[ABORT\].*\n(?: \*.*\n)+?) \*{70,}", re.MULTILINE)
_FIGURE = re.compile(r"^ \*\s+(?:\[ABORT\]|\\___/|\||O/\||/\| \||/ \\)?\s*(.*?)\s*\*\s*$")
_MEMORY = re.compile(r"out of memory|cannot allocate memory|bad_alloc|oom.?kill", re.IGNORECASE)
POSITION_TOLERANCE = 2e-6
"""The output shows six decimals (Å)."""


class Reading(NamedTuple):
    """Energy in eV, forces in eV/Å, stress in eV/Å³ with ASE's sign (None if it was not computed)."""

    energy: float
    forces: np.ndarray
    stress: np.ndarray | None


def check_end(text: str, errors: str, exit_code: int) -> None:
    """See that the program ran to its end with a converged density.

    Parameters
    ----------
    text
        The output file.
    errors
        What program and launcher printed elsewhere.
    exit_code
        Of the launcher; negative for a signal.

    Raises
    ------
    Unconverged
        The SCF did not converge.
    MemoryError
        There was not enough memory, as far as anybody said so.
    RuntimeError
        Anything else; the message is CP2K's own reason, if it gave one.
    """
    aborted = abort_reason(text)
    if "NOT converged" in aborted:
        raise Unconverged(f"CP2K: {aborted}")
    if exit_code != 0 or aborted:
        spoken = aborted or last_words(errors) or last_words(text) or "no output"
        how = f"signal {-exit_code}" if exit_code < 0 else f"exit status {exit_code}"
        message = f"CP2K ended with {how}: {spoken}"
        raise MemoryError(message) if _MEMORY.search(errors + text[-10_000:]) else RuntimeError(message)
    if "PROGRAM ENDED AT" not in text:
        raise RuntimeError(f"CP2K left before its end, with exit status 0: {last_words(text) or 'no output'}")
    check_convergence(text)


def check_convergence(text: str) -> None:
    """See that the output has evidence of convergence; raises as `check_end`."""
    stopped = re.search(r"SCF run terminated.*", text)
    if stopped:
        raise RuntimeError(f"CP2K: {stopped[0].strip(' *')}")
    if "NOT converged" in text:
        raise Unconverged("CP2K: SCF run NOT converged")
    if "SCF run converged" not in text:
        raise Unconverged("CP2K does not say that the SCF run converged.")


def read(text: str, atoms: Atoms) -> Reading:
    """Read the labels of one frame.

    Parameters
    ----------
    text
        The output of CP2K 2022 or later. If the output holds several calculations, the last one counts.
    atoms
        The frame that was computed.

    Raises
    ------
    RuntimeError
        Something is missing, or the output is about other atoms.
    """
    from ase import units

    _check_echo(text, atoms)
    unit, value = _last(_ENERGY, text, "energy")
    energy = float(value) * _factor(unit, {"a.u.": units.Hartree, "hartree": units.Hartree, "ev": 1.0})
    per_length = units.Hartree / units.Bohr
    known = {
        "a.u.": per_length,
        "hartree/bohr": per_length,
        "hartree*bohr^-1": per_length,
        "ev/angstrom": 1.0,
    }
    if _FORCES.search(text):
        unit, rows = _last(_FORCES, text, "forces")
        forces = _table(rows, 2, len(atoms), "forces")
    else:
        unit, rows = _last(_FORCES_TO_2024, text, "forces")
        forces = _table(rows, 3, len(atoms), "forces")
    forces *= _factor(unit, known)
    stress = None
    if _STRESS.search(text):
        unit, rows = _last(_STRESS, text, "stress")
        pressures = {"gpa": units.GPa, "bar": units.bar, "kbar": 1e3 * units.bar, "pa": units.Pascal}
        # CP2K counts compression as positive.
        stress = -_table(rows, 2, 3, "stress") * _factor(unit, pressures)
    return Reading(energy, forces, stress)


def abort_reason(text: str) -> str:
    """Return what stands in CP2K's ``[ABORT]`` box, on one line, or nothing."""
    boxes = _ABORT.findall(text)
    if not boxes:
        return ""
    lines = [found[1] for found in map(_FIGURE.match, boxes[-1].splitlines()) if found]
    return " ".join(filter(None, lines))


def _check_echo(text: str, atoms: Atoms) -> None:
    """See that the atoms in the output are those of the frame."""
    import numpy as np

    unit, rows = _last(_ATOMS, text, "atomic coordinates")
    words = [row.split() for row in rows.splitlines()]
    symbols = [row[2] for row in words]
    if symbols != list(atoms.symbols):
        raise RuntimeError(f"the output is about {len(symbols)} other atoms: {''.join(symbols[:20])}")
    if unit.lower() != "angstrom":
        raise RuntimeError(f"CP2K printed the coordinates in {unit}; only angstrom is understood.")
    shown = np.array([row[4:7] for row in words], dtype=float)
    meant = atoms.positions.copy()
    if atoms.cell.rank < 3:  # CP2K moved the molecule to the middle of the box
        shown -= shown.mean(axis=0)
        meant -= meant.mean(axis=0)
    largest = np.abs(shown - meant).max()
    if not largest < POSITION_TOLERANCE:
        raise RuntimeError(
            f"positions in the output differ from the frame's by up to {largest:.2g} Å: "
            "does the template read coordinates from another place?"
        )


def _last(pattern: re.Pattern[str], text: str, what: str) -> tuple[str, str]:
    found = pattern.findall(text)
    if not found:
        raise RuntimeError(f"no {what} in the output of CP2K.")
    unit, rows = found[-1]
    return unit, rows


def _factor(unit: str, known: dict[str, float]) -> float:
    factor = known.get(unit.lower())
    if factor is None:
        raise RuntimeError(f"CP2K printed in [{unit}]; only {', '.join(known)} are understood.")
    return factor


def _table(rows: str, first: int, count: int, what: str) -> np.ndarray:
    """Return three numbers from each row, from word ``first`` on."""
    import numpy as np

    words = [row.split()[first : first + 3] for row in rows.splitlines()]
    if len(words) != count:
        raise RuntimeError(f"{len(words)} rows of {what} in the output of CP2K; expected {count}.")
    try:
        return np.array(words, dtype=float)
    except ValueError as error:
        raise RuntimeError(f"the {what} in the output of CP2K: {error}.") from None
