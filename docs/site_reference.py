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
missing has the value in the third column. The last column names shipped sites that need the key, or says why there is
one that none of them needs; `hpcflow sites show NAME` shows how.
"""

NOT_SHIPPED = {
    "Site.account": "the user's",
    "Site.until": "for the year in which a machine is switched off",
    "Scheduler.submit_from_nodes": "no site says in writing that its nodes may submit",
    "Runtime.command": "the user's: where an option of the job brings the image in, or a department has a wrapper",
    "Container.image": "the user's",
    "Container.wraps": "the user's",
    "Container.binds": "the user's",
    "TaskClass.account": "the user's",
    "TaskClass.container": "the user's",
    "TaskClass.nodes": "large calculations, and queues with `min_nodes`: prod of polaris and aurora",
    "TaskClass.span": "large calculations",
    "TaskClass.task_walltime": "depends on what is calculated",
    "TaskClass.margin": "depends on what is calculated",
    "TaskClass.grace": "depends on what is calculated",
    "TaskClass.workers": "the user's",
    "TaskClass.retries": "depends on what is calculated",
    "TaskClass.ladder": "depends on what is calculated",
    "TaskClass.python": "the user's: where it is installed",
}
"""Keys that no shipped site needs, and why there are such."""

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
        "Which options shipped sites give, change or take away, beyond what is usual for their scheduler:\n",
        option_table(),
        "## Container command lines\n",
        _prose(containers),
    ]
    return "\n".join(parts)


def table(struct: type[msgspec.Struct], needed: dict[str, list[str]]) -> str:
    """Return the keys of one mapping."""
    explained = _explanations(struct)
    hints = typing.get_type_hints(struct, include_extras=True)
    rows = ["| key | value | default | | needed by |", "|---|---|---|---|---|"]
    for field in msgspec.structs.fields(struct):
        if field.name.startswith("_") or (struct is schema.Site and field.name == "name"):
            continue
        name = f"{struct.__name__}.{field.name}"
        sites = _listed(needed.get(name, [])) or NOT_SHIPPED.get(name, "")
        kind = expected(hints[field.name]).split(" like ")[0].replace("keys and values (key: value)", "keys")
        cells = [f"`{field.encode_name}`", kind, _default(field), explained[field.name], sites]
        rows.append(f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in cells)} |")
    return "\n".join([*rows, ""])


def option_table() -> str:
    """Return the options of batch scripts that shipped sites need."""
    found: dict[tuple[str, str], dict[str, None]] = {}
    for name, site in _shipped_sites().items():
        layers = [site, *site.queues.values(), *site.classes.values()]
        for option in [option for layer in layers for option in layer.options]:
            found.setdefault((site.scheduler.kind, option), {})[name] = None
    rows = [f"| {kind} | `{option}` | {', '.join(found[kind, option])} |" for kind, option in sorted(found)]
    return "\n".join(["| scheduler | option | needed by |", "|---|---|---|", *rows, ""])


def _listed(sites: list[str]) -> str:
    more = f" and {len(sites) - 4} more" if len(sites) > 4 else ""
    return ", ".join(sites[:4]) + more


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
    """Return for each key the shipped sites that give it a value of their own."""
    found: dict[str, list[str]] = {}
    for name, site in _shipped_sites().items():
        for key in sorted(used(site)):
            found.setdefault(key, []).append(name)
    return found


def _shipped_sites() -> dict[str, schema.Site]:
    """Return what is shipped, with nothing of whoever runs this."""
    names = sorted(path.stem for path in shipped("sites").glob("*.yaml"))
    with patch.dict(os.environ, {"XDG_CONFIG_HOME": os.devnull, "HPCFLOW_ACCOUNT": ""}):
        return {name: convert(site_document(name), schema.Site) for name in names if "-generic" not in name}


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
