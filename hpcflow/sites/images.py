"""Container images as files and directories: what is known of them without running anything."""

from __future__ import annotations

import os
import struct
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

from hpcflow.database.files import digest_file, write_whole

if TYPE_CHECKING:
    from hpcflow.sites.schema import Container, Runtime, Site

IMAGE_FILES = ("apptainer", "singularity", "charliecloud")
"""Engines whose images are files or directories, unless they are named by a URL. Of an EDF, which names the image and
what to show in it, the file itself is looked at."""

_SIF = struct.Struct("<32s10s3s3s16s8q")
"""The head of an image of Apptainer: launcher, magic, version, architecture, id; then times, numbers of
descriptors, and where descriptors and data begin and how long they are (its file format, version 01)."""
_MAGIC = b"SIF_MAGIC\0"
_SIF_ARCHITECTURES = {b"02": "x86_64", b"04": "aarch64", b"06": "ppc64le", b"12": "riscv64"}
_ELF_ARCHITECTURES = {62: "x86_64", 183: "aarch64", 21: "ppc64le", 243: "riscv64"}
_MOST_LINKS = 40


class Known(NamedTuple):
    """An image that a job will use, as the submitting side knows it."""

    digest: str
    stamp: str
    """Size and time of change, as ``stat -Lc '%s %Y'`` prints them: as long as they hold, so does the digest."""


class _Head(NamedTuple):
    architecture: bytes
    end: int
    """Bytes of the file, if it is whole."""


def local_path(runtime: Runtime, container: Container, campaign: str | None = None) -> Path | None:
    """Return where the image of a class lies, or None if only the node or a registry can tell."""
    image = os.path.expanduser(os.path.expandvars(container.image))
    is_file = runtime.engine in IMAGE_FILES or (runtime.engine == "edf" and image.endswith(".toml"))
    if not is_file or "$" in image or ":/" in image:
        return None
    return Path(campaign or "", image)  # jobs start in the campaign


def known_of(site: Site, class_name: str, campaign: str) -> Known | None:
    """Return what is known of the image of a class; None if it has none, or none that can be looked at from here."""
    container, runtime = site.task_class(class_name).container, site.container
    image = local_path(runtime, container, campaign) if container and runtime else None
    return known(image) if image else None


def architecture(image: Path) -> str | None:
    """Return the processor an image was made for, in the words of ``uname -m``; None if it does not say."""
    if image.is_dir():
        return _of_program(image, "/bin/sh")
    with open(image, "rb") as stream:
        head = _head(stream)
    return _SIF_ARCHITECTURES.get(head.architecture) if head else None


def missing_bytes(image: Path) -> int:
    """Return how many bytes an image file lacks, after a copy that was cut short for example."""
    if image.is_dir():
        return 0
    with open(image, "rb") as stream:
        head = _head(stream)
        return max(0, head.end - os.fstat(stream.fileno()).st_size) if head else 0


def _head(stream: BinaryIO) -> _Head | None:
    data = stream.read(_SIF.size)
    if len(data) < _SIF.size:
        return None
    _, magic, _, arch, _, *numbers = _SIF.unpack(data)
    return _Head(arch.rstrip(b"\0"), numbers[6] + numbers[7]) if magic == _MAGIC else None


def _of_program(root: Path, program: str) -> str | None:
    """Return the architecture of a program inside a directory image, whose links start at its own root."""
    parts, found = [p for p in program.split("/") if p], root
    for _ in range(_MOST_LINKS):
        if not parts:
            break
        here = found / parts.pop(0)
        if here.is_symlink():
            target = os.readlink(here)
            found = root if target.startswith("/") else found
            parts = [p for p in target.split("/") if p not in ("", ".")] + parts
        elif here.name == "..":
            found = root if found == root else found.parent
        else:
            found = here
    try:
        with open(found, "rb") as stream:
            head = stream.read(20)
    except OSError:
        return None
    if head[:4] != b"\x7fELF" or len(head) < 20:
        return None
    order = "<" if head[5] == 1 else ">"
    return _ELF_ARCHITECTURES.get(struct.unpack_from(f"{order}H", head, 18)[0])


def known(image: Path) -> Known | None:
    """Return digest and stamp of an image; None if it cannot be read.

    A file's digest is kept in the user's cache for as long as the file does not change: it takes a second for
    every gigabyte. That of a directory is made of the names, kinds, sizes and link targets in it.
    """
    try:
        status = image.stat()
        stamp = f"{status.st_size} {int(status.st_mtime)}"
        if image.is_dir():
            return Known(_listing_digest(image), stamp)
        mark = f"{status.st_dev} {status.st_ino} {status.st_size} {status.st_mtime_ns}"
        note = _note(image)
        try:
            before, _, digest = note.read_text("utf-8").rpartition(" ")
        except (OSError, ValueError):
            before, digest = "", ""  # not there, or not ours: the image itself decides
        if before != mark:
            digest = digest_file(image)
            _remember(note, f"{mark} {digest}")
    except OSError:
        return None
    return Known(digest, stamp)


def _listing_digest(root: Path) -> str:
    digest = blake2b(digest_size=16)
    for directory, names, files in os.walk(root):
        names.sort()
        for name in sorted([*names, *files]):
            path = os.path.join(directory, name)
            status = os.lstat(path)
            target = os.readlink(path) if os.path.islink(path) else ""
            size = 0 if os.path.isdir(path) else status.st_size
            line = f"{os.path.relpath(path, root)}\0{status.st_mode & 0o170111:o}\0{size}\0{target}\n"
            digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _note(image: Path) -> Path:
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    name = blake2b(os.fsencode(image.resolve()), digest_size=12).hexdigest()
    return Path(home) / "hpcflow" / "images" / name


def _remember(note: Path, text: str) -> None:
    try:
        note.parent.mkdir(parents=True, exist_ok=True)
        write_whole(note, text.encode(), durable=False)
    except OSError:
        pass  # a cache that cannot be written is no cache
