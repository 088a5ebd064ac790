"""``hpcflow results``: the results of an array in input order."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import click

from hpcflow.cli.campaign import campaign_option, open_database, pick_array, view
from hpcflow.cli.completion import arrays
from hpcflow.database.arrays import describe
from hpcflow.database.inputs import read_input
from hpcflow.database.results import Accepted, read_records
from hpcflow.database.state import ArrayState
from hpcflow.engine.engine import Engine
from hpcflow.engine.retry import failed_tasks, succeeded_tasks
from hpcflow.errors import UserError
from hpcflow.plain import dumps
from hpcflow.structures import failed as mark_failed


@click.command()
@campaign_option
@click.argument("array", required=False, shell_complete=arrays)
@click.option("-o", "output", type=click.Path(path_type=Path, dir_okay=False), help="File to write (default: stdout).")
@click.option("--json", "as_json", is_flag=True, help="One JSON line per task instead of frames.")
@click.option("--failed", is_flag=True, help="The failed tasks instead, with their reasons.")
def results(directory: Path | None, array: str | None, output: Path | None, as_json: bool, failed: bool) -> None:
    """Write what the tasks of ARRAY (default: the newest) returned, in input order, finished or not.

    Frames come as extended XYZ with REF_energy (eV), REF_forces (eV/Å), REF_stress (eV/Å³); other
    results as JSON lines.

    Example: hpcflow results -o labelled.xyz
    """
    engine = view(open_database(directory))
    chosen = pick_array(engine, array)
    tasks = failed_tasks(engine, chosen) if failed else succeeded_tasks(engine, chosen)
    records = read_records(engine.path(chosen), chosen, engine.state.status.get(chosen.number), tasks)
    blocks = _blocks(engine, chosen, records, as_json, failed)
    if output is None:
        for block in blocks:
            sys.stdout.buffer.write(block)
        return
    try:
        _write(output, blocks)
    except OSError as error:
        raise UserError(f"{output}: cannot be written ({error.strerror})") from None
    left = f", {chosen.open} are not decided yet" if chosen.open else ""
    click.echo(f"{output}: {len(tasks)} of {chosen.count} tasks of {chosen.key}{left}")


def _write(output: Path, blocks: Iterator[bytes]) -> None:
    """Under a temporary name first: a reader never sees half of it."""
    import os

    temporary = output.with_name(f".{output.name}.tmp")
    try:
        with open(temporary, "wb") as stream:
            for block in blocks:
                stream.write(block)
        os.replace(temporary, output)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _blocks(
    engine: Engine, array: ArrayState, records: Iterator[Accepted], as_json: bool, failed: bool
) -> Iterator[bytes]:
    description = describe(engine.path(array))
    with_frames = description["inputs"]["kind"] == "frames"
    for record in records:
        if failed and with_frames and not as_json:
            frame = read_input(engine.path(array), description["inputs"], engine.campaign, record.task)
            yield mark_failed(frame, str(record.header.get("reason", "")), str(record.header.get("message", "")))
        elif record.frames and not as_json and not failed:
            yield record.frames if record.frames.endswith(b"\n") else record.frames + b"\n"
        else:
            line = {"task": record.task, "state": record.header["state"], "result": record.result}
            if failed:
                line["reason"] = record.header.get("reason")
                line["message"] = record.header.get("message")
            yield dumps(line).encode() + b"\n"
