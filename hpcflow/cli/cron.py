"""``hpcflow cron``: the crontab or scrontab line that polls a campaign until it is done."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import click

from hpcflow.cli.campaign import campaign_option, open_database
from hpcflow.database.database import Database
from hpcflow.database.files import write_whole
from hpcflow.errors import UserError

LOG_LIMIT = 1 << 20
"""The log of cron is begun anew beyond this size (bytes)."""

_KEPT = (
    *("PATH", "HOME", "PYTHONPATH", "LD_LIBRARY_PATH", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "HPCFLOW_ACCOUNT"),
    *("SLURM_CONF", "PBS_CONF_FILE", "PBS_SERVER", "LSF_ENVDIR", "LSF_SERVERDIR"),
)
"""Variables that cron does not have and a poll may need."""


@click.command()
@campaign_option
@click.option("--install", "action", flag_value="install", help="Add the line to your crontab.")
@click.option("--remove", "action", flag_value="remove", help="Take it out again.")
@click.option("--minutes", type=click.IntRange(1, 59), default=5, show_default=True, help="Between polls.")
@click.option("--scron", is_flag=True, help="Use scrontab, Slurm's own cron, instead of this host's.")
def cron(directory: Path | None, action: str | None, minutes: int, scron: bool) -> None:
    """Print, install or remove the line that runs ``hpcflow poll``; it removes itself when the campaign is done.

    An ordinary crontab belongs to one login node: install it on one only.

    Example: hpcflow cron --install --minutes 10
    """
    database = open_database(directory)
    tool = "scrontab" if scron else "crontab"
    if action is None:
        click.echo("\n".join(cron_lines(database, minutes, tool)))
        return
    before = read_table(tool)
    kept = without(before, database)
    if action == "install":
        write_table(tool, [*kept, *cron_lines(database, minutes, tool)])
        where = "in Slurm's scrontab" if scron else f"in the crontab of {socket.gethostname()}"
        click.echo(f"installed {where}: every {minutes} minutes until the campaign is done")
    elif len(kept) == len(before):
        click.echo("there is no line of this campaign in it")
    else:
        write_table(tool, kept)
        click.echo("removed")


def mark(database: Database) -> str:
    """The comment that says whose line it is."""
    return f"# hpcflow {database.identity()['id']}"


def cron_lines(database: Database, minutes: int, tool: str) -> list[str]:
    """What belongs into the table. It calls a script, because cron cuts lines at 1000 characters.

    Also writes that script: cron starts with an empty environment, so it holds the one of now.
    """
    variables = {name: os.environ[name] for name in _KEPT if os.environ.get(name)}
    variables["HPCFLOW_CRON"] = tool
    lines = ["#!/bin/sh", "# Polls this campaign from cron; written by hpcflow cron."]
    lines += [f"export {name}={shlex.quote(value)}" for name, value in variables.items()]
    log = shlex.quote(str(database.directory / "cron.log"))
    command = f"{shlex.quote(sys.executable)} -m hpcflow poll -C {shlex.quote(str(database.campaign))}"
    lines.append(f"exec {command} >>{log} 2>&1")
    script = database.directory / "cron.sh"
    write_whole(script, ("\n".join(lines) + "\n").encode())
    # In a crontab a percent sign is a newline unless it is escaped.
    line = f"*/{minutes} * * * * /bin/sh {shlex.quote(str(script))} {mark(database)}".replace("%", "\\%")
    return [*_scron_options(database), line] if tool == "scrontab" else [line]


def _scron_options(database: Database) -> list[str]:
    """How Slurm's cron is to run the next line: as a job of class ``default``."""
    from hpcflow.engine.engine import look
    from hpcflow.sites.options import directives, resolve_options

    engine = look(database)
    site = engine.site(engine.state.campaign.site)
    task_class = site.task_class("default")
    options, _ = resolve_options(site, task_class, site.queue_of(task_class), task_class.shape())
    return [line.replace("#SBATCH", "#SCRON", 1) for line in directives(options, "slurm")]


def read_table(tool: str) -> list[str]:
    """The user's table, empty if there is none.

    Raises
    ------
    UserError
        If the tool is missing or refuses.
    """
    if shutil.which(tool) is None:
        other = "" if tool == "scrontab" else " With Slurm, try: hpcflow cron --scron"
        raise UserError(f"{tool}: not found on this machine.{other} Without either: hpcflow submit --chain")
    reply = subprocess.run([tool, "-l"], capture_output=True, text=True, timeout=60, check=False)
    if reply.returncode != 0 and "no crontab" not in reply.stderr.lower():
        raise UserError(f"{tool} -l: {reply.stderr.strip() or f'exit code {reply.returncode}'}")
    return reply.stdout.splitlines() if reply.returncode == 0 else []


def write_table(tool: str, lines: list[str]) -> None:
    """Replace the user's table."""
    text = "".join(line + "\n" for line in lines)
    reply = subprocess.run([tool, "-"], input=text, capture_output=True, text=True, timeout=60, check=False)
    if reply.returncode != 0:
        raise UserError(f"{tool} -: {reply.stderr.strip() or f'exit code {reply.returncode}'}; nothing was changed")


def without(lines: list[str], database: Database) -> list[str]:
    """The table without this campaign's line, and without the options of Slurm's cron that belong to it."""
    kept: list[str] = []
    for line in lines:
        if mark(database) not in line:
            kept.append(line)
            continue
        while kept and kept[-1].startswith("#SCRON"):
            kept.pop()
    return kept


def after_poll(database: Database, done: bool) -> None:
    """What a poll started by cron does at its end: keep the log short, and remove the line of a finished campaign."""
    tool = os.environ.get("HPCFLOW_CRON", "")
    if tool not in ("crontab", "scrontab"):
        return
    log = database.directory / "cron.log"
    if log.exists() and log.stat().st_size > LOG_LIMIT:
        os.replace(log, log.with_suffix(".old.log"))
    if done:
        lines = read_table(tool)
        kept = without(lines, database)
        if len(kept) < len(lines):
            write_table(tool, kept)
            click.echo("the campaign is done: its cron line was removed")
