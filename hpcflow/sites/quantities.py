"""What the text of a configuration value means: times, memory, and values without a declared type.

Times (all become seconds):

============== ======================================================
``12:00:00``   hours, minutes, seconds
``24:00``      24 hours: hours and minutes
``1-12:00:00`` a day and 12 hours, as Slurm writes it; also ``1-12``
``90m``        90 minutes; ``s``, ``m`` (or ``min``), ``h``, ``d``
``1d12h``      units may follow each other, largest first
``3600``       seconds
============== ======================================================

Memory (becomes MiB, rounded up): ``2000M``, ``1.5G``, ``64GiB``, ``512000K``, ``1T``; a plain number is
MiB. K, M, G and T are powers of 1024, with or without ``B`` or ``iB``, as batch systems read them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

_CLOCK = re.compile(r"(?:(\d+)-)?(\d+)(?::(\d\d?))?(?::(\d\d?))?\Z", re.ASCII)
_NUMBER = r"(\d+(?:\.\d+)?)"
_WITH_UNITS = re.compile(
    rf"(?:{_NUMBER} ?d)? ?(?:{_NUMBER} ?h)? ?(?:{_NUMBER} ?(?:min|m))? ?(?:{_NUMBER} ?s)?\Z", re.ASCII
)
_MEMORY = re.compile(r"(\d+(?:\.\d+)?)\s*(?:([KMGT])(?:i?B)?)?\Z", re.ASCII | re.IGNORECASE)
_MEBIBYTES = {"K": 1 / 1024, "M": 1.0, "G": 1024.0, "T": 1024.0**2}

_INTEGER = re.compile(r"[-+]?\d+\Z|0o[0-7]+\Z|0x[0-9a-fA-F]+\Z", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\.\d+|\d+(\.\d*)?)([eE][-+]?\d+)?\Z", re.ASCII)
_SPECIAL = {".inf": math.inf, "+.inf": math.inf, "-.inf": -math.inf, ".nan": math.nan}
_A_TIME = "a time like 12:00:00, 24:00 (hours), 1-12:00:00, 90m or 1d12h"
_AN_AMOUNT = "an amount of memory like 2000M, 1.5G or 64GiB"
_BOOLEANS = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}


def duration(text: str) -> float:
    """Return the seconds that a time span stands for; see the table of this module.

    Raises
    ------
    ValueError
        If the text is not a time span.
    """
    text = text.strip()
    if text.isascii() and text.isdigit():
        return float(text)
    if match := _CLOCK.match(text):
        days, hours, minutes, seconds = (int(part or 0) for part in match.groups())
        inner_hours_fit = match[1] is None or hours < 24
        if minutes < 60 and seconds < 60 and inner_hours_fit:
            return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)
    if text and (match := _WITH_UNITS.match(text)):
        parts = [float(part or 0) for part in match.groups()]
        return float(sum(part * unit for part, unit in zip(parts, (86400, 3600, 60, 1), strict=True)))
    raise ValueError(f"expected {_A_TIME}, got {text!r}")


def duration_text(seconds: float) -> str:
    """Return a time span as ``duration`` reads it: ``36:00:00``, or ``0.5s`` below a second's resolution."""
    if seconds != int(seconds):
        return f"{seconds:g}s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest:02d}"


def memory(text: str) -> int:
    """Return the MiB that an amount of memory stands for, rounded up.

    Raises
    ------
    ValueError
        If the text is not an amount of memory.
    """
    match = _MEMORY.match(text.strip())
    if not match:
        raise ValueError(f"expected {_AN_AMOUNT}, got {text!r}")
    return math.ceil(float(match[1]) * _MEBIBYTES[(match[2] or "M").upper()])


def boolean(text: str) -> bool:
    """Return what ``true``, ``yes``, ``on``, ``false``, ``no`` or ``off`` stands for (any case).

    Raises
    ------
    ValueError
        If the text is none of them.
    """
    try:
        return _BOOLEANS[text.lower()]
    except KeyError:
        raise ValueError(f"expected true or false, got {text!r}") from None


def resolve(text: str) -> Any:
    """Return what a plain scalar means where no type is declared: the core schema of YAML 1.2.

    Integers, floats, true, false; anything else, ``2026_042``, ``12:00:00`` and ``yes`` included, is
    a string.
    """
    if _INTEGER.match(text):
        return int(text, 0 if text[:2] in ("0o", "0x") else 10)
    if _FLOAT.match(text):
        return float(text)
    lower = text.lower()
    if lower in _SPECIAL:
        return _SPECIAL[lower]
    return _BOOLEANS[lower] if lower in ("true", "false") else text


class Text(NamedTuple):
    """Says in the type of a field how its text is to be read: ``Annotated[float, Text(...)]``."""

    expected: str
    """What a person should write, for error messages."""
    read: Callable[[str], Any]
    """Raises ValueError for a text that it cannot read."""


Duration = Annotated[float, Text(_A_TIME, duration)]
"""A time span in seconds, written as one of the table above."""

Mebibytes = Annotated[int, Text(_AN_AMOUNT, memory)]
"""An amount of memory in MiB, written with a unit."""
