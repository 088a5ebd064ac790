"""How a function or a command is named, versioned and carried to the nodes."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from hpcflow.database.files import digest_bytes
from hpcflow.errors import UserError, nearest

SOURCE = "source:"
"""Begins the version of a function that is known by its text."""
CELL = "cell_"
"""Begins the name of the module that a function of a notebook or a script travels in."""


def describe_function(function: Callable[..., Any], campaign: Path) -> tuple[dict[str, Any], dict[str, str]]:
    """The ``function`` entry of array.json, and sources that must be added to the code archive.

    A function's version is the one it declares, or the digest of its source text (not of a syntax
    tree: that differs between Python versions). A function of a notebook or of the script being run
    travels as its own source, so what it uses must be imported inside it.
    """
    declared: dict[str, Any] = getattr(function, "__hpcflow__", {})
    name = getattr(function, "__qualname__", "")
    module = getattr(function, "__module__", "") or ""
    if "<" in name or "." in name or not name:
        raise UserError(
            f"{module}.{name or function!r} cannot be imported by name on a node: give hpcflow a function that is "
            "defined at the top of a module, not a lambda, a method or a function inside another"
        )
    version = declared.get("version")
    sources: dict[str, str] = {}
    source = _source(function)
    if version is None:
        if source is None:
            raise UserError(
                f"{module}.{name}: its source text cannot be found, so its version is unknown. "
                "Put it into a file, or declare one with @hpcflow.task(version=...)"
            )
        version = SOURCE + digest_bytes(source.encode())
    if module == "__main__":
        if source is None:
            raise UserError(f"{name}: its source text cannot be found; put the function into a file")
        text = (
            "from __future__ import annotations\n\nimport hpcflow\nimport hpcflow as hf\nfrom hpcflow import task\n\n"
        )
        module = f"{CELL}{digest_bytes(source.encode())[:16]}"
        sources[module] = text + source
    described = {
        "kind": "python",
        "module": module,
        "name": name,
        "version": version,
        "keep": list(declared.get("keep", [])),
        "checkpoint": bool(declared.get("checkpoint", False)),
        "batch": bool(declared.get("batch", False)),
        "spread": False,
        "short": name,
    }
    return described, sources


def check_call(key: str, function: Callable[..., Any], inputs: int, parameters: Iterable[str]) -> None:
    """See, before thousands of tasks do, that a function can be called with so many inputs and these parameters.

    Raises
    ------
    UserError
        Naming the parameter that it does not have, or does not get.
    """
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # written in C: its tasks will say it
        return
    name = f"{key}: {function.__module__}.{function.__name__}"
    taken = signature.parameters.values()
    known = [p.name for p in taken if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    given = dict.fromkeys(parameters)
    for parameter in given:
        if parameter not in known and all(p.kind != p.VAR_KEYWORD for p in taken):
            raise UserError(f"{name} has no parameter {parameter!r}.{nearest(parameter, known[inputs:])}")
    try:
        signature.bind(*[None] * inputs, **given)
    except TypeError as error:
        raise UserError(f"{name} cannot be called like this: {error}") from None


def _source(function: Callable[..., Any]) -> str | None:
    try:
        return textwrap.dedent(inspect.getsource(function))
    except (OSError, TypeError):
        return None


def identity_of(described: dict[str, Any]) -> dict[str, Any]:
    """What of the ``function`` entry of array.json decides what is computed."""
    known = {k: v for k, v in described.items() if k not in ("short", "checkpoint", "batch")}
    if str(known.get("module", "")).startswith(CELL) and not known["version"].startswith(SOURCE):
        known["module"] = "__main__"  # its module is named by its text, but it has declared a version of its own
    return known


def describe_command(command: str) -> tuple[dict[str, Any], dict[str, str]]:
    """The ``function`` entry of array.json for a shell command."""
    word = command.split(maxsplit=1)[0] if command.strip() else ""
    if not word:
        raise UserError("the command to run is empty")
    described = {"kind": "command", "command": command, "keep": [], "checkpoint": False, "short": Path(word).name}
    return described, {}


def check_command(command: str, items: list[Any] | None) -> None:
    """See that every row has the fields that a command names, before anything is submitted.

    Parameters
    ----------
    command
        With ``{field}`` for fields of a row.
    items
        The inputs, or None for frames, which have no fields but their number.

    Raises
    ------
    UserError
        Naming the field and the first row without it.
    """
    from hpcflow.worker.commands import fields

    wanted = set(fields(command)) - {"index"}
    for number, item in enumerate([None] if items is None else items):
        known = set(item) - {"$path", "digest"} if isinstance(item, dict) else set()
        if isinstance(item, dict) and "$path" in item:
            known.add("path")
        missing = sorted(wanted - known)
        if missing:
            where = f"input {number} has no such field"
            if items is None:
                where = "a frame has no fields; it is in input.xyz"
            raise UserError(
                f"the command names {{{missing[0]}}}, but {where}.{nearest(missing[0], known | {'index'})} "
                f"Write {{{{{missing[0]}}}}} for literal braces: {command}"
            )
