"""Write docs/reference/cli.md from the commands themselves: ``python docs/cli_reference.py``."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from pathlib import Path

import click

from hpcflow.cli.main import cli

PAGE = Path(__file__).parent / "reference" / "cli.md"

HEAD = """\
# Commands

This page is generated from the commands' own `--help`. What the exit codes mean is on
[a page of its own](exit-codes.md). Every command works on the campaign of the current
directory, or of one above it, unless `-C` names another.

To have the Tab key complete commands, options, sites and arrays, add one line to your `~/.bashrc` (or
`zsh_source` and `fish_source` to the files of these shells):

```bash
eval "$(_HPCFLOW_COMPLETE=bash_source hpcflow)"
```
"""


def page() -> str:
    """Return the text of the page."""
    return "\n".join([HEAD, *sections(click.Context(cli, info_name="hpcflow"))])


def sections(context: click.Context) -> Iterator[str]:
    """Yield one section for each command of a group, and of the groups in it."""
    group = context.command
    assert isinstance(group, click.Group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None, name
        if command.hidden:
            continue
        inner = click.Context(command, info_name=name, parent=context)
        if isinstance(command, click.Group):
            yield from sections(inner)
        else:
            yield section(inner)


def section(context: click.Context) -> str:
    """Return the section of one command: what it does, how it is called, its options."""
    command = context.command
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    rows = [
        f"| `{cell(record[0])}` | {cell(record[1])} |"
        for parameter in command.get_params(context)
        if (record := parameter.get_help_record(context)) and record[1] and "--help" not in parameter.opts
    ]
    table = "\n".join(["| option | |", "|---|---|", *rows, ""]) if rows else ""
    return "\n".join(
        part for part in (f"## {context.command_path}\n", block(usage), prose(command.help or ""), table) if part
    )


def prose(text: str) -> str:
    """Return help as Markdown; a paragraph that begins with ``Example:`` becomes a block of code."""
    paragraphs = []
    for paragraph in inspect.cleandoc(text).split("\n\n"):
        label, _, command = paragraph.partition("Example: ")
        paragraphs.append(block(command, "bash") if not label and command else paragraph + "\n")
    return "\n".join(paragraphs)


def block(text: str, language: str = "text") -> str:
    """Return a block of code."""
    return f"```{language}\n{text}\n```\n"


def cell(text: str) -> str:
    """Return text that does not end a cell of a table."""
    return text.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
