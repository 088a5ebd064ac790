"""Lists of chunks, and the claims that workers make on them."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from typing import Any

from hpcflow.database.files import digest_bytes, write_whole

MOST_CHUNKS_PER_SLOT = 16


def chunk_bounds(total: int, slots: int, smallest: int = 1) -> list[int]:
    """Positions where chunks begin and end: large first, shrinking towards the end.

    Every chunk takes ``remaining / (2 * slots)`` of what is left (guided self-scheduling: Polychronopoulos and
    Kuck, IEEE Trans. Comput. 36, 1425, 1987), but at least ``smallest`` tasks; never more than 16
    chunks per slot.

    Parameters
    ----------
    total
        Tasks in the list.
    slots
        Slots expected to work on it.
    smallest
        Tasks that make a chunk worth its claim.
    """
    slots = max(1, slots)
    # With 2 * slots * exp(7) tasks the shrinking alone makes 14 chunks per slot.
    smallest = max(1, smallest, math.ceil(total / (2 * slots * math.exp(7))))
    smallest = min(smallest, max(1, math.ceil(total / slots)))
    bounds = [0]
    while bounds[-1] < total:
        left = total - bounds[-1]
        bounds.append(bounds[-1] + min(left, max(smallest, math.ceil(left / (2 * slots)))))
    return bounds


def resources_id(request: dict[str, Any]) -> str:
    """A short name for what a list of chunks needs beyond its class; workers serve one such name."""
    if not request:
        return "r0"
    return "r" + digest_bytes(json.dumps(request, sort_keys=True).encode())[:8]


def write_list(array: Path, content: dict[str, Any]) -> None:
    """Write ``work/chunks/L.json``, unless it is there: lists are immutable."""
    path = array / "work" / "chunks" / f"{content['list']}.json"
    if not path.exists():
        write_whole(path, json.dumps(content, separators=(",", ":")).encode())


def read_list(array: Path, number: int) -> dict[str, Any]:
    """The content of one list of chunks."""
    content: dict[str, Any] = json.loads((array / "work" / "chunks" / f"{number}.json").read_bytes())
    return content


def claims(array: Path) -> list[tuple[int, int]]:
    """The chunks that have been taken, as (list, chunk)."""
    try:
        names = os.listdir(array / "work" / "claims")
    except FileNotFoundError:
        return []
    out = []
    for name in names:
        listed, _, chunk = name.partition(".")
        if listed.isdigit() and chunk.isdigit():
            out.append((int(listed), int(chunk)))
    return sorted(out)


def claim_owner(array: Path, claim: tuple[int, int]) -> str:
    """The worker that took a chunk."""
    return os.readlink(array / "work" / "claims" / f"{claim[0]}.{claim[1]}")


def tasks_of(content: dict[str, Any], chunk: int) -> list[int]:
    """The task indices of one chunk of a list."""
    start, stop = content["bounds"][chunk], content["bounds"][chunk + 1]
    out: list[int] = []
    position = 0
    for low, high in content["tasks"]:
        length = high - low
        first, last = max(start - position, 0), min(stop - position, length)
        if first < last:
            out.extend(range(low + first, low + last))
        position += length
        if position >= stop:
            break
    return out
