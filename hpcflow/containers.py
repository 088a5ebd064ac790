"""Container images: the definition files there are, and images made of them or fetched.

Definitions are plain files of Apptainer, ``containers/NAME.def``. Whoever wants other packages copies one.
"""

from __future__ import annotations

import os
import re
import secrets
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from hpcflow.errors import UserError, nearest
from hpcflow.sites.shell import literal
from hpcflow.sites.shipped import shipped
from hpcflow.watched import watch

ENGINES = ("apptainer", "singularity")
"""Programs that build and fetch images, the first one there is."""

LAST_WORDS = 12
"""Lines of a program that failed which are worth repeating."""

_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]*://.")
_HEADER = re.compile(r"^(Bootstrap|From)\s*:.*$", re.IGNORECASE | re.MULTILINE)
_NO_ROOM = (
    "There is no room. Images are put together in APPTAINER_TMPDIR (or SINGULARITY_TMPDIR, or /tmp): "
    "set it to a directory on scratch."
)
_NO_NETWORK = (
    "A registry or package index was not reached. Build where there is a network: often the login node, or a "
    "machine of yours, from which the image is copied as any file."
)
_NO_RIGHT = (
    "This machine does not let you build images. Build elsewhere and copy the image, which is one file; or "
    "look up how this site wants it, and add the options it names after --."
)
_NO_SUCH_IMAGE = "The registry has no such image, or not for you: look at name and tag."
_HINTS = {
    "no space left on device|disk quota exceeded|file too large": _NO_ROOM,
    "no such host|dial tcp|i/o timeout|temporary failure|could not resolve|unreachable|certificate": _NO_NETWORK,
    "unauthorized|authentication required|access to the resource is denied|manifest unknown": _NO_SUCH_IMAGE,
    "subuid|user namespace|requires root|must be root|requesting capability": _NO_RIGHT,
}


class Definition(NamedTuple):
    """A definition file."""

    name: str
    path: Path
    about: str
    """Its first line of comment."""


def definitions() -> dict[str, Definition]:
    """Return the shipped definitions by name."""
    paths = sorted(shipped("containers").glob("*.def"))
    return {path.stem: _read(path) for path in paths}


def definition(name: str) -> Definition:
    """Return a shipped definition by its name, or one of the user's by its path.

    Raises
    ------
    UserError
        If there is none, with the nearest name.
    """
    known = definitions()
    if name in known:
        return known[name]
    path = Path(name)
    if path.suffix == ".def" and path.is_file():
        return _read(path)
    what = "file" if path.suffix == ".def" or "/" in name else "definition"
    raise UserError(f"There is no {what} {name!r}.{nearest(path.stem, known)} All of them: hpcflow containers list")


def _read(path: Path) -> Definition:
    comments = (line[1:].strip() for line in path.read_text("utf-8", "replace").splitlines() if line.startswith("#"))
    return Definition(path.stem, path, next(comments, ""))


def how_to_make(image: Path) -> str:
    """Return what to type for an image that is not there."""
    if image.stem in definitions():
        return f"Make it with: hpcflow containers build {image.stem} --output {literal(str(image))}"
    return "What can be made: hpcflow containers list"


def find_engine(wanted: str | None = None) -> str:
    """Return the path of the program that makes images.

    Raises
    ------
    UserError
        If it is not on PATH.
    """
    names = ENGINES if wanted is None else (wanted,)
    for name in names:
        if found := shutil.which(name):
            return found
    raise UserError(
        f"{' and '.join(names)} cannot be found here. Where it comes with a module, load that first (look with: "
        f"module avail {names[0]}). An image can also be made on another machine and copied: it is one file."
    )


def build(
    source: Definition,
    image: Path,
    engine: str,
    echo: Callable[[bytes], None],
    base: str | None = None,
    options: Sequence[str] = (),
    replace: bool = False,
) -> None:
    """Make an image of a definition.

    Parameters
    ----------
    image
        Where to; appears when it is whole.
    engine
        Path of the program that does it.
    echo
        Gets what the program prints, as it comes.
    base
        Start from this image (a file or directory, or a registry's address) and not from what the definition names.
    options
        More options of the program's ``build``.
    replace
        Whether an image that is there may be replaced.

    Raises
    ------
    UserError
        If it did not work, with the last lines of what the program said.
    """
    with tempfile.TemporaryDirectory(prefix="hpcflow-") as directory:
        path = source.path
        if base is not None:
            path = Path(directory, path.name)
            path.write_text(with_base(source.path.read_text("utf-8"), base), "utf-8")
        _make([engine, "build", *options], path, image, echo, replace)


def pull(address: str, image: Path | None, engine: str, echo: Callable[[bytes], None], replace: bool = False) -> Path:
    """Fetch an image from a registry and return where it is.

    Parameters
    ----------
    address
        Such as ``docker://cp2k/cp2k:2025.1``.
    image
        Where to; by default a name made of the address, in the current directory.

    Raises
    ------
    UserError
        If the address is none, or if it did not work.
    """
    if not _ADDRESS.match(address):
        if address in definitions():
            raise UserError(f"{address} is not fetched but made, with: hpcflow containers build {address}")
        raise UserError(f"{address!r} is no address of an image. Did you mean docker://{address}?")
    target = image or Path(re.sub(r"[^\w.-]+", "-", address.rpartition("/")[2]) + ".sif")
    _make([engine, "pull"], address, target, echo, replace)
    return target


def with_base(text: str, base: str) -> str:
    """Return a definition that starts from another image.

    Raises
    ------
    UserError
        If there is no such image.
    """
    if _ADDRESS.match(base):
        kind, _, name = base.partition("://")
    elif os.path.exists(base):
        kind, name = "localimage", os.path.abspath(base)
    else:
        registry = "" if base.endswith(".sif") or base.startswith(("/", ".")) else f" Did you mean docker://{base}?"
        raise UserError(f"There is no image {base}.{registry}")
    new = {"bootstrap": kind, "from": name}
    return _HEADER.sub(lambda match: f"{match[1]}: {new[match[1].lower()]}", text)


def _make(command: list[str], source: Path | str, image: Path, echo: Callable[[bytes], None], replace: bool) -> None:
    """Run ``command TEMPORARY SOURCE`` and give the result its name."""
    if image.exists() and not replace:
        raise UserError(f"{image} is there already. To make it anew, add --force")
    if not image.parent.is_dir():
        raise UserError(f"{image.parent}: no such directory")
    if not os.access(image.parent, os.W_OK):
        raise UserError(f"{image.parent}: you may not write there")
    temporary = image.with_name(f".{image.name}.{secrets.token_hex(4)}.part")
    try:
        code, said = watch([*command, str(temporary), str(source)], echo)
        if code or not temporary.exists():
            raise UserError(_failure(command, source, code, said))
        os.rename(temporary, image)
    except OSError as error:
        raise UserError(f"{image}: {error.strerror}") from None
    finally:
        temporary.unlink(missing_ok=True)


def _failure(command: list[str], source: Path | str, code: int, said: list[str]) -> str:
    what = source if isinstance(source, str) else source.name
    how = f"was ended by signal {-code}" if code < 0 else f"ended with exit code {code}"
    lines = [f"{what}: {os.path.basename(command[0])} {command[1]} {how}. Its last lines:"]
    lines += [f"  {line}" for line in said[-LAST_WORDS:]] or ["  (it said nothing)"]
    tail = "\n".join(said[-LAST_WORDS:])
    lines += [hint for pattern, hint in _HINTS.items() if re.search(pattern, tail, re.IGNORECASE)][:1]
    return "\n".join(lines)
