"""Several files of frames as one, named by content."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterable
from hashlib import blake2b
from pathlib import Path


def write_by_content(data: Path, blocks: Iterable[bytes]) -> tuple[Path, str]:
    """Write ``data/DIGEST.xyz`` from blocks of bytes, unless it is there.

    Returns
    -------
    path, digest
        The file, and the BLAKE2b-128 digest of its content in hex.
    """
    temporary = data / f".{secrets.token_hex(8)}.tmp"
    digest = blake2b(digest_size=16)
    try:
        with open(temporary, "xb") as stream:
            for block in blocks:
                if block and not block.endswith(b"\n"):
                    block += b"\n"
                digest.update(block)
                stream.write(block)
            stream.flush()
            os.fsync(stream.fileno())
        path = data / f"{digest.hexdigest()}.xyz"
        os.rename(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return path, digest.hexdigest()


def joined_digest(files: Iterable[Path]) -> str:
    """The digest that the join of these files would have, without writing it."""
    digest = blake2b(digest_size=16)
    for file in files:
        block = file.read_bytes()
        digest.update(block if not block or block.endswith(b"\n") else block + b"\n")
    return digest.hexdigest()


def joined_file(data: Path, files: Iterable[tuple[Path, str]]) -> tuple[Path, str]:
    """One file with the frames of several, in order; the name of the join is remembered by theirs."""
    files = list(files)
    name = blake2b(" ".join(digest for _, digest in files).encode(), digest_size=16).hexdigest()
    memory = data / f"{name}.joined"
    if memory.exists():
        digest = memory.read_text()
        if (data / f"{digest}.xyz").exists():
            return data / f"{digest}.xyz", digest
    path, digest = write_by_content(data, (file.read_bytes() for file, _ in files))
    memory.write_text(digest)
    return path, digest
