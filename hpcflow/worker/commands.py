"""Shell commands with the fields of a row filled in."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Mapping
from typing import Any

from hpcflow.worker.array import Array

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
            import difflib  # only now: every worker would load it

            near = difflib.get_close_matches(name, row, n=1)
            known = f"did you mean {{{near[0]}}}?" if near else f"known: {', '.join(sorted(row)) or 'none'}."
            raise BadCommand(f"the command names {{{name}}}, {known} Write {{{{{name}}}}} for literal braces")
        value = row[name]
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        if "\0" in text:
            raise BadCommand(f"the field {{{name}}} holds a zero byte, which no command can")
        return shlex.quote(text)

    return _FIELD.sub(replace, template)


def command_of(array: Array, task: int, parameters: dict[str, Any], directory: str) -> str:
    """Return the command of one task, and write what it expects to find into its directory.

    Fields are those of the row, ``path`` of an input that is a file, ``index``, and the parameters of the
    array, which ``parameters`` override. A frame is written to ``input.xyz``.
    """
    row: dict[str, Any] = {**array.resolve(array.parameters), **array.resolve(parameters)}
    if array.frames:
        with open(os.path.join(directory, "input.xyz"), "wb") as stream:
            stream.write(array.input(task))
    else:
        value = array.value(task)
        if isinstance(value, dict):
            row.update(value)
        elif isinstance(value, str):  # a file, resolved to its path
            row["path"] = value
    row["index"] = task
    return fill(array.function["command"], row)
