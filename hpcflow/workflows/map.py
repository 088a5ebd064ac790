"""``workflow: map``: one function or shell command over many inputs."""

from __future__ import annotations

from typing import Any

import hpcflow as hf
from hpcflow.errors import UserError


def map_workflow(
    run: hf.Run,
    command: str | None = None,
    function: str | None = None,
    rows: str | None = None,
    files: str | None = None,
    frames: hf.Structures | None = None,
    items: list[Any] | None = None,
    task_class: str = "default",
    name: str = "map",
    keep: list[str] | None = None,
    checkpoint: bool = False,
    arguments: dict[str, Any] = {},  # noqa: B006 read only
) -> None:
    """Run a shell command or a Python function on every row, file, frame or item.

    Parameters
    ----------
    command
        Shell command; ``{field}`` is a field of the row, ``{path}`` a file, ``{index}`` the task's number. A frame is
        in ``input.xyz``.
    function
        ``file.py:function`` or ``module:function``; gets the row, path, frame or item.
    rows
        CSV, TSV or JSON-lines file.
    files
        Path or glob pattern.
    frames
        Extended XYZ file or files.
    items
        A list in hpcflow.yaml itself.
    task_class, name
        How the site runs it, and what the step is called.
    keep
        Names or patterns of files to keep from each task.
    checkpoint
        Give each attempt a working directory that starts as a copy of the one before.
    arguments
        Further arguments of the function.
    """
    if (command is None) == (function is None):
        raise UserError("workflow map: give either a command or a function")
    if command is not None and arguments:
        key = next(iter(arguments))
        raise UserError(
            f"workflow map: arguments are those of a function, and a command does not get them ({key!r}). It gets the "
            "fields of the rows that it names; write what is the same for all into the command itself"
        )
    given = [n for n, v in (("rows", rows), ("files", files), ("frames", frames), ("items", items)) if v is not None]
    if len(given) != 1:
        got = " and ".join(given) or "none of them"
        raise UserError(f"workflow map: give one of rows, files, frames or items; got {got}")
    inputs: Any
    if rows is not None:
        inputs = hf.rows(rows)
    elif files is not None:
        inputs = hf.files(files)
    elif frames is not None:
        inputs = hf.frames(frames)
    else:
        inputs = items
    if function is not None:
        from hpcflow.loading import load_function

        loaded = load_function(function, run.campaign, "parameters.function")
        run.map(
            loaded,
            inputs,
            name=name,
            task_class=task_class,
            keep=keep,
            checkpoint=checkpoint or None,
            parameters=arguments,
        )
    else:
        run.map(command or "", inputs, name=name, task_class=task_class, keep=keep, checkpoint=checkpoint)
