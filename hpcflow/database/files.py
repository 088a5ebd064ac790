"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
from hashlib import blake2b
from pathlib import Path


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_whole(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Write a file under a temporary name and rename it into place.

    A reader sees the old content or the new one, and a crash or a full disk leaves the old.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as stream:
            stream.write(data)
            stream.flush()
            if durable:
                os.fsync(stream.fileno())
        os.rename(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if durable:
        sync_directory(path.parent)


def create_whole(path: Path, data: bytes) -> None:
    """Make a file that nobody else has made, whole or not at all.

    Raises
    ------
    FileExistsError
        If there is one; it is left alone.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    sync_directory(path.parent)


def digest_bytes(data: bytes) -> str:
    """BLAKE2b-128 of some bytes, in hex: the digest that all of hpcflow uses."""
    return blake2b(data, digest_size=16).hexdigest()


def digest_file(path: Path) -> str:
    """BLAKE2b-128 of a file's content, in hex."""
    digest = blake2b(digest_size=16)
    with open(path, "rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def file_stamp(path: Path | str) -> str:
    """Size and modification time of a file: if they are the same, so is the content."""
    status = os.stat(path)
    return f"{status.st_size}:{status.st_mtime_ns}"
