"""CP2K input files as trees of sections, so that a user's own input can serve as a template."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from hpcflow.errors import UserError

if TYPE_CHECKING:
    from ase import Atoms


class Section:
    """One section: its keyword lines and sections in the order of the file.

    Parameters
    ----------
    name
        Without ``&``, in capitals.
    parameter
        What stands behind the name, like the element of a ``KIND``.
    """

    def __init__(self, name: str, parameter: str = "") -> None:
        self.name = name
        self.parameter = parameter
        self.entries: list[str | Section] = []

    def sections(self, name: str, parameter: str | None = None) -> list[Section]:
        """Return the sections of a name, or those of them with a parameter."""
        found = [entry for entry in self.entries if isinstance(entry, Section) and entry.name == name.upper()]
        if parameter is None:
            return found
        return [section for section in found if section.parameter.upper() == parameter.upper()]

    def at(self, path: str) -> Section:
        """Return the section at a path like ``DFT/SCF`` or ``SUBSYS/KIND H``; what is missing is made.

        Raises
        ------
        UserError
            The input has several sections of that name, and the path does not say which.
        """
        section = self
        for step in filter(None, path.split("/")):
            name, _, parameter = step.strip().partition(" ")
            found = section.sections(name, parameter.strip() or None)
            if len(found) > 1:
                raise UserError(
                    f"the CP2K input has {len(found)} sections &{name} in &{section.name or 'the file'}; "
                    f"name one with its parameter, like {name} {found[0].parameter or 'PARAMETER'}."
                )
            if not found:
                found = [Section(name.upper(), parameter.strip())]
                section.entries.append(found[0])
            section = found[0]
        return section

    def keyword(self, name: str) -> str | None:
        """Return the value of a keyword, or None if the section does not have it."""
        for entry in self.entries:
            if isinstance(entry, str) and _first_word(entry) == name.upper():
                return entry.split("!")[0].split("#")[0].strip().partition(" ")[2].strip()
        return None

    def remove(self, name: str) -> None:
        """Remove a keyword, or all sections of a name."""
        name = name.upper()
        self.entries = [
            entry for entry in self.entries if (_first_word(entry) if isinstance(entry, str) else entry.name) != name
        ]

    def set(self, path: str, value: Any) -> None:
        """Set a keyword like ``DFT/SCF/MAX_SCF``; ``_`` is the section's own parameter, None removes.

        A value that is a list becomes one line of words; True and False become ``T`` and ``F``.
        """
        where, _, name = path.strip("/").rpartition("/")
        section = self.at(where)
        if name == "_":
            section.parameter = "" if value is None else _words(value)
            return
        section.remove(name)
        if value is not None:
            section.entries.append(f"{name.upper()} {_words(value)}")

    def write(self) -> str:
        """Return the section as lines of an input file."""
        return "\n".join([*self._lines(0), ""])

    def _lines(self, depth: int) -> Iterable[str]:
        for entry in self.entries:
            if isinstance(entry, str):
                yield "  " * depth + entry
            else:
                yield "  " * depth + f"&{entry.name} {entry.parameter}".rstrip()
                yield from entry._lines(depth + 1)
                yield "  " * depth + f"&END {entry.name}"


def read(text: str) -> Section:
    """Read an input file; the sections at its top are those of the nameless section that is returned.

    Comments and lines of the preprocessor (``@SET``) stay where they are.

    Raises
    ------
    UserError
        Sections are not closed as they were opened, or the file has no single ``&FORCE_EVAL``.
    """
    stack = [Section("")]
    opened = [0]
    for number, line in enumerate(_joined(text), start=1):
        words = line.split()
        if not words:
            continue
        if not words[0].startswith("&"):
            stack[-1].entries.append(line.strip())
        elif words[0].upper() == "&END":
            given = words[1].upper() if len(words) > 1 and words[1][0] not in "!#" else stack[-1].name
            if len(stack) == 1 or given != stack[-1].name:
                expected = f"&END {stack[-1].name}" if len(stack) > 1 else "no section is open"
                raise UserError(f"CP2K input, line {number}: {line.strip()}, but {expected}.")
            stack.pop()
            opened.pop()
        else:
            content = re.split("[!#]", line, maxsplit=1)[0].strip()
            name, _, parameter = content[1:].partition(" ")
            section = Section(name.upper(), parameter.strip())
            stack[-1].entries.append(section)
            stack.append(section)
            opened.append(number)
    if len(stack) > 1:
        raise UserError(f"CP2K input: &{stack[-1].name} of line {opened[-1]} has no &END {stack[-1].name}.")
    count = len(stack[0].sections("FORCE_EVAL"))
    if count != 1:
        raise UserError(f"CP2K input: expected one &FORCE_EVAL, found {count}.")
    return stack[0]


def check_template(text: str, elements: Mapping[str, str]) -> None:
    """See that a template can be read and has a basis set for each element, before anything is submitted.

    Parameters
    ----------
    elements
        Symbols, each with the place of a frame that has it.

    Raises
    ------
    UserError
        It cannot, or has not.
    """
    subsys = read(text).at("FORCE_EVAL/SUBSYS")
    kinds = {kind.parameter.upper(): kind for kind in subsys.sections("KIND")}
    if "DEFAULT" in kinds or not any(kind.keyword("BASIS_SET") for kind in kinds.values()):
        return  # semi-empirical methods need no kinds
    missing = sorted(symbol for symbol in elements if symbol.upper() not in kinds)
    if missing:
        raise UserError(
            f"CP2K input: no &KIND {missing[0]} in &SUBSYS, but {elements[missing[0]]} has {missing[0]}. "
            f"Add basis set and potential for: {', '.join(missing)}."
        )


def filled(text: str, atoms: Atoms, stress: bool, settings: Mapping[str, Any]) -> str:
    """Return the input that computes energy, forces and perhaps stress of one frame.

    The template decides about the method. Replaced are the run type, the atoms, the cell (if the
    frame has one), charge and spin (if the frame has them) and what is printed; ``settings`` are
    applied last.
    """
    root = read(text)
    root.set("GLOBAL/RUN_TYPE", "ENERGY_FORCE")
    if str(root.at("GLOBAL").keyword("PRINT_LEVEL")).upper() in ("SILENT", "LOW"):
        root.set("GLOBAL/PRINT_LEVEL", "MEDIUM")  # less says nothing about convergence
    force_eval = root.at("FORCE_EVAL")
    if stress and str(force_eval.keyword("STRESS_TENSOR") or "NONE").upper() == "NONE":
        force_eval.set("STRESS_TENSOR", "ANALYTICAL")
    for name in ("PRINT/FORCES", "PRINT/STRESS_TENSOR", "SUBSYS/PRINT/ATOMIC_COORDINATES"):
        force_eval.set(name, None)  # with a file name of its own, it would not be in the output
        force_eval.set(f"{name}/_", "ON")
    force_eval.set("PRINT/FORCES/NDIGITS", 12)
    _place(force_eval.at("SUBSYS"), atoms)
    if atoms.has("initial_charges"):
        force_eval.set("DFT/CHARGE", round(float(atoms.get_initial_charges().sum())))
    unpaired = round(abs(float(atoms.get_initial_magnetic_moments().sum())))
    if unpaired:
        force_eval.set("DFT/MULTIPLICITY", unpaired + 1)
        for alias in ("LSD", "SPIN_POLARIZED", "UNRESTRICTED_KOHN_SHAM"):
            force_eval.set(f"DFT/{alias}", None)
        force_eval.set("DFT/UKS", True)
    for path, value in settings.items():
        root.set(path, value)
    return root.write()


def _place(subsys: Section, atoms: Atoms) -> None:
    """Put the frame's atoms and cell into &SUBSYS."""
    if atoms.cell.rank == 3:
        subsys.remove("CELL")
        cell = subsys.at("CELL")
        for name, vector in zip("ABC", atoms.cell.array.tolist(), strict=True):
            cell.set(name, vector)
        cell.set("PERIODIC", "".join(axis for axis, on in zip("XYZ", atoms.pbc, strict=True) if on) or "NONE")
    elif atoms.pbc.any() or atoms.cell.any():
        raise ValueError(f"CP2K needs three cell vectors even where a frame is not periodic; it has {atoms.cell.rank}.")
    elif not subsys.sections("CELL"):
        raise UserError("CP2K input: no &CELL in &SUBSYS, and the frame has no cell either.")
    else:
        # Solvers for isolated systems want the molecule in the middle of the box.
        subsys.at("TOPOLOGY/CENTER_COORDINATES")
    for topology in subsys.sections("TOPOLOGY"):
        for name in ("COORD_FILE_NAME", "COORDINATE", "COORD_FILE_FORMAT", "COORDINATES"):
            topology.remove(name)
    subsys.remove("COORD")
    subsys.at("COORD").entries = [
        f"{symbol} {_words(position)}" for symbol, position in zip(atoms.symbols, atoms.positions.tolist(), strict=True)
    ]


def _joined(text: str) -> Iterable[str]:
    """Yield the lines of a file, with continued lines put together and an empty line for each part."""
    parts: list[str] = []
    for line in text.splitlines():
        if line.rstrip().endswith("\\"):
            parts.append(line.rstrip()[:-1])
            continue
        yield " ".join([*parts, line])
        yield from [""] * len(parts)
        parts = []
    if parts:
        yield " ".join(parts)


def _first_word(line: str) -> str:
    word = line.split(None, 1)[0] if line.split() else ""
    return "" if word[:1] in ("!", "#", "@") else word.upper()


def _words(value: Any) -> str:
    if isinstance(value, bool):
        return "T" if value else "F"
    if isinstance(value, (list, tuple)):
        return " ".join(map(_words, value))
    return repr(value) if isinstance(value, float) else str(value)
