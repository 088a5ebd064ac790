"""``hpcflow set``: change width or budget while running."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hpcflow.cli.campaign import campaign_option, open_database
from hpcflow.engine.engine import open_engine
from hpcflow.errors import UserError


@click.command("set")
@campaign_option
@click.option("--width", type=click.IntRange(min=1), help="At most this many workers of one array at once.")
@click.option("--budget", type=click.FloatRange(min=0), help="Node-hours that the campaign may spend.")
def set(directory: Path | None, width: int | None, budget: float | None) -> None:
    """Change how much the campaign may use; it counts from the next tick on.

    Example: hpcflow set --width 8 --budget 200
    """
    settings: dict[str, Any] = {k: v for k, v in (("width", width), ("budget", budget)) if v is not None}
    if not settings:
        raise UserError("nothing to set: give --width N, --budget NODE_HOURS or both")
    with open_engine(open_database(directory), patience=5.0) as engine:
        engine.record("set", settings=settings)
        if "budget" in settings and "budget" in engine.state.campaign.attention:
            engine.record("resolved", subject="budget")
    click.echo(", ".join(f"{name} is {value:g}" for name, value in settings.items()))
