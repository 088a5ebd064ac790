"""Where the frames of an (extended) XYZ file stand, found without parsing their atoms.

A file of 100,000 frames is cut into frames by its own atom counts, so that each frame can be
named by offset and length, hashed, and handed to the one task that needs it. Nothing here
imports numpy or ASE: the same code runs on a login node when a campaign is submitted.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from itertools import islice
from typing import BinaryIO, NamedTuple

from hpcflow.errors import UserError, nearest

SYMBOLS = tuple(
    b"X H He Li Be B C N O F Ne Na Mg Al Si P S Cl Ar K Ca Sc Ti V Cr Mn Fe Co Ni Cu Zn Ga Ge As Se Br Kr "
    b"Rb Sr Y Zr Nb Mo Tc Ru Rh Pd Ag Cd In Sn Sb Te I Xe Cs Ba La Ce Pr Nd Pm Sm Eu Gd Tb Dy Ho Er Tm Yb "
    b"Lu Hf Ta W Re Os Ir Pt Au Hg Tl Pb Bi Po At Rn Fr Ra Ac Th Pa U Np Pu Am Cm Bk Cf Es Fm Md No Lr Rf "
    b"Db Sg Bh Hs Mt Ds Rg Cn Nh Fl Mc Lv Ts Og".split()
)
"""Symbols of the elements by atomic number; number 0 is X, a site without an element."""

_BY_SYMBOL = frozenset(SYMBOLS)
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_PROPERTIES = re.compile(rb"""(?:^|[\s,])Properties\s*=\s*["']?([^\s"']+)""")
_NUMBER_CHARACTERS = b"0123456789+-.eE"


class Layout(NamedTuple):
    """Which columns of an atom line mean what."""

    columns: int
    species: int
    """Column of the element."""
    position: int
    """First of the three columns of the position."""
    symbols: bool
    """The element is a symbol, not an atomic number."""


PLAIN = Layout(4, 0, 1, True)
"""Plain XYZ: symbol and position; anything behind them is ignored."""


def scan(path: str | os.PathLike[str], check: bool = True) -> Iterator[tuple[int, int]]:
    """Yield offset and length in bytes of every frame of a file, in order.

    Parameters
    ----------
    path
        Plain or extended XYZ.
    check
        Also see that every atom has an element and a position. Five times slower than counting
        lines alone, and still about 100,000 frames of 48 atoms in two seconds.

    Raises
    ------
    UserError
        The file is missing, no text, cut in the middle, or a frame is not as its header
        says. The message names file, frame (the first is 0, as in ASE) and line (the first is 1).
    """
    for offset, frame in frames(path, check):
        yield offset, len(frame)


def refuse_empty(path: str | os.PathLike[str]) -> None:
    """See that a file holds a frame. One that a step wrote may hold none; that of a person is a mistake then.

    Raises
    ------
    UserError
        There is none, or the first is not as `scan` wants it.
    """
    if next(frames(path, check=False), None) is None:
        raise UserError(f"{os.fspath(path)}: the file is empty: expected frames in (extended) XYZ format.")


def frames(path: str | os.PathLike[str], check: bool = True) -> Iterator[tuple[int, bytes]]:
    """Yield offset and bytes of every frame: as `scan`, for who wants to hash or copy them too."""
    name = os.fspath(path)
    try:
        with open(name, "rb", buffering=1 << 20) as stream:
            yield from _walk(name, stream, check)
    except FileNotFoundError:
        raise UserError(f"{name}: no such file.{_siblings(name)}") from None
    except OSError as error:
        raise UserError(f"{name}: cannot be read: {error.strerror}.") from None


def elements_of(paths: Iterable[str | os.PathLike[str]]) -> dict[str, str]:
    """Return the elements in some files, each with the place of the first frame that has it.

    Raises
    ------
    UserError
        As `scan` does.
    """
    found: dict[str, str] = {}
    for path in paths:
        for number, (_, frame) in enumerate(frames(path, check=False)):
            for symbol in elements(frame):
                found.setdefault(symbol, f"{os.fspath(path)}: frame {number}")
    return found


def elements(frame: bytes) -> set[str]:
    """Return the symbols of the elements in one frame.

    Raises
    ------
    UserError
        An atom line is not as the header says.
    """
    head, *rest = frame.split(b"\n")
    lines = rest[: int(head) + 1]
    problem = _problem(lines)
    if problem is not None:
        raise UserError(problem[1])
    layout = _layout_of(lines[0])
    return {_symbol(line.split()[layout.species], layout) for line in lines[1:]}


def _walk(name: str, stream: BinaryIO, check: bool) -> Iterator[tuple[int, bytes]]:
    size = os.fstat(stream.fileno()).st_size
    start = stream.read(4096)
    _refuse_binary(name, start)
    offset = len(_BYTE_ORDER_MARK) if start.startswith(_BYTE_ORDER_MARK) else 0
    stream.seek(offset)
    number, line = 0, 1
    for head in stream:
        where = f"{name}: frame {number} (line {line})"
        try:
            count = int(head)
        except ValueError:
            if head.isspace():  # blank lines at the end, or between files that were joined
                offset += len(head)
                line += 1
                continue
            raise UserError(_not_a_count(where, head, number)) from None
        if count < 1:
            raise UserError(f"{where} says that it has {count} atoms; a frame has at least one.")
        # A damaged count must not make us read the rest of a large file into memory.
        room = size - offset - len(head)
        rest = list(islice(stream, count + 1)) if count < room else []
        if len(rest) <= count:
            found = f" after {max(len(rest) - 1, 0)} of them" if count < room else " before that"
            raise UserError(
                f"{where} should have {count} atoms but the file ends{found}. "
                "The file is cut: copy it again, or delete this frame."
            )
        if check:
            problem = _problem(rest)
            if problem is not None:
                raise UserError(f"{name}: frame {number} (line {line + 1 + problem[0]}): {problem[1]}")
        if not rest[-1].endswith(b"\n") and _looks_cut(rest):
            raise UserError(
                f"{name}: frame {number} (line {line + 1 + count}): the last line is shorter than all others "
                "of its frame and has no end of line. The file seems cut: copy it again, or add an end of "
                "line if it is complete."
            )
        frame = head + b"".join(rest)
        yield offset, frame
        offset += len(frame)
        line += count + 2
        number += 1


def _problem(rest: list[bytes]) -> tuple[int, str] | None:
    """Return what is wrong with comment and atom lines, and in which of these lines, or None."""
    comment = rest[0]
    if not comment.isascii():
        try:
            comment.decode()
        except UnicodeDecodeError:
            return 0, "the comment line is not UTF-8 text."
    try:
        layout = _layout_of(comment)
    except ValueError as error:
        return 0, str(error)
    words = b" ".join(rest[1:]).split()
    columns = layout.columns if layout is not PLAIN else len(rest[1].split())
    if columns >= layout.columns and len(words) == columns * (len(rest) - 1):
        found = set(words[layout.species :: columns])
        p = layout.position
        digits = b"".join(words[p::columns] + words[p + 1 :: columns] + words[p + 2 :: columns])
        if all(_symbol(word, layout) for word in found) and not digits.translate(None, _NUMBER_CHARACTERS):
            return None
    for k, line in enumerate(rest[1:], start=1):
        message = _line_problem(line.split(), layout)
        if message:
            return k, f"atom {k} of {len(rest) - 1}: {message}"
    return None


def _line_problem(words: list[bytes], layout: Layout) -> str:
    if len(words) < layout.columns or (len(words) > layout.columns and layout is not PLAIN):
        return f"expected {layout.columns} columns, found {len(words)}: {_shown(b' '.join(words))}"
    if not _symbol(words[layout.species], layout):
        return f"{_shown(words[layout.species])} is no element."
    for word in words[layout.position : layout.position + 3]:
        if word.translate(None, _NUMBER_CHARACTERS):
            return f"{_shown(word)} is no coordinate."
    return ""


def _layout_of(comment: bytes) -> Layout:
    found = _PROPERTIES.search(comment)
    return _layout(found[1]) if found else PLAIN


@lru_cache(maxsize=256)
def _layout(properties: bytes) -> Layout:
    text = properties.decode(errors="replace")
    fields = text.split(":")
    if len(fields) % 3 or not all(width.isdigit() and int(width) for width in fields[2::3]):
        raise ValueError(f"Properties={text} is not a list of NAME:TYPE:COLUMNS.")
    columns: dict[str, tuple[int, int]] = {}
    total = 0
    for name, width in zip(fields[::3], map(int, fields[2::3]), strict=True):
        columns[name] = (total, width)
        total += width
    if columns.get("pos", (0, 0))[1] != 3:
        raise ValueError(f"Properties={text} has no positions; expected pos:R:3.")
    for name in ("species", "Z"):
        if name in columns:
            return Layout(total, columns[name][0], columns["pos"][0], name == "species")
    raise ValueError(f"Properties={text} has no elements; expected species:S:1 (or Z:I:1).")


@lru_cache(maxsize=4096)
def _symbol(word: bytes, layout: Layout) -> str:
    """Return the symbol that an element column means, or nothing if it means none."""
    if layout.symbols:
        symbol = word.capitalize()
        return symbol.decode() if symbol in _BY_SYMBOL else ""
    return SYMBOLS[int(word)].decode() if word.isdigit() and int(word) < len(SYMBOLS) else ""


def _refuse_binary(name: str, start: bytes) -> None:
    if start.startswith(b"\x1f\x8b"):
        raise UserError(f"{name}: the file is compressed. Unpack it first: gunzip {name}")
    if b"\0" in start:
        raise UserError(f"{name}: this is not a text file: expected frames in (extended) XYZ format.")


def _not_a_count(where: str, head: bytes, number: int) -> str:
    message = f"{where}: expected a number of atoms, found {_shown(head)}."
    if number:
        message += " Does the frame before have as many atom lines as it says?"
    else:
        message += " Is this an (extended) XYZ file?"
    return message


def _looks_cut(rest: list[bytes]) -> bool:
    """Tell whether the last line, which has no end, is shorter than lines that are all of one length."""
    lengths = {len(line.rstrip(b"\r\n")) for line in rest[1:-1]}
    return len(lengths) == 1 and len(rest) > 3 and len(rest[-1]) < min(lengths)


def _shown(text: bytes) -> str:
    shown = text[:60].decode(errors="replace").strip()
    return repr(shown + ("..." if len(text) > 60 else ""))


def _siblings(name: str) -> str:
    directory = os.path.dirname(name) or "."
    if not os.path.isdir(directory):
        return f" There is no directory {directory} either."
    files = [entry for entry in os.listdir(directory) if entry.endswith("xyz")]
    return nearest(os.path.basename(name), files)
