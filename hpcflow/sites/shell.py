"""Quoting for the shell: literal, or with expansion on the node."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

_PLAIN = re.compile(r"[\w@%+=:,./-]+\Z", re.ASCII)
_QUOTED_PATH = re.compile(r'"([\w@%+=:,./${}-]+)"', re.ASCII)


class Part(NamedTuple):
    """Some words of a command line, as they are written in a script."""

    text: str
    live: bool = True
    """Whether ``$NAME`` and ``$(command)`` in it are meant to be expanded."""


def literal(text: str) -> str:
    """Return ``text`` so that a shell, or ``shlex.split``, reads exactly this one word."""
    return text if _PLAIN.match(text) else "'" + text.replace("'", "'\\''") + "'"


def expanded(text: str) -> str:
    """Return ``text`` as one word in which ``$NAME`` and ``$(command)`` are expanded."""
    return text if _PLAIN.match(text) else '"' + text.replace('"', '\\"') + '"'


def joined(parts: Iterable[Part]) -> str:
    """Return the parts as a piece of a command line."""
    return " ".join(part.text for part in parts if part.text)


def one_word(parts: Iterable[Part]) -> str:
    """Return the parts as a single double-quoted word: expanded once, and still quoted inside.

    What a script passes on this way, ``shlex.split`` cuts into the words that the shell would have seen.
    Quotes around a mere ``$NAME/path`` are left out, so that a shell that only expands the result, without
    removing quotes from it, sees the same words in all but unusual cases.
    """
    escaped = []
    for text, live in parts:
        if live:
            text = _QUOTED_PATH.sub(r"\1", text)
        special = r'([\\"`])' if live else r'([\\"`$])'
        if text:
            escaped.append(re.sub(special, r"\\\1", text))
    return '"' + " ".join(escaped) + '"'
