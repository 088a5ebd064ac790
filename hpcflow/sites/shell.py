"""Quoting for the shell: literal, or with expansion on the node."""

from __future__ import annotations

import re

_PLAIN = re.compile(r"[\w@%+=:,./-]+\Z", re.ASCII)
_SAME_EVERYWHERE = re.compile(r"[\w@%+=:,./{} -]*\Z", re.ASCII)


def literal(text: str) -> str:
    """Return ``text`` so that a shell, or ``shlex.split``, reads exactly this one word."""
    return text if _PLAIN.match(text) else "'" + text.replace("'", "'\\''") + "'"


def expanded(text: str) -> str:
    """Return ``text`` as one word in which ``$NAME``, ``$(command)`` and ``~/`` in front are expanded."""
    if text.startswith("~/"):
        text = "$HOME" + text[1:]  # inside of quotes a shell leaves it alone
    return text if _PLAIN.match(text) else '"' + text.replace('"', '\\"') + '"'


def one_word(words: str) -> str:
    """Return words of a command line as a single word, from which ``shlex.split`` gets them back.

    They are expanded once, here. Words that need quotes keep them, the others have none, so that a shell that
    only splits the result at its blanks gets the same words in all but unusual cases. The shell function
    ``hpcflow_words`` is part of every script that needs it.
    """
    return f'"{words}"' if _SAME_EVERYWHERE.match(words) else f'"$(hpcflow_words {words})"'
