"""An array as a worker sees it: its description, and the input and the seed of each task."""

from __future__ import annotations

import json
import os
import struct
from hashlib import blake2b
from typing import Any

_ENTRY = struct.Struct("<QI16s")
_ID_LENGTH = 16


class InputChanged(Exception):
    """An input is not what it was when the array was made. The message names the file."""

    hpcflow_reason = "input changed"


class Array:
    """One array directory. Files are opened when first used.

    Parameters
    ----------
    path
        The directory with ``array.json``.
    """

    def __init__(self, path: str) -> None:
        self.path = os.path.abspath(path)
        self.campaign = os.path.dirname(os.path.dirname(os.path.dirname(self.path)))
        with open(os.path.join(self.path, "array.json"), "rb") as stream:
            description: dict[str, Any] = json.load(stream)
        self.count: int = description["count"]
        self.seed: int = description["seed"]
        self.function: dict[str, Any] = description["function"]
        self.parameters: dict[str, Any] = description["parameters"]
        self.frames: bool = description["inputs"]["kind"] == "frames"
        inputs = description["inputs"]
        if "source" in inputs:
            self.source = os.path.join(self.campaign, inputs["source"])
        else:
            self.source = os.path.join(self.path, inputs["path"])
        self._index = os.path.join(self.path, "inputs.index")
        self._ids = os.path.join(self.path, "ids")
        self._files: dict[str, int] = {}
        self._checked: set[tuple[str, str]] = set()

    @property
    def out(self) -> str:
        """The directory of the workers' files."""
        return os.path.join(self.path, "work", "out")

    def input(self, task: int) -> bytes:
        """Return the bytes of one task's input, after their digest was checked."""
        entry = self._read(self._index, _ENTRY.size, task * _ENTRY.size)
        if len(entry) != _ENTRY.size:
            raise InputChanged(f"{self._index}: there is no entry for task {task}")
        offset, length, digest = _ENTRY.unpack(entry)
        data = self._read(self.source, length, offset)
        if blake2b(data, digest_size=16).digest() != digest:
            raise InputChanged(f"{self.source}: input {task} has changed since the array was made")
        return data

    def value(self, task: int) -> Any:
        """Return one task's JSON input, with the files it names resolved."""
        text = self.input(task).decode()
        value = json.loads(text)
        return self.resolve(value) if '"$path"' in text else value

    def task_seed(self, task: int) -> int:
        """Return a number below 2**31 that depends on the campaign's seed and the task's identity."""
        identity = self._read(self._ids, _ID_LENGTH, task * _ID_LENGTH)
        digest = blake2b(f"{self.seed}:{identity.hex()}".encode(), digest_size=4).digest()
        return int.from_bytes(digest, "big") & 0x7FFFFFFF

    def resolve(self, value: Any) -> Any:
        """Replace every ``{"$path": ..., "digest": ...}`` by an absolute path, checking digests once."""
        if isinstance(value, dict):
            if "$path" in value:
                return self._file(value["$path"], value.get("digest"))
            return {key: self.resolve(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.resolve(item) for item in value]
        return value

    def _file(self, name: str, digest: str | None) -> str:
        path = os.path.join(self.campaign, name)
        if digest is not None and (path, digest) not in self._checked:
            if not os.path.isfile(path):
                raise InputChanged(f"{path}: the file is gone")
            if file_digest(path) != digest:
                raise InputChanged(f"{path}: the file has changed since the array was made")
            self._checked.add((path, digest))
        return path

    def _read(self, path: str, length: int, offset: int) -> bytes:
        fd = self._files.get(path)
        if fd is None:
            try:
                fd = self._files[path] = os.open(path, os.O_RDONLY)
            except FileNotFoundError:
                raise InputChanged(f"{path}: the file is gone") from None
        return os.pread(fd, length, offset)


def file_digest(path: str) -> str:
    """Return the BLAKE2b-128 digest of a file's content, in hex."""
    digest = blake2b(digest_size=16)
    with open(path, "rb") as stream:
        for block in iter(lambda: stream.read(1 << 20), b""):
            digest.update(block)
    return digest.hexdigest()
