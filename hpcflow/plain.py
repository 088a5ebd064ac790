"""Values as JSON for programs: plain numbers, text, lists and dictionaries, and null for what is not finite.

``NaN`` and ``Infinity``, which Python writes and reads, are no JSON: other languages refuse the whole line.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from hpcflow.errors import UserError


def plain(value: Any, place: str = "") -> Any:
    """Return a value as JSON has it: numpy's scalars and arrays as numbers and lists, NaN and infinities as None.

    Parameters
    ----------
    value
        Also of lists and dictionaries in each other.
    place
        What the value is called in messages, such as ``error.mean``.

    Raises
    ------
    UserError
        Naming what is no JSON.
    """
    if value is None or isinstance(value, (str, bool)):
        return value
    if hasattr(value, "tolist"):  # numpy; its double is a float of Python, too
        return plain(value.tolist(), place)
    if isinstance(value, int):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {_key(key, place): plain(item, f"{place}.{key}" if place else str(key)) for key, item in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray, memoryview)):
        return [plain(item, f"{place}[{number}]") for number, item in enumerate(value)]
    raise UserError(
        f"{place or 'the value'}: a {type(value).__name__} is no JSON; expected numbers, text, true, false, null, and "
        "lists and dictionaries of these"
    )


def dumps(value: Any, indent: int | None = None) -> str:
    """Write a value as JSON that any program reads."""
    return json.dumps(plain(value), indent=indent, allow_nan=False)


def _key(key: Any, place: str) -> str:
    if hasattr(key, "tolist"):
        key = key.tolist()
    if isinstance(key, (str, int, float)) and not isinstance(key, bool):
        return str(key)
    raise UserError(f"{place or 'the value'}: the key {key!r} is no text; JSON has no others")
