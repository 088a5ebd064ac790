"""Write docs/reference/workflows.md from the built-in workflows: ``python docs/workflow_reference.py``."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

from hpcflow.configuration import BUILT_IN

PAGE = Path(__file__).parent / "reference" / "workflows.md"

HEAD = """\
# Built-in workflows

This page is generated from the workflows' own documentation. Each section is a value of `workflow` in
[hpcflow.yaml](hpcflow-yaml.md), and the table has its `parameters`, with their defaults.
A workflow of your own is written [in Python](python.md) and has the parameters that you give it.
"""


def page() -> str:
    """Return the text of the page."""
    return "\n".join([HEAD, *(section(name, load(place)) for name, place in BUILT_IN.items())])


def load(place: str) -> Callable[..., Any]:
    """Return the function that ``module:name`` names."""
    module, _, name = place.partition(":")
    function: Callable[..., Any] = getattr(import_module(module), name)
    return function


def section(name: str, function: Callable[..., Any]) -> str:
    """Return the section of one workflow: what it does, and its parameters."""
    prose, _, documented = inspect.cleandoc(function.__doc__ or "").partition("\nParameters\n----------\n")
    parameters = dict(list(inspect.signature(function).parameters.items())[1:])
    rows = []
    groups = list(described(documented))
    undocumented = set(parameters) - {name for names, _ in groups for name in names}
    for names, text in [*groups, *(([name], "") for name in parameters if name in undocumented)]:
        shown = ", ".join(written(parameters[name]) for name in names)
        rows.append(f"| {shown} | {text} |")
    return "\n".join([f"## {name}\n", prose.strip() + "\n", "| parameter | |\n|---|---|", *rows, ""])


def described(text: str) -> Iterator[tuple[list[str], str]]:
    """Yield the names that stand together in a numpy-style list of parameters, and what is said of them."""
    for match in re.finditer(r"^(?P<names>\w[\w, ]*)\n(?P<text>(?:    .*\n?)+)", text, re.M):
        sentence = " ".join(line.strip() for line in match["text"].splitlines())
        yield match["names"].split(", "), sentence.replace("``", "`").replace("|", "\\|")


def written(parameter: inspect.Parameter) -> str:
    """Return a parameter with its default, as YAML writes it."""
    if parameter.default is inspect.Parameter.empty:
        return f"`{parameter.name}` (required)"
    if parameter.default is None:
        return f"`{parameter.name}`"
    default = str(parameter.default).replace("'", "")
    return f"`{parameter.name}: {default.lower() if isinstance(parameter.default, bool) else default}`"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
