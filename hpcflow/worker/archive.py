"""The code archive: one file that holds everything a worker needs but Python and the task's packages."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from hashlib import blake2b
from io import BytesIO
from pathlib import Path

import hpcflow
from hpcflow.database.files import write_whole
from hpcflow.errors import UserError

_MAIN = b"""\
import sys

if sys.version_info < (3, 9):
    sys.exit(
        "hpcflow needs Python 3.9 or newer here; %s is Python %d.%d. Name another in the site file"
        % (sys.executable, sys.version_info[0], sys.version_info[1])
    )
from hpcflow.worker.__main__ import main

sys.exit(main())
"""
_FIXED_TIME = (1980, 1, 1, 0, 0, 0)
_known: dict[tuple[object, ...], str] = {}  # digests by the state of all files, within one process


def build(campaign: Path, code_dir: Path, extra_sources: dict[str, str]) -> str:
    """Write the archive for the code as it is now, unless it is there, and return its digest.

    Equal code gives equal bytes, and an archive is never replaced: arrays name it by its digest.

    Parameters
    ----------
    campaign
        Its top-level modules and packages go into the archive.
    code_dir
        Where archives are kept, as ``DIGEST.pyz``.
    extra_sources
        Text of more modules, by dotted name.

    Raises
    ------
    UserError
        If a module of the campaign hides hpcflow itself.
    """
    paths = dict(_package(Path(hpcflow.__file__).parent, "hpcflow"))
    paths.update(_modules(campaign))
    state = tuple((name, str(path), *_state(path)) for name, path in sorted(paths.items()))
    key = (state, tuple(sorted(extra_sources.items())))
    digest = _known.get(key)
    if digest is not None and (code_dir / f"{digest}.pyz").exists():
        return digest
    contents = {name: path.read_bytes() for name, path in paths.items()}
    for name, text in extra_sources.items():
        contents[name.replace(".", "/") + ".py"] = text.encode()
    contents["__main__.py"] = _MAIN
    digest = _digest(contents)
    target = code_dir / f"{digest}.pyz"
    if not target.exists():
        write_whole(target, _zip(contents))
    _known[key] = digest
    return digest


def _state(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_mtime_ns, status.st_size


def _package(directory: Path, name: str) -> Iterator[tuple[str, Path]]:
    """Yield the name in the archive and the path of every module of a package."""
    for entry in sorted(directory.iterdir()):
        if entry.is_dir() and entry.name.isidentifier() and entry.name != "__pycache__":
            yield from _package(entry, f"{name}/{entry.name}")
        elif entry.suffix == ".py" and entry.is_file():
            yield f"{name}/{entry.name}", entry


def _modules(campaign: Path) -> Iterator[tuple[str, Path]]:
    """Yield the campaign's own modules and packages, as far as a script beside them could import them."""
    own = Path(hpcflow.__file__).parent
    for entry in sorted(campaign.iterdir()):
        if entry.exists() and entry.samefile(own):
            continue  # hpcflow's own source tree, used as a campaign
        if entry.name in ("hpcflow.py", "hpcflow") and (entry.is_file() or (entry / "__init__.py").exists()):
            raise UserError(f"{entry}: a campaign's module cannot be called hpcflow. Rename it.")
        if entry.is_dir() and entry.name.isidentifier() and (entry / "__init__.py").is_file():
            yield from _package(entry, entry.name)
        elif entry.suffix == ".py" and entry.is_file() and entry.name != "__main__.py":
            yield entry.name, entry


def _digest(contents: dict[str, bytes]) -> str:
    digest = blake2b(digest_size=16)
    for name, data in sorted(contents.items()):
        digest.update(b"%s\0%d\0" % (name.encode("utf-8", "surrogateescape"), len(data)))
        digest.update(data)
    return digest.hexdigest()


def _zip(contents: dict[str, bytes]) -> bytes:
    """Return a zip file that depends on nothing but its contents: no times, no compressor's version."""
    stream = BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for name, data in sorted(contents.items()):
            entry = zipfile.ZipInfo(name, _FIXED_TIME)
            entry.external_attr = 0o644 << 16
            archive.writestr(entry, data)
    return stream.getvalue()
