"""Write docs/reference/site-file.md from the schema of site files: ``python docs/site_reference.py``."""

from __future__ import annotations

import ast
import inspect
import os
import typing
from pathlib import Path
from typing import Any
from unittest.mock import patch

import msgspec

from hpcflow.sites import containers, options, schema
from hpcflow.sites.layers import site_document
from hpcflow.sites.quantities import duration_text
from hpcflow.sites.shipped import shipped
from hpcflow.sites.values import convert, expected

PAGE = Path(__file__).parent / "reference" / "site-file.md"

HEAD = """\
# Keys of a site file

This page is generated from the schema. [Write a site file](../how-to/site-file.md) says how to begin. A key that is
missing has the value in the third column. The last column names shipped sites that need the key;
`hpcflow sites show NAME` shows how.
"""

SECTIONS = (
    ("The file", schema.Site),
    ("`scheduler`", schema.Scheduler),
    ("`limits`, and `limits` of a queue", schema.Limits),
    ("`nodes.NAME`", schema.Node),
    ("`queues.NAME`", schema.Queue),
    ("`environment`, and `environment` of a class", schema.Environment),
    ("`container`", schema.Runtime),
    ("`classes.NAME`", schema.TaskClass),
    ("`classes.NAME.container`", schema.Container),
)


LAUNCHER = """\
A launcher stands in front of external programs of a task, which find it in `HPCFLOW_LAUNCH`. It may contain `{ranks}`
and `{ranks_per_node}` (MPI processes), `{threads}` (of each), `{cores}`, `{gpus}`, `{memory}` (MiB), `{nodes}`,
`{cpu_list}` (the cores of the slot: `0-7,9`) and `{container}` (where the container's command line goes, if not at the
end).
"""


def page() -> str:
    """Return the text of the page."""
    needed = _needed()
    parts = [HEAD]
    for title, struct in SECTIONS:
        about = (inspect.getdoc(struct) or "").split("\n\n")[0].replace("``", "`")
        parts += [f"## {title}\n", f"{about.replace('; None:', '; left out:')}\n", table(struct, needed)]
    parts += [
        "## Launchers\n",
        LAUNCHER,
        "## Options of jobs\n",
        _prose(options),
        "## Container command lines\n",
        _prose(containers),
    ]
    return "\n".join(parts)


def table(struct: type[msgspec.Struct], needed: dict[str, list[str]]) -> str:
    """Return the keys of one mapping."""
    explained = _explanations(struct)
    hints = typing.get_type_hints(struct, include_extras=True)
    rows = ["| key | value | default | | for example in |", "|---|---|---|---|---|"]
    for field in msgspec.structs.fields(struct):
        if field.name.startswith("_") or (struct is schema.Site and field.name == "name"):
            continue
        sites = ", ".join(needed.get(f"{struct.__name__}.{field.name}", [])[:3])
        kind = expected(hints[field.name]).split(" like ")[0].replace("keys and values (key: value)", "keys")
        cells = [f"`{field.encode_name}`", kind, _default(field), explained[field.name], sites]
        rows.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join([*rows, ""])


def _explanations(struct: type[msgspec.Struct]) -> dict[str, str]:
    """Return the string that stands below each field in the source."""
    body = typing.cast(ast.ClassDef, ast.parse(inspect.getsource(struct)).body[0]).body
    found = {}
    for line, after in zip(body, [*body[1:], None], strict=True):
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
            text = after.value.value if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) else ""
            found[line.target.id] = " ".join(str(text).replace("``", "`").split())
    return found


def _default(field: msgspec.structs.FieldInfo) -> str:
    if field.required:
        return "required"
    if field.default is msgspec.NODEFAULT or field.default is None or field.default == "":
        return ""
    if isinstance(field.default, msgspec.Struct):
        return ""
    if isinstance(field.default, bool):
        return "yes" if field.default else "no"
    return duration_text(field.default) if isinstance(field.default, float) else str(field.default)


def _needed() -> dict[str, list[str]]:
    """Return for each key the shipped sites that give it a value of their own, special ones first."""
    names = sorted(path.stem for path in shipped("sites").glob("*.yaml"))
    found: dict[str, list[str]] = {}
    # Only what is shipped: nothing of whoever runs this.
    with patch.dict(os.environ, {"XDG_CONFIG_HOME": os.devnull, "HPCFLOW_ACCOUNT": ""}):
        for name in [n for n in names if "-generic" not in n and n != "local"]:
            for key in sorted(used(convert(site_document(name), schema.Site))):
                found.setdefault(key, []).append(name)
    return found


def used(value: Any) -> set[str]:
    """Return the names of all fields in a struct, at any depth, that differ from their defaults."""
    found: set[str] = set()
    if isinstance(value, msgspec.Struct):
        for field in msgspec.structs.fields(value):
            own = getattr(value, field.name)
            default = field.default
            if default is msgspec.NODEFAULT:
                default = None if field.required else field.default_factory()
            if not field.name.startswith("_") and own != default:
                found |= {f"{type(value).__name__}.{field.name}"} | used(own)
    elif isinstance(value, dict):
        found = found.union(*map(used, value.values()))
    return found


def _prose(module: Any) -> str:
    """Return the explanation of a module; its table becomes one of Markdown."""
    lines, in_table = [], False
    for line in inspect.cleandoc(module.__doc__ or "").splitlines():
        if line.startswith("==="):
            if not in_table and "|---|---|" not in lines:
                lines += ["| word | |", "|---|---|"]
                in_table = True
            else:
                in_table = False
            continue
        if in_table:
            name, _, meaning = line.partition("  ")
            line = f"| {name.strip()} | {meaning.strip()} |"
        lines.append(line)
    return "\n".join(lines).replace("``", "`") + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
