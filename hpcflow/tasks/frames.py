"""Frames between tasks: reading and writing them, and what identifies one."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from ase import Atoms


def read_frames(path: str | Path | None) -> list[Atoms]:
    """Return the frames of an extended XYZ file; none for an empty file or no file."""
    from ase.io import read

    if path is None or Path(path).stat().st_size == 0:
        return []
    return list(read(path, ":", format="extxyz"))


def write_frames(path: str | Path, frames: Sequence[Atoms]) -> None:
    """Write frames as extended XYZ; no frames make an empty file."""
    from ase.io import write

    if frames:
        write(path, list(frames), format="extxyz")
    else:
        Path(path).write_text("")


def is_isolated(frame: Atoms) -> bool:
    """Return whether a frame is the isolated atom that gives an element its reference energy."""
    return len(frame) == 1 and frame.info.get("config_type") == "IsolatedAtom"


def is_labelled(frame: Atoms) -> bool:
    """Return whether a frame has a reference energy and, unless it is an isolated atom, forces."""
    return "REF_energy" in frame.info and ("REF_forces" in frame.arrays or is_isolated(frame))


def parent(frame: Atoms) -> str:
    """Return what a frame descends from: its ``parent`` tag, or itself."""
    return str(frame.info["parent"]) if "parent" in frame.info else identity(frame)


def identity(frame: Atoms) -> str:
    """Return a digest of the elements, positions, cell and periodicity of a frame.

    Lengths count to 10⁻⁶ Å, so that writing and reading a frame does not change what it is.
    """
    digest = hashlib.blake2b(digest_size=16)
    lengths = np.round(np.concatenate([frame.positions, frame.cell.array]) * 1e6).astype("<i8")
    for part in (frame.numbers.astype("<i4"), lengths, frame.pbc.astype("u1")):
        digest.update(part.tobytes())
    return digest.hexdigest()
