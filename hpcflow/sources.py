"""Inputs of a workflow that are the user's own files: frames, files, rows of tables."""

from __future__ import annotations

import glob as globbing
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

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

    return read_rows(_base() / path)


def concat(*handles: Frames) -> Frames:
    """Join frames in the order given."""
    return Frames([part for handle in handles for part in handle._parts])


_BASES: list[Path] = []


@contextmanager
def campaign_base(campaign: Path) -> Iterator[None]:
    """Paths of ``frames``, ``files`` and ``rows`` are relative to this campaign inside the block."""
    _BASES.append(campaign)
    try:
        yield
    finally:
        _BASES.pop()


def _base() -> Path:
    """The campaign that is being replayed, or the current directory."""
    return _BASES[-1] if _BASES else Path.cwd()


def _expand(pattern: str | Path) -> list[str]:
    """The files that a path or pattern means, relative to the campaign, sorted."""
    text = os.fspath(pattern)
    if not globbing.has_magic(text) or (_base() / text).exists():
        return [text]
    found = sorted(globbing.glob(text, root_dir=_base(), recursive=True))
    if not found:
        raise UserError(f"{text}: no file in {_base()} matches this pattern")
    return found
