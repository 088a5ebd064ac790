"""``hpcflow logs``: what jobs printed outside of tasks."""

from __future__ import annotations

from pathlib import Path

import click

from hpcflow.cli.campaign import campaign_option, open_database, pick_array, view
from hpcflow.cli.completion import arrays


@click.command()
@campaign_option
@click.argument("array", required=False, shell_complete=arrays)
@click.option("-n", "lines", default=20, show_default=True, help="Last lines of each log.")
def logs(directory: Path | None, array: str | None, lines: int) -> None:
    """Show the logs of a live array's jobs: environment, modules, and the worker's own words.

    What tasks print is kept with failed tasks only; see hpcflow explain ARRAY/TASK.

    Example: hpcflow logs label -n 50
    """
    engine = view(open_database(directory))
    chosen = pick_array(engine, array)
    found = sorted((engine.path(chosen) / "work" / "log").glob("*"), key=lambda p: p.stat().st_mtime)
    if chosen.done:
        click.echo(f"{chosen.key} is done; logs of jobs are kept only while an array is live")
    elif not found:
        click.echo(f"{chosen.key}: no job has printed anything yet")
    for log in found:
        click.echo(f"==> {log}")
        click.echo("\n".join(log.read_text(errors="replace").splitlines()[-lines:]))
