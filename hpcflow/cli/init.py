"""``hpcflow init``: start a campaign from an example."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from hpcflow.errors import UserError, nearest
from hpcflow.sites.shipped import shipped


@click.command()
@click.argument("example", required=False)
@click.argument("directory", required=False, type=click.Path(path_type=Path))
def init(example: str | None, directory: Path | None) -> None:
    """Copy EXAMPLE to DIRECTORY (which must not exist or be empty); without arguments, list examples.

    Example: hpcflow init label my-campaign
    """
    source = shipped("examples")
    known = {p.name: p for p in sorted(source.iterdir()) if (p / "hpcflow.yaml").exists()}
    if example is None:
        for name, path in known.items():
            click.echo(f"{name:12} {_first_comment(path / 'hpcflow.yaml')}")
        return
    if example not in known:
        raise UserError(f"there is no example {example!r}.{nearest(example, known)}")
    target = directory or Path(example)
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise UserError(f"{target}: exists and is not empty; give another directory")
    try:
        shutil.copytree(known[example], target, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    except OSError as error:
        raise UserError(f"{target}: cannot be written ({error.strerror})") from None
    click.echo(
        f"{target}: copied the example {example}. Next: cd {target}, read hpcflow.yaml, then type: hpcflow submit"
    )


def _first_comment(path: Path) -> str:
    line = path.read_text().partition("\n")[0]
    return line.lstrip("# ") if line.startswith("#") else ""
