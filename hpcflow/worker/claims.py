"""Which chunk next: lists of chunks, and the symbolic links that say who took what."""

from __future__ import annotations

import errno
import json
import os
import random
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from typing import Any, NamedTuple

_FINISHED = (errno.ENOENT, errno.ENOTDIR, errno.ESTALE)  # the array is done and its work is removed

WINDOW = 16
"""A worker picks at random among so many unclaimed chunks, so that workers rarely meet."""
ALIKE = 0.75
"""Of these only among such as have at least this share of the tasks of the first: small ones even out the end."""
TRIES = 4
"""After so many chunks that others were quicker to take, the directory is read again."""


class ChunkList:
    """One immutable list of chunks, as ``work/chunks/L.json`` describes it."""

    def __init__(self, content: dict[str, Any]) -> None:
        self.number: int = content["list"]
        self.resources: str = content["resources"]
        self.bounds: list[int] = content["bounds"]
        self.parameters: dict[str, Any] = content.get("parameters") or {}
        self._ranges: list[list[int]] = content["tasks"]
        self._ends = list(accumulate(high - low for low, high in self._ranges))
        self._attempt: int = content.get("attempt", 1)
        self._attempts: dict[str, int] = content.get("attempts") or {}
        self._origins: dict[str, str] = content.get("from") or {}
        self.known: frozenset[int] = frozenset(content.get("known") or ())
        """Kinds of failures (``verdict.kind_of``) that no worker is to blame for."""

    def tasks(self, chunk: int) -> Iterator[int]:
        """Yield the tasks of a chunk in order."""
        for position in range(self.bounds[chunk], self.bounds[chunk + 1]):
            i = bisect_right(self._ends, position)
            yield self._ranges[i][1] - (self._ends[i] - position)

    def attempt(self, task: int) -> int:
        """Return which attempt of a task this list asks for."""
        return self._attempts.get(str(task), self._attempt)

    def origin(self, task: int) -> str:
        """Return the directory, relative to ``work/out``, whose copy a task starts from, or an empty text."""
        return self._origins.get(str(task), "")


class Chunk(NamedTuple):
    """One chunk of one list."""

    list: ChunkList
    number: int

    @property
    def tasks(self) -> int:
        """How many tasks it has."""
        return self.list.bounds[self.number + 1] - self.list.bounds[self.number]


class Board:
    """The chunks of an array that ask for the resources of one job.

    Parameters
    ----------
    array
        The array's directory. It may vanish at any time: then there is no work.
    resources
        Name of the resources a list must ask for.
    """

    def __init__(self, array: str, resources: str) -> None:
        self._chunks = os.path.join(array, "work", "chunks")
        self._claims = os.path.join(array, "work", "claims")
        self._resources = resources
        self._lists: dict[str, ChunkList] = {}
        self._gone: set[str] = set()  # chunks known to be taken: on NFS a listing may be a minute old

    def unclaimed(self) -> list[Chunk]:
        """Read both directories and return the chunks that nobody took, oldest list first."""
        try:
            names = os.listdir(self._chunks)
            for name in names:
                if name not in self._lists and name.endswith(".json") and name[:-5].isdigit():
                    with open(os.path.join(self._chunks, name), "rb") as stream:
                        self._lists[name] = ChunkList(json.load(stream))
            claimed = set(os.listdir(self._claims))
        except OSError as error:
            if error.errno in _FINISHED:
                return []
            raise
        claimed |= self._gone
        lists = [self._lists[name] for name in names if name in self._lists]
        return [
            Chunk(entry, number)
            for entry in sorted(lists, key=lambda entry: entry.number)
            if entry.resources == self._resources
            for number in range(len(entry.bounds) - 1)
            if f"{entry.number}.{number}" not in claimed
        ]

    def take(self, worker: str) -> Chunk | None:
        """Claim one chunk for a worker; None means that there is none left."""
        while True:
            free = self.unclaimed()
            if not free:
                return None
            near = free[: max(WINDOW, len(free) // 8)]
            near = [chunk for chunk in near if chunk.tasks >= ALIKE * near[0].tasks]
            for chunk in random.sample(near, min(TRIES, len(near))):
                if self._claim(chunk, worker):
                    return chunk

    def _claim(self, chunk: Chunk, worker: str) -> bool:
        name = f"{chunk.list.number}.{chunk.number}"
        link = os.path.join(self._claims, name)
        self._gone.add(name)
        try:
            os.symlink(worker, link)
        except FileExistsError:
            # A file server may have done what we asked and lost the answer: asked again, it refuses.
            try:
                return os.readlink(link) == worker
            except FileNotFoundError:
                return False
        except FileNotFoundError:
            return False
        return True
