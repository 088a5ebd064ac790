"""Where tasks run: a scratch directory per slot, and a directory per attempt for files that matter."""

from __future__ import annotations

import os
import shutil
import stat
from fnmatch import fnmatchcase

from hpcflow.worker.array import Array, file_digest


def remove(path: str) -> None:
    """Remove a file, or a directory with all that is in it, even where a task withdrew permissions."""
    if os.path.islink(path) or not os.path.isdir(path):
        os.unlink(path)
        return
    os.chmod(path, stat.S_IRWXU)
    for name in os.listdir(path):
        remove(os.path.join(path, name))
    os.rmdir(path)


class Scratch:
    """A slot's node-local directory: reused, because making one costs more than many a task.

    Parameters
    ----------
    root
        The worker's directory.
    slot
        Number of the slot, which names the directory.
    """

    def __init__(self, root: str, slot: int) -> None:
        self._base = os.path.join(root, str(slot))
        self._spoilt = 0
        self.path = self._base
        os.makedirs(self.path, exist_ok=True)

    def clear(self) -> None:
        """Empty the directory; if something in it resists, use another one from now on."""
        try:
            for name in os.listdir(self.path):
                remove(os.path.join(self.path, name))
        except OSError:
            # A dying child may still write there, or the task mounted something: the next task gets
            # a clean place, and what is left goes when the worker leaves.
            self._spoilt += 1
            self.path = f"{self._base}.{self._spoilt}"
            os.makedirs(self.path)


class Attempts:
    """The directories of the attempts of one worker: only functions that keep files have them.

    Parameters
    ----------
    array
        The array; its function says what to keep.
    worker
        Name of the worker.
    """

    def __init__(self, array: Array, worker: str) -> None:
        self._out = array.out
        self._own = os.path.join(array.out, worker + ".d")
        self._keep: list[str] = list(array.function.get("keep") or ())
        self._checkpoint = bool(array.function.get("checkpoint"))
        self.needed = bool(self._keep) or self._checkpoint
        """Whether each attempt has a directory of its own."""

    def path(self, task: int, attempt: int) -> str:
        """Return the directory of one attempt."""
        return os.path.join(self._own, f"{task}.{attempt}")

    def prepare(self, task: int, attempt: int, origin: str) -> str:
        """Make the directory of an attempt, as a copy of ``origin`` (relative to ``work/out``) if given."""
        path = self.path(task, attempt)
        if not os.path.isdir(self._own):
            os.mkdir(self._own)  # and not the directories above: if they are gone, the array is finished
        if os.path.lexists(path):
            remove(path)
        if origin and self._checkpoint:
            shutil.copytree(os.path.join(self._out, origin), path, symlinks=True)
        else:
            os.mkdir(path)
        return path

    def keep(self, task: int, attempt: int) -> list[list[object]]:
        """Remove what a finished task was not asked to keep; list the rest as name, bytes, digest."""
        root = self.path(task, attempt)
        found = [
            os.path.relpath(os.path.join(folder, name), root) for folder, _, names in os.walk(root) for name in names
        ]
        kept = sorted(
            name
            for name in found
            if os.path.isfile(os.path.join(root, name)) and any(fnmatchcase(name, p) for p in self._keep)
        )
        for name in kept:
            _secure(os.path.join(root, name))
        for name in set(found) - set(kept):
            _discard(os.path.join(root, name))
        for folder, folders, _ in os.walk(root, topdown=False):
            for name in folders:
                path = os.path.join(folder, name)
                if os.path.islink(path) or not os.listdir(path):
                    _discard(path)
        if not kept:
            _discard(root)
        paths = [os.path.join(root, name) for name in kept]
        return [[n, os.path.getsize(p), file_digest(p)] for n, p in zip(kept, paths)]

    def discard(self, task: int, attempt: int) -> None:
        """Remove the directory of an attempt without a result, unless the next attempt may go on from it."""
        path = self.path(task, attempt)
        if self.needed and not self._checkpoint and os.path.lexists(path):
            _discard(path)

    def leave(self) -> None:
        """Remove the worker's directory if nothing is in it."""
        if self.needed and os.path.isdir(self._own) and not os.listdir(self._own):
            os.rmdir(self._own)


def _discard(path: str) -> None:
    """Remove what nobody needs. It need not succeed (NFS keeps the names of open files): all goes with ``work``."""
    try:
        remove(path)
    except OSError:
        pass


def _secure(path: str) -> None:
    """Put a file onto the disk before a record names it; a link becomes a copy of its target."""
    if os.path.islink(path):
        copy = path + ".copy"
        shutil.copyfile(path, copy)
        os.replace(copy, path)
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
