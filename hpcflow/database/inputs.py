"""Inputs of an array: JSON values or frames, an index of where each stands, and task identities."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import Any, BinaryIO

from hpcflow.structures.index import frames

ENTRY = struct.Struct("<QI16s")
"""Index entry of one task: offset and length in bytes, BLAKE2b-128 of these bytes."""

COPY_LIMIT = 256 << 20
"""Frame files up to this size (bytes) are copied into the database; larger ones are referenced."""

_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, sort_keys=True).encode


def encode_item(item: Any) -> bytes:
    """One input as a line of JSON, always the same bytes for the same value."""
    return _encode(item).encode("utf-8", "surrogatepass") + b"\n"


@dataclass
class Inputs:
    """What an array computes on; exactly one of ``items`` and ``frame_files`` is used.

    ``frame_files`` are extended XYZ files whose frames follow each other.
    """

    items: list[Any] | None = None
    frame_files: list[Path] = field(default_factory=list)
    digest: str = ""
    """Of the content, known before it is read where it comes from a frozen read."""

    @property
    def kind(self) -> str:
        return "frames" if self.items is None else "json"


def write_inputs(directory: Path, inputs: Inputs, campaign: Path) -> tuple[dict[str, Any], int]:
    """Write the inputs and their index into a new array's directory.

    Returns
    -------
    description, count
        The ``inputs`` entry of array.json, and how many tasks there are.
    """
    if inputs.items is not None:
        return _write_items(directory, inputs.items)
    total = sum(os.path.getsize(path) for path in inputs.frame_files)
    if len(inputs.frame_files) == 1 and total > COPY_LIMIT:
        source = inputs.frame_files[0]
        with open(directory / "inputs.index", "wb") as index:
            count = _index_frames(source, index, None)
        resolved = source.resolve()
        name = os.path.relpath(resolved, campaign) if resolved.is_relative_to(campaign) else str(resolved)
        return {"kind": "frames", "source": name}, count
    count = 0
    with open(directory / "inputs.xyz", "wb") as copy, open(directory / "inputs.index", "wb") as index:
        for path in inputs.frame_files:
            count += _index_frames(path, index, copy)
    return {"kind": "frames", "path": "inputs.xyz"}, count


def _write_items(directory: Path, items: list[Any]) -> tuple[dict[str, Any], int]:
    offset = 0
    with open(directory / "inputs.jsonl", "wb") as data, open(directory / "inputs.index", "wb") as index:
        for item in items:
            line = encode_item(item)
            data.write(line)
            index.write(ENTRY.pack(offset, len(line), blake2b(line, digest_size=16).digest()))
            offset += len(line)
    return {"kind": "json", "path": "inputs.jsonl"}, len(items)


def _index_frames(path: Path, index: BinaryIO, copy: BinaryIO | None) -> int:
    count = 0
    for offset, frame in frames(path):
        if copy is not None:
            offset = copy.tell()
            if not frame.endswith(b"\n"):
                frame += b"\n"
            copy.write(frame)
        index.write(ENTRY.pack(offset, len(frame), blake2b(frame, digest_size=16).digest()))
        count += 1
    return count


def read_index(directory: Path) -> Iterator[tuple[int, int, bytes]]:
    """Yield offset, length and digest of every task's input."""
    return ENTRY.iter_unpack((directory / "inputs.index").read_bytes())


def read_input(directory: Path, description: dict[str, Any], campaign: Path, task: int) -> bytes:
    """The bytes of one task's input."""
    with open(directory / "inputs.index", "rb") as index:
        index.seek(task * ENTRY.size)
        offset, length, _ = ENTRY.unpack(index.read(ENTRY.size))
    with open(inputs_path(directory, description, campaign), "rb") as stream:
        stream.seek(offset)
        return stream.read(length)


def inputs_path(directory: Path, description: dict[str, Any], campaign: Path) -> Path:
    """Where the inputs of an array are: in its directory, or a referenced file."""
    if "source" in description:
        return campaign / str(description["source"])
    return directory / str(description["path"])


def nameless(value: Any) -> Any:
    """The same with files known by content only: where they are is no part of an identity."""
    if isinstance(value, dict):
        if "$path" in value:
            return {"$digest": value.get("digest")}
        return {k: nameless(v) for k, v in value.items()}
    if isinstance(value, list):
        return [nameless(v) for v in value]
    return value


def item_digests(items: Iterable[Any]) -> Iterator[bytes]:
    """What each JSON input contributes to the identity of its task."""
    return (blake2b(encode_item(nameless(item)), digest_size=16).digest() for item in items)


def identities(what: str, digests: Iterable[bytes]) -> Iterator[bytes]:
    """The identity of each task: what is computed, on which bytes, and which of equal inputs it is.

    Two equal inputs are two tasks: ten walkers from one frame get ten seeds.
    """
    prefix = bytes.fromhex(what)
    seen: dict[bytes, int] = {}
    for digest in digests:
        occurrence = seen.get(digest, 0)
        seen[digest] = occurrence + 1
        yield blake2b(prefix + digest + occurrence.to_bytes(4, "little"), digest_size=16).digest()
