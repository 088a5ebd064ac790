"""Sites for ticks: read from a cache as long as no file they come from has changed.

A tick with nothing to do shall not load a YAML library. What was read is kept as JSON in the
user's cache directory; losing it, or not being able to write it, costs a few milliseconds.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from hpcflow.sites.schema import Site
from hpcflow.sites.shipped import shipped, user

_FORMAT = "2"  # raise it when the schema changes its meaning


def cached_site(name: str, campaign: Path | None = None) -> Site:
    """Return what ``load_site`` returns, without reading YAML if nothing has changed since."""
    fingerprint = _fingerprint(name, campaign)
    path = _cache() / f"{hashlib.blake2b(f'{name} {campaign}'.encode(), digest_size=12).hexdigest()}.json"
    try:
        content = path.read_bytes()
        if content.startswith(fingerprint):
            return msgspec.json.decode(content[len(fingerprint) :], type=Site)
    except (OSError, msgspec.MsgspecError):
        pass  # not there, or of another version: the files themselves decide
    from hpcflow.sites.layers import load_site

    site = load_site(name, campaign)
    try:
        _write(path, fingerprint + msgspec.json.encode(site))
    except OSError:
        pass  # a cache that cannot be written is no cache
    return site


def _cache() -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(home) / "hpcflow" / "sites"


def _fingerprint(name: str, campaign: Path | None) -> bytes:
    digest = hashlib.blake2b(_FORMAT.encode(), digest_size=12)
    for path in _files(name, campaign):
        try:
            status = path.stat()
            mark = f"{status.st_dev} {status.st_ino} {status.st_size} {status.st_mtime_ns}"
        except OSError:
            mark = "none"
        digest.update(f"{path}\0{mark}\0".encode(errors="surrogateescape"))
    digest.update(repr(os.environ.get("HPCFLOW_ACCOUNT")).encode(errors="surrogateescape"))
    return digest.hexdigest().encode()


def _files(name: str, campaign: Path | None) -> Iterator[Path]:
    yield from (Path(__file__).with_name(module) for module in ("schema.py", "layers.py", "shape.py"))
    yield from (directory / f"{name}.yaml" for directory in (shipped("sites"), user("sites")))
    if campaign is not None:
        yield campaign / "sites" / f"{name}.yaml"
        yield campaign / "hpcflow.yaml"


def _write(path: Path, content: bytes) -> None:
    import tempfile  # only when something is new

    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
    os.replace(temporary, path)
