"""Inputs of a workflow that are the user's own files: frames, files, rows of tables."""

from __future__ import annotations

import glob as globbing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from hpcflow.database.files import file_stamp
from hpcflow.errors import UserError
from hpcflow.handles import File, Frames, _Read

Structures: TypeAlias = str
"""A parameter of a workflow that names extended XYZ files: a path or a glob pattern."""


def frames(*sources: str | Path | File | Frames) -> Frames:
    """Structures from extended XYZ files: paths and glob patterns relative to the campaign, or kept files."""
    parts: list[File | _Read] = []
    for source in sources:
        if isinstance(source, Frames):
            parts += source._parts
        elif isinstance(source, File):
            parts.append(source)
        else:
            parts += [File(path) for path in _expand(source)]
    return Frames(parts)


def files(*patterns: str | Path) -> list[File]:
    """Files as inputs: the function gets the path of one of them."""
    return [File(path) for pattern in patterns for path in _expand(pattern)]


def rows(path: str | Path) -> list[dict[str, Any]]:
    """Inputs from a CSV or JSON-lines file: the function gets one row as a dict.

    Raises
    ------
    UserError
        If the file cannot be read, or a line is not a row.
    """
    from hpcflow.tables import read_rows

    table = base_directory() / path
    if _BASES and table.exists():
        _BASES[-1][1][str(table)] = file_stamp(table)
    return read_rows(table)


def concat(*handles: Frames) -> Frames:
    """Join frames in the order given."""
    return Frames([part for handle in handles for part in handle._parts])


_BASES: list[tuple[Path, dict[str, str]]] = []


@contextmanager
def relative_to(directory: Path, read: dict[str, str] | None = None) -> Iterator[None]:
    """Paths of ``frames``, ``files`` and ``rows`` are relative to this directory inside the block.

    Parameters
    ----------
    read
        Gets the files that are read here and now, with a stamp of each.
    """
    _BASES.append((directory, {} if read is None else read))
    try:
        yield
    finally:
        _BASES.pop()


def base_directory() -> Path:
    """The campaign that is being replayed, or the current directory."""
    return _BASES[-1][0] if _BASES else Path.cwd()


def _expand(pattern: str | Path) -> list[str]:
    """The files that a path or pattern means, sorted, as absolute paths."""
    text = os.fspath(pattern)
    base = base_directory()
    if (base / text).is_dir():
        raise UserError(f"{text!r} is a directory; expected a file, or a pattern like {os.path.join(text, '*')!r}")
    if not globbing.has_magic(text) or (base / text).exists():
        return [str(base / text)]
    found = sorted(globbing.glob(text, root_dir=base, recursive=True))
    if not found:
        raise UserError(f"{text}: no file in {base} matches this pattern")
    return [str(base / name) for name in found]
