"""Shell commands with the fields of a row filled in."""

from __future__ import annotations

import difflib
import json
import re
import shlex
from collections.abc import Mapping
from typing import Any

_FIELD = re.compile(r"\{\{|\}\}|\{([^\W\d][\w.\- ]*)\}")


class BadCommand(Exception):
    """A command cannot be made for a row, because of its fields."""


def fields(template: str) -> list[str]:
    """Return the names of the fields in a command, in the order they appear."""
    return list(dict.fromkeys(m[1] for m in _FIELD.finditer(template) if m[1]))


def fill(template: str, row: Mapping[str, Any]) -> str:
    """Return a command with each ``{name}`` replaced by the row's value, quoted for the shell.

    ``{{`` and ``}}`` stand for braces. Braces around anything but a name stay as they are.

    Parameters
    ----------
    template
        The command.
    row
        JSON values; what is not a text is written as JSON.

    Raises
    ------
    BadCommand
        If the row has no such field, or a value that no command can hold.
    """

    def replace(match: re.Match[str]) -> str:
        name = match[1]
        if not name:
            return match[0][0]
        if name not in row:
            near = difflib.get_close_matches(name, row, n=1)
            known = f"did you mean {{{near[0]}}}?" if near else f"known: {', '.join(sorted(row)) or 'none'}."
            raise BadCommand(f"the command names {{{name}}}, {known} Write {{{{{name}}}}} for literal braces")
        value = row[name]
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        if "\0" in text:
            raise BadCommand(f"the field {{{name}}} holds a zero byte, which no command can")
        return shlex.quote(text)

    return _FIELD.sub(replace, template)
