"""Every value of a site with where it was written, where it was found, and whether it was verified."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hpcflow.sites.yaml_reader import Document, KeyPath, dotted

_ABOUT = ("name", "sources", "unverified")


@dataclass(frozen=True)
class Fact:
    """One value of a site file."""

    key: str
    value: Any
    """Text, a list of texts, or None for an option that is taken away."""
    layer: str
    file: str
    line: int
    source: str | None
    """Where the value was found, and when."""
    unverified: str | None
    """Why it could not be verified, if so."""


def facts(document: Document) -> Iterator[Fact]:
    """Yield all values of a site, in the order of its files."""
    sources = _notes(document, "sources")
    unverified = _notes(document, "unverified")
    for path, value in _leaves(document.data, ()):
        if path[0] in _ABOUT:
            continue
        origin = document.origin(path)
        yield Fact(
            dotted(path),
            value,
            origin.layer,
            origin.file,
            origin.line,
            covering(path, sources),
            covering(path, unverified),
        )


def open_questions(document: Document) -> dict[str, str]:
    """Return what the site file says of keys that it has no values for: what nobody has found out yet."""
    keys = [path for path, _ in _leaves(document.data, ())]
    unverified = _notes(document, "unverified")
    return {key: text for key, text in unverified.items() if not any(covering(p, {key: text}) for p in keys)}


def covering(path: KeyPath, notes: dict[str, str]) -> str | None:
    """Return the note about a key, or about the nearest key around it.

    A note about ``queues.*.limits`` is about the limits of every queue.
    """
    for length in range(len(path), 0, -1):
        for key, text in notes.items():
            parts = key.split(".")
            if len(parts) == length and all(p in ("*", str(part)) for p, part in zip(parts, path, strict=False)):
                return text
    return None


def _notes(document: Document, key: str) -> dict[str, str]:
    notes = document.data.get(key)
    return {str(k): str(v) for k, v in notes.items()} if isinstance(notes, dict) else {}


def _leaves(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, Any]]:
    if isinstance(value, dict) and (value or not path):
        for key, inner in value.items():
            yield from _leaves(inner, (*path, key))
    elif isinstance(value, list) and any(isinstance(item, dict) for item in value):
        for i, item in enumerate(value):
            yield from _leaves(item, (*path, i))
    else:
        yield path, value
