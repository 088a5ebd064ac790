"""``hpcflow report``: one HTML file about the campaign."""

from __future__ import annotations

from pathlib import Path

import click

from hpcflow.cli.campaign import campaign_option, open_database, view


@click.command()
@campaign_option
@click.option(
    "-o", "output", type=click.Path(path_type=Path, dir_okay=False), help="Default: report.html of the campaign."
)
def report(directory: Path | None, output: Path | None) -> None:
    """Write the report: learning curve, parity plots, deviations, walkers, cost. One file, no server.

    Example: hpcflow report -o water.html
    """
    from hpcflow.report import write_report

    click.echo(write_report(view(open_database(directory)), output))
