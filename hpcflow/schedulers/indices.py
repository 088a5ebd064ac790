"""Index lists as schedulers write them: ``0-3,7``, ``1-99:2``, ``[4,8-11%2]``."""

from __future__ import annotations

import re
from collections.abc import Iterable

_PART = re.compile(r"(\d+)(?:-(\d+)(?::(\d+))?)?")
_MOST = 10_000_000  # far more than any scheduler takes: a longer range is damage


def expand(text: str) -> list[int]:
    """Return the indices of a list, in its order; brackets and a throttle ``%N`` are ignored.

    Raises
    ------
    ValueError
        If the text is anything else, or was cut (Slurm ends what it cuts with ``...``).
    """
    body = text.strip().removeprefix("[").removesuffix("]")
    body, _, throttle = body.partition("%")
    if throttle and not throttle.isdecimal():
        raise ValueError(f"{text!r} is no list of indices")
    indices: list[int] = []
    for part in body.split(","):
        match = _PART.fullmatch(part.strip())
        if match is None:
            raise ValueError(f"{text!r} is no list of indices")
        first = int(match[1])
        last = int(match[2]) if match[2] else first
        step = int(match[3]) if match[3] else 1
        if last < first or step < 1 or last - first > _MOST:
            raise ValueError(f"{text!r} is no list of indices")
        indices.extend(range(first, last + 1, step))
    return indices


def compress(indices: Iterable[int]) -> str:
    """Return the shortest list of single indices and plain ranges, sorted: ``0-3,7``."""
    parts: list[list[int]] = []
    for index in sorted(set(indices)):
        if parts and parts[-1][1] == index - 1:
            parts[-1][1] = index
        else:
            parts.append([index, index])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)
