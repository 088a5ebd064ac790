"""Frames as extended XYZ text, and back, without losing anything on the way.

ASE's own writer keeps eight decimals and moves ``energy``, ``forces`` and ``stress`` into a
calculator when reading. Here numbers are written so that they read back bit for bit, keys and
columns stay under the names they have in the file, and what an attached calculator has computed
is not written. ASE reads these files as any other.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from hpcflow.errors import UserError
from hpcflow.structures import comment as comment_line

if TYPE_CHECKING:
    import numpy as np
    from ase import Atoms

_RESERVED = ("Lattice", "Properties", "pbc")
_MATRICES = ("stress", "virial")
"""ASE reads these as 3x3 matrices in column order."""
_KINDS = {"f": "R", "i": "I", "u": "I", "b": "L", "U": "S"}


def parse(data: bytes) -> list[Atoms]:
    """Read all frames of a text.

    Values of the comment line become ``atoms.info`` (lists of numbers as arrays), columns become
    ``atoms.arrays``; ``move_mask`` becomes constraints. No calculator is attached: a column
    ``forces`` is ``atoms.arrays["forces"]``.

    Raises
    ------
    UserError
        A frame is not valid; the message names the frame (the first is 0).
    """
    # Lines end at line feeds only: other separators of str.splitlines may stand inside of text.
    lines = data.decode().replace("\r\n", "\n").split("\n")
    frames = []
    position = 0
    while position < len(lines):
        if not lines[position].strip():
            position += 1
            continue
        try:
            count = int(lines[position])
            rows = lines[position + 2 : position + 2 + count]
            if len(rows) < count or (rows and not rows[-1].strip()):
                raise ValueError(f"expected {count} atoms, the text ends before that.")
            frames.append(_frame(lines[position + 1], rows))
        except ValueError as error:
            raise UserError(f"frame {len(frames)} (line {position + 1}): {error}") from error
        position += 2 + count
    return frames


def format(frames: Iterable[Atoms], results: bool = False) -> bytes:
    """Write frames as extended XYZ.

    Parameters
    ----------
    frames
        Structures; every entry of ``info`` and ``arrays`` is written, and constraints that fix
        atoms or directions as the column ``move_mask``.
    results
        Also write what an attached calculator holds, under ASE's names (``energy``, ``forces``, …).

    Raises
    ------
    TypeError, ValueError
        An entry has no form in this format: the message names it.
    """
    text = []
    for atoms in frames:
        if results and atoms.calc is not None:
            atoms = _with_results(atoms)
        text.append(_text(atoms))
    return "".join(text).encode()


def _frame(line: str, rows: list[str]) -> Atoms:
    import numpy as np
    from ase import Atoms

    raw = comment_line.split(line) if "=" in line else ({"comment": line.strip()} if line.strip() else {})
    properties = raw.pop("Properties", None)
    lattice = raw.pop("Lattice", None)
    periodic = raw.pop("pbc", "T T T" if lattice is not None else "F F F")
    cell = None
    if lattice is not None:
        cell = np.asarray(comment_line.value(lattice), dtype=float)
        if cell.shape != (9,):
            raise ValueError(f"Lattice={lattice!r} does not have nine numbers.")
        cell = cell.reshape(3, 3)
    arrays = _columns(rows, properties)
    numbers = _numbers(arrays)
    pbc = np.asarray(comment_line.value(periodic))
    if pbc.shape not in ((), (3,)) or pbc.dtype.kind not in "bi":
        raise ValueError(f"pbc={periodic!r} is not three of T and F.")
    atoms = Atoms(numbers=numbers, positions=arrays.pop("pos"), cell=cell, pbc=pbc.astype(bool))
    for key, text in raw.items():
        atoms.info[key] = _info(key, text)
    movable = arrays.pop("move_mask", None)
    for name, array in arrays.items():
        atoms.set_array(name, array)
    if movable is not None:
        _constrain(atoms, movable.astype(bool))
    return atoms


def _columns(rows: list[str], properties: str | None) -> dict[str, np.ndarray]:
    """Return the columns of the atom lines by name."""
    import numpy as np

    fields = (properties or "species:S:1:pos:R:3").split(":")
    if len(fields) % 3 or not all(map(str.isdigit, fields[2::3])):
        raise ValueError(f"Properties={properties} is not a list of NAME:TYPE:COLUMNS.")
    widths = [int(width) for width in fields[2::3]]
    total = sum(widths)
    words = " ".join(rows).split()
    if properties is None or len(words) != total * len(rows):
        words = []
        for k, row in enumerate(rows, start=1):
            found = row.split()
            if len(found) < total or (len(found) > total and properties is not None):
                raise ValueError(f"atom {k}: expected {total} columns, found {len(found)}.")
            words += found[:total]
    table = np.array(words, dtype=object).reshape(len(rows), total)
    arrays = {}
    start = 0
    for name, kind, width in zip(fields[::3], fields[1::3], widths, strict=True):
        part = table[:, start : start + width] if width != 1 else table[:, start]
        arrays[name] = _typed(name, kind, part)
        start += width
    return arrays


def _typed(name: str, kind: str, words: np.ndarray) -> np.ndarray:
    import numpy as np

    try:
        if kind == "R":
            return words.astype(float)
        if kind == "I":
            return words.astype(int)
    except ValueError as error:
        raise ValueError(f"column {name}: {error}") from None
    if kind == "L":
        known = {"T": True, "True": True, "F": False, "False": False}
        if not set(words.flat) <= set(known):
            raise ValueError(f"column {name}: expected T and F only.")
        return np.array([known[word] for word in words.flat], dtype=bool).reshape(words.shape)
    if kind == "S":
        return words.astype(str)
    raise ValueError(f"column {name} has the unknown type {kind}; known are R, I, L and S.")


def _numbers(arrays: dict[str, np.ndarray]) -> list[int]:
    """Take elements out of the columns and see that there are positions."""
    from ase.data import atomic_numbers

    if arrays.get("pos") is None or arrays["pos"].shape[1:] != (3,):
        raise ValueError("no positions: expected pos:R:3 in Properties.")
    species = arrays.pop("species", None)
    numbers = arrays.pop("Z", None)
    if species is None and numbers is None:
        raise ValueError("no elements: expected species:S:1 or Z:I:1 in Properties.")
    if species is None:
        return [int(number) for number in numbers]  # type: ignore[union-attr]
    unknown = sorted({str(symbol) for symbol in species if symbol.capitalize() not in atomic_numbers})
    if unknown:
        raise ValueError(f"{unknown[0]!r} is no element.")
    return [atomic_numbers[symbol.capitalize()] for symbol in species]


def _info(key: str, text: str) -> Any:
    import numpy as np

    item = comment_line.value(text)
    if isinstance(item, list):
        try:
            array = np.array(item)
        except ValueError:  # lists of different lengths: no array
            return item
        if array.dtype.kind in "ifb":
            item = array.reshape(3, 3, order="F") if key in _MATRICES and array.shape == (9,) else array
    return item


def _text(atoms: Atoms) -> str:
    from ase.data import chemical_symbols

    columns = [[chemical_symbols[number] for number in atoms.numbers], _rows("pos", atoms.positions)]
    properties = "species:S:1:pos:R:3"
    arrays = {name: array for name, array in atoms.arrays.items() if name not in ("numbers", "positions")}
    movable = _movable(atoms)
    if movable is not None:
        arrays["move_mask"] = movable
    for name, array in arrays.items():
        kind = _KINDS.get(array.dtype.kind)
        if kind is None or array.ndim > 2 or 0 in array.shape[1:]:
            raise ValueError(f"array {name!r} ({array.dtype}, shape {array.shape}) cannot be columns.")
        if not name or ":" in name or any(mark in name for mark in " \"'=") or not name.isprintable():
            raise ValueError(f"{name!r} cannot be the name of a column.")
        columns.append(_rows(name, array))
        properties += f":{name}:{kind}:{1 if array.ndim == 1 else array.shape[1]}"
    pairs = []
    if atoms.cell.any():
        pairs.append('Lattice="' + " ".join(map(repr, atoms.cell.array.ravel().tolist())) + '"')
    pairs.append(f"Properties={properties}")
    pairs.append('pbc="' + " ".join("T" if flag else "F" for flag in atoms.pbc) + '"')
    for key, item in atoms.info.items():
        if key in _RESERVED:
            raise ValueError(f"info key {key!r} has its own meaning in extended XYZ; use another name.")
        pairs.append(comment_line.pair(str(key), _plain(key, item)))
    rows = map(" ".join, zip(*columns, strict=True))
    return "\n".join([str(len(atoms)), " ".join(pairs), *rows, ""])


def _rows(name: str, array: np.ndarray) -> list[str]:
    """Return the text of one array for every atom."""
    values = array.tolist()
    kind = array.dtype.kind
    if kind == "U":
        for word in array.flat:
            if not word or word.split() != [str(word)] or not word.isprintable():
                raise ValueError(f"array {name!r} holds {str(word)!r}: a column holds one word per atom.")
        write: Callable[[Any], str] = str
    else:
        write = _flag if kind == "b" else repr
    if array.ndim == 1:
        return list(map(write, values))
    return [" ".join(map(write, row)) for row in values]


def _flag(item: bool) -> str:
    return "T" if item else "F"


def _plain(key: str, item: Any) -> Any:
    """Return an info entry as plain Python values."""
    import numpy as np

    if isinstance(item, np.ndarray):
        if item.shape == (3, 3) and key in _MATRICES:
            return item.ravel(order="F").tolist()
        if item.shape == (3, 3) and key.startswith("REF_"):
            return item.ravel().tolist()  # readers of training data expect nine numbers
        return item.tolist()
    if isinstance(item, np.generic):
        return item.item()
    if isinstance(item, dict):
        return {str(name): _plain("", entry) for name, entry in item.items()}
    if isinstance(item, (list, tuple)):
        return [_plain("", entry) for entry in item]
    if type(item).__name__ == "Spacegroup":  # ase.spacegroup.crystal leaves one; ASE writes its symbol
        return item.symbol
    return item


def _movable(atoms: Atoms) -> np.ndarray | None:
    """Return which atoms (or directions) the constraints leave free, or None if they fix nothing."""
    import numpy as np
    from ase.constraints import FixAtoms, FixCartesian

    free = np.ones((len(atoms), 3), dtype=bool)
    for constraint in atoms.constraints:
        if isinstance(constraint, FixAtoms):
            free[constraint.index] = False
        elif isinstance(constraint, FixCartesian):
            free[constraint.index] &= ~np.asarray(constraint.mask)
    if free.all():
        return None
    same = (free == free[:, :1]).all()
    return free[:, 0] if same else free


def _constrain(atoms: Atoms, free: np.ndarray) -> None:
    from ase.constraints import FixAtoms, FixCartesian

    if free.ndim == 1:
        atoms.set_constraint(FixAtoms(mask=~free))
    else:
        fixed = [FixCartesian(k, mask=~row) for k, row in enumerate(free) if not row.all()]
        atoms.set_constraint(fixed)


def _with_results(atoms: Atoms) -> Atoms:
    from ase.io.extxyz import save_calc_results
    from ase.stress import voigt_6_to_full_3x3_stress

    frame = atoms.copy()
    save_calc_results(frame, atoms.calc, calc_prefix="", force=True)
    if len(frame.info.get("stress", ())) == 6:
        frame.info["stress"] = voigt_6_to_full_3x3_stress(frame.info["stress"])
    return frame
