"""``hpcflow containers``: definition files, and images made of them or fetched."""

from __future__ import annotations

import sys
from pathlib import Path

import click

_output = click.option(
    "-o",
    "--output",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Where to (default: a file of that name in the current directory).",
)
_engine = click.option("--engine", metavar="PROGRAM", help="apptainer or singularity (default: the one there is).")
_force = click.option("--force", is_flag=True, help="Replace an image that is there.")


@click.group()
def containers() -> None:
    """Container images: what can be made, make one, fetch one.

    Example: hpcflow containers build cp2k
    """


@containers.command("list")
def list_() -> None:
    """List the definitions that come with hpcflow.

    Each is a plain file: copy it to add packages, and build the copy by its path.

    Example: hpcflow containers list
    """
    from hpcflow.containers import definitions

    known = definitions()
    width = max(map(len, known))
    for name, found in known.items():
        click.echo(f"{name:{width}}  {found.about}")
    click.echo(f"The files are in {next(iter(known.values())).path.parent}")


@containers.command()
@click.argument("name")
@click.argument("options", nargs=-1)
@_output
@click.option(
    "--from",
    "base",
    metavar="IMAGE",
    help="Start from this image, a file or an address, instead of what the definition names.",
)
@_engine
@_force
def build(
    name: str, options: tuple[str, ...], output: Path | None, base: str | None, engine: str | None, force: bool
) -> None:
    """Make an image of a definition: one of the list, or a file NAME.def of yours.

    The image appears when it is whole. Words after -- are passed on as options of the program that builds.

    Example: hpcflow containers build cp2k --output $SCRATCH/cp2k.sif
    """
    from hpcflow.containers import build as make
    from hpcflow.containers import definition, find_engine

    found = definition(name)
    image = output or Path(f"{found.name}.sif")
    make(found, image, find_engine(engine), _pass_on, base, options, force)
    _tell(image)


@containers.command()
@click.argument("address")
@_output
@_engine
@_force
def pull(address: str, output: Path | None, engine: str | None, force: bool) -> None:
    """Fetch an image from a registry.

    Example: hpcflow containers pull docker://cp2k/cp2k:2025.1
    """
    from hpcflow.containers import find_engine
    from hpcflow.containers import pull as fetch

    _tell(fetch(address, output, find_engine(engine), _pass_on, force))


def _pass_on(block: bytes) -> None:
    sys.stderr.buffer.write(block)
    sys.stderr.buffer.flush()


def _tell(image: Path) -> None:
    from hpcflow.sites.images import architecture, known

    found = known(image)
    facts = [f"{image.stat().st_size / 1e6:.0f} MB", architecture(image), f"digest {found.digest}" if found else None]
    click.echo(f"{image.absolute()}: {', '.join(fact for fact in facts if fact)}")
