"""The comment line of extended XYZ: key=value pairs as text, and text as plain values.

The grammar is ASE's, so that either reads what the other writes. Where ASE's own writer loses
something (None, empty strings, text that looks like a number, quotes, line breaks) the value is
written in its ``_JSON`` form, which ASE reads back as it was.

Standard library only: the engine marks frames without loading numpy or ASE.
"""

from __future__ import annotations

import json
import re
from collections.abc import Container, Iterator
from typing import Any

_QUOTED = r'"((?:[^"\\]|\\.)*)"'
_PAIR = re.compile(
    rf"""\s*(?:{_QUOTED}|([^\s="]+))"""
    r"(?:(?:=|\s+=\s*)"
    rf"""(?:{_QUOTED}|'((?:[^'\\]|\\.)*)'|\{{([^}}]*)\}}|(\[\[.*?\]\])|\[([^\]]*)\]|(\S*)))?(?=\s|$)"""
)
_ESCAPED = re.compile(r"\\(.)")
_WORDS = re.compile(r"[^\s,]+")
_INTEGER = re.compile(r"[+-]?[0-9]+")
_LEADING_ZERO = re.compile(r"[+-]?0[0-9]+")
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_PLAIN_TEXT = re.compile(r"[A-Za-z_][A-Za-z0-9_.:/+*-]*")
_LISTS = ({bool}, {int}, {float})
"""Lists of one of these types are written as their words."""
_BOOLEANS = {
    **dict.fromkeys(("T", "True", "true", "TRUE"), True),
    **dict.fromkeys(("F", "False", "false", "FALSE"), False),
}


def split(comment: str) -> dict[str, str]:
    """Cut a comment line into keys and their raw text.

    A key alone means ``T``; the last of equal keys counts.

    Raises
    ------
    ValueError
        A quote is not closed.
    """
    return {key: text for key, text, _ in _pairs(comment)}


def drop(comment: str, keys: Container[str]) -> str:
    """Return the line without the pairs of these keys; all others stay as they are written."""
    return " ".join(written for key, _, written in _pairs(comment) if key not in keys)


def _pairs(comment: str) -> Iterator[tuple[str, str, str]]:
    """Yield key, raw text, and the pair as it is written."""
    comment = comment.strip()
    position = 0
    while position < len(comment):
        found = _PAIR.match(comment, position)
        if found is None or found.end() == position:
            raise ValueError(f"cannot read the comment line from {comment[position : position + 40]!r} on.")
        quoted_key, key, quoted, single, *others = found.groups()
        if quoted_key is not None:
            key = _ESCAPED.sub(r"\1", quoted_key)
        text = quoted if quoted is not None else single
        if text is not None:
            text = _ESCAPED.sub(r"\1", text)
        else:
            text = next((other for other in others if other is not None), "T")
        position = found.end()
        yield key, text, found[0].strip()


def value(text: str) -> Any:
    """Return what the text of a value means: number, bool, string, list of these, or what its JSON says.

    One word with leading zeros stays text: it is a name, and would lose them.
    """
    if text.startswith("_JSON "):
        return json.loads(text[6:])
    if text.startswith("[["):
        try:
            return json.loads(text)
        except ValueError:
            return text
    words = _WORDS.findall(text)
    if not words:
        return text
    if words[0] in _BOOLEANS:
        values: list[Any] = [_BOOLEANS.get(word, word) for word in words]
        if any(isinstance(item, str) for item in values):
            return text
    elif all(map(_INTEGER.fullmatch, words)):
        if len(words) == 1 and _LEADING_ZERO.fullmatch(words[0]):
            return text
        values = [int(word) for word in words]
    else:
        try:
            values = [float(word) for word in words]
        except ValueError:
            return text
    return values[0] if len(values) == 1 else values


def pair(key: str, item: Any) -> str:
    """Write one key=value pair so that `split` and `value`, and ASE, read the same again.

    Parameters
    ----------
    item
        None, bool, int, float, str, or lists and dicts of these.

    Raises
    ------
    TypeError
        The value has no such form.
    ValueError
        The key is empty or holds a line break.
    """
    if not key or not key.isprintable():
        raise ValueError(f"{key!r} cannot be a key of a comment line.")
    if not _PLAIN_KEY.fullmatch(key):
        key = _quote(key)
    return f"{key}={_written(item)}"


def _written(item: Any) -> str:
    if isinstance(item, (bool, int, float)):
        return _scalar(item)
    if isinstance(item, str) and _reads_as_itself(item):
        return item if _PLAIN_TEXT.fullmatch(item) else f'"{item}"'
    if isinstance(item, list) and len(item) > 1 and {type(entry) for entry in item} in _LISTS:
        return f'"{" ".join(map(_scalar, item))}"'
    try:
        return _quote("_JSON " + json.dumps(item))
    except TypeError as error:
        raise TypeError(f"{error}; a comment line holds numbers, texts, lists and dicts of these.") from None


def _scalar(item: bool | int | float) -> str:
    if isinstance(item, bool):
        return "T" if item else "F"
    return repr(item)


def _reads_as_itself(text: str) -> bool:
    return (
        text.isprintable()
        and not set(text) & set("\"'\\{}[]")
        and not text.startswith("_JSON ")
        and text == text.strip(" ,")
        and text != ""
        and value(text) == text
        and not _LEADING_ZERO.fullmatch(text)  # ASE would make a number of it
    )


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
