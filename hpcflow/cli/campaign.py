"""What most commands share: the campaign they are about, and one tick with its news."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from hpcflow.database.database import Database, find_campaign
from hpcflow.database.state import ArrayState
from hpcflow.engine.engine import Engine, look, open_engine
from hpcflow.engine.tick import tick
from hpcflow.errors import UserError, nearest

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


def campaign_option(function: F) -> F:
    """``-C DIR``: the campaign, if it is not the current directory."""
    decorate = click.option(
        "-C",
        "--campaign",
        "directory",
        type=click.Path(path_type=Path, file_okay=False),
        help="The campaign directory (default: here or above).",
    )
    return decorate(function)


def open_database(directory: Path | None) -> Database:
    """The database of a campaign that has been submitted."""
    if directory is not None and not directory.is_dir():
        raise UserError(f"{directory}: no such directory")
    database = Database(find_campaign(directory))
    database.identity()
    return database


def one_tick(database: Database, *, patience: float = 0.0, before: Callable[[Engine], None] | None = None) -> Engine:
    """Take the lock, do what ``before`` says, tick, and return the engine for what it has to say."""
    with open_engine(database, patience) as engine:
        _must_be_submitted(engine)
        if before is not None:
            before(engine)
        tick(engine)
    return engine


def _must_be_submitted(engine: Engine) -> None:
    if not engine.state.campaign.site:
        raise UserError(f"{engine.campaign}: the first submission was stopped before it began. Type: hpcflow submit")


def tell(engine: Engine) -> None:
    """Print the news of a tick."""
    for line in engine.news:
        click.echo(line)


def tell_and_show(engine: Engine) -> None:
    """Print the news of a tick, and where the campaign stands; nothing twice."""
    from hpcflow.cli.table import show
    from hpcflow.engine.summary import summarize

    summary = summarize(engine)
    for line in engine.news:
        if line not in summary["conditions"] and line not in summary["attention"].values():
            click.echo(line)
    show(summary)


def view(database: Database) -> Engine:
    """The campaign as it is now, with what workers appended since the last tick; takes no lock."""
    return look_at(database, lambda engine: engine)


def look_at(database: Database, ask: Callable[[Engine], T]) -> T:
    """Ask something of the campaign as it is now, once more if files went away meanwhile."""
    from hpcflow.engine.collect import collect

    missing = ""
    for _ in range(20):
        try:
            engine = look(database)
            collect(engine)
            _must_be_submitted(engine)
            return ask(engine)
        except FileNotFoundError as error:  # a tick finished an array, or began an epoch, while we read
            missing = str(error.filename)
            time.sleep(0.05)
    raise UserError(f"{missing}: is missing. Was a part of the database deleted, or is it being restored?")


def pick_array(engine: Engine, name: str | None) -> ArrayState:
    """The array that a user means by its number, its key or the end of its key; by default the newest.

    Raises
    ------
    UserError
        If there is none, or several fit.
    """
    arrays = list(engine.state.campaign.arrays.values())
    current = [a for a in arrays if a.current]
    if not current:
        raise UserError("this campaign has no arrays yet; type: hpcflow submit")
    if name is None:
        return next((a for a in reversed(current) if not a.call), current[-1])
    if name.isdigit() and int(name) in engine.state.campaign.arrays:
        return engine.state.campaign.arrays[int(name)]
    for fits in (
        [a for a in current if a.key == name or a.directory == name],
        [a for a in current if a.key.endswith("/" + name)],
    ):
        if fits:
            return fits[-1]
    raise UserError(f"there is no array {name!r}.{nearest(name, [a.key for a in current])}")


def pick_tasks(engine: Engine, text: str) -> tuple[ArrayState, list[int]]:
    """The tasks that ``label/17``, ``label/3-9,12`` or ``label`` (all) mean.

    Raises
    ------
    UserError
        If there is no such array or task.
    """
    name, _, tail = text.rpartition("/")
    if not name or re.fullmatch(r"[0-9,-]+", tail) is None:
        array = pick_array(engine, text)
        return array, list(range(array.count))
    array = pick_array(engine, name)
    tasks: set[int] = set()
    for part in tail.split(","):
        span = re.fullmatch(r"([0-9]+)(?:-([0-9]+))?", part)
        first, last = (int(span[1]), int(span[2] or span[1])) if span else (1, 0)
        if last < first:
            raise UserError(f"{text}: expected task numbers like 17 or 3-9,12")
        if last >= array.count:
            raise UserError(f"{text}: {array.key} has tasks 0 to {array.count - 1}")
        tasks.update(range(first, last + 1))
    return array, sorted(tasks)
