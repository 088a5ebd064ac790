"""Lazy handles: what ``run.map`` and ``run.call`` return, and the frames, files and results behind them.

Handing a handle on costs nothing. Asking it for a value needs its array to be finished; if it is not, the
replay ends there for this tick.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, overload

from hpcflow.database.state import Freeze, members
from hpcflow.errors import UserError, nearest
from hpcflow.session import NotReady, Session

if TYPE_CHECKING:
    from hpcflow.database.results import Accepted
    from hpcflow.database.state import ArrayState
    from hpcflow.workflow import Run

T = TypeVar("T")


class File:
    """A file: one of the user's, or one that a task kept."""

    def __init__(self, path: str | Path | None = None, read: _Read | None = None, name: str = "", task: int = 0):
        self._path = path
        self._read = read
        self._name = name
        self._task = task

    def _resolve(self, session: Session) -> tuple[Path, str]:
        """Path and digest; raises NotReady while the task that keeps it is not finished."""
        if self._read is None:
            path = session.campaign / str(self._path)
            return path, session.file_digest(path)
        return self._read.kept(self._name, self._task)

    @property
    def path(self) -> Path:
        """Where the file is. Asking needs the task to be finished."""
        if self._read is None:
            return Path(str(self._path))
        return self._read.settled(lambda read: read.kept(self._name, self._task)[0])

    def _refuse_no_frames(self) -> None:
        """What a step wrote may well hold no frames; in a file of the user's own that is a mistake."""
        from hpcflow.structures.index import refuse_empty

        if self._read is None:
            refuse_empty(self.path)


class Frames:
    """Structures in input order, from files or from the results of arrays; lazy, and joined with ``+``."""

    def __init__(self, parts: Sequence[File | _Read]) -> None:
        self._parts = list(parts)

    def __add__(self, other: Frames) -> Frames:
        return Frames([*self._parts, *other._parts])

    def _files(self, session: Session) -> list[tuple[Path, str]]:
        """Files and their digests; raises NotReady while an array is not finished."""
        out = []
        for part in self._parts:
            if isinstance(part, File):
                out.append(part._resolve(session))
                part._refuse_no_frames()
            else:
                out.append(part.frames_file())
        return out

    def _paths(self) -> Iterator[Path]:
        for part in self._parts:
            if isinstance(part, File):
                part._refuse_no_frames()
                yield part.path
            else:
                yield part.settled(lambda read: read.frames_file()[0])

    def __iter__(self) -> Iterator[Any]:
        """Yield ``ase.Atoms``; needs the arrays to be finished."""
        from hpcflow.structures import parse

        for path in self._paths():
            yield from parse(path.read_bytes())

    def __len__(self) -> int:
        from hpcflow.structures.index import scan

        return sum(1 for path in self._paths() for _ in scan(path))


class Files(Sequence[File]):
    """The files of one name that the tasks of an array kept, in task order; lazy until looked at."""

    def __init__(self, read: _Read, name: str) -> None:
        self._read = read
        self._name = name

    def _resolve(self) -> list[tuple[Path, str]]:
        return self._read.kept_by_all(self._name)

    def _all(self) -> list[File]:
        tasks = self._read.settled(lambda read: read.accepted())
        return [File(read=self._read, name=self._name, task=task) for task in tasks]

    @overload
    def __getitem__(self, index: int) -> File: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[File]: ...
    def __getitem__(self, index: int | slice) -> File | Sequence[File]:
        return self._all()[index]

    def __iter__(self) -> Iterator[File]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


class Results(Sequence[Any]):
    """The JSON results of an array's accepted tasks, in input order; lazy until looked at."""

    def __init__(self, read: _Read) -> None:
        self._read = read
        self._values: list[Any] | None = None

    def _resolve(self) -> list[Any]:
        return self._read.results()

    def _all(self) -> list[Any]:
        if self._values is None:
            self._values = self._read.settled(lambda read: read.results())
        return self._values

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        return self._all()[index]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._read.settled(lambda read: read.accepted()))


class _Read:
    """A frozen read of an array: the tasks accepted when a replay first got past it, for ever."""

    def __init__(self, handle: Handle, key: str, minus: list[str]) -> None:
        self._handle = handle
        self._key = key
        self._minus = minus
        self._freeze: Freeze | None = None
        self._warned = False

    @property
    def session(self) -> Session:
        return self._handle._run._session

    def frozen(self) -> Freeze:
        if self._freeze is None:
            array = self._handle._made()
            self._freeze = self.session.freeze(self._key, array, self._handle._min_success, self._minus)
        return self._freeze

    def settled(self, ask: Callable[[_Read], T]) -> T:
        """Ask for a value, waiting for it in a blocking script."""
        while True:
            try:
                answer = ask(self)
                self._warn()
                return answer
            except NotReady as stop:
                if not self.session.blocking:
                    raise
                self.session.wait(stop.arrays)

    def _warn(self) -> None:
        """In a script, say once that some inputs have no results: ``zip(inputs, results)`` would be wrong."""
        handle = self._handle
        if self._warned or not self.session.blocking or self._minus or handle._min_success is not None:
            return
        self._warned = True
        count, there = handle._made().count, len(self.accepted())
        if there < count:
            what = f"{handle.key}: {count - there} of {count} tasks failed; .results() has the other {there}"
            warnings.warn(f"{what}, and .indices() says which inputs these are", stacklevel=5)

    def accepted(self) -> list[int]:
        return members(self.frozen().accepted)

    def results(self) -> list[Any]:
        freeze = self.frozen()
        return [record.result for record in self.session.read(freeze.array, members(freeze.accepted))]

    def frames_file(self) -> tuple[Path, str]:
        freeze = self.frozen()
        return self.session.frames_file(freeze), freeze.frames

    def kept(self, name: str, task: int) -> tuple[Path, str]:
        freeze = self.frozen()
        return self._kept(name, next(iter(self.session.read(freeze.array, [task]))))

    def kept_by_all(self, name: str) -> list[tuple[Path, str]]:
        freeze = self.frozen()
        return [self._kept(name, record) for record in self.session.read(freeze.array, members(freeze.accepted))]

    def _kept(self, name: str, record: Accepted) -> tuple[Path, str]:
        known = {file: digest for file, _, digest in record.header.get("files", [])}
        if name not in known:
            raise UserError(
                f"{self._handle.key}: task {record.task} kept no file {name!r}.{nearest(name, known)} "
                "A function names the files it keeps in @hpcflow.task(keep=[...])."
            )
        return self.session.kept_path(self.frozen().array, record.task, name), known[name]


class Handle:
    """An array to be: what ``run.map`` returns."""

    def __init__(
        self, run: Run, key: str, make: Callable[[], ArrayState], min_success: float | None, call: bool = False
    ) -> None:
        self._run = run
        self.key = key
        self._make = make
        self._min_success = min_success
        self._array: ArrayState | None = None
        self._call = call
        self._first = _Read(self, key, [])
        self._reads = [key]

    def __repr__(self) -> str:
        count = "" if self._array is None else f": {self._array.count} task{'' if self._array.count == 1 else 's'}"
        return f"<step {self.key!r}{count}>"

    def _made(self) -> ArrayState:
        """The array, made now if its inputs are there; raises NotReady otherwise."""
        if self._array is None:
            self._array = self._make()
        if self._call:
            self._array = self._run._session.run_now(self._array)
        return self._array

    def frames(self) -> Frames:
        """The frames that accepted tasks returned, in input order."""
        return Frames([self._first])

    def results(self) -> Results:
        """The JSON values that accepted tasks returned, in input order."""
        return Results(self._first)

    def indices(self) -> list[int]:
        """The numbers, from 0, of the inputs whose tasks were accepted: those that ``results()`` is about."""
        return self._first.settled(lambda read: read.accepted())

    def files(self, name: str) -> Files:
        """The files of this name that accepted tasks kept, in input order."""
        return Files(self._first, name)

    def late(self) -> Late:
        """What was accepted after this array was read before: the stragglers that ``min_success`` left behind."""
        key = f"{self.key}@{self._run._scope_key('late')}"
        read = _Read(self, key, list(self._reads))
        self._reads.append(key)
        return Late(read)


class Late:
    """Results that came after a read was frozen."""

    def __init__(self, read: _Read) -> None:
        self._read = read

    def frames(self) -> Frames:
        """The frames of tasks accepted since, in input order."""
        return Frames([self._read])

    def results(self) -> Results:
        """The JSON values of tasks accepted since, in input order."""
        return Results(self._read)


class Call(Handle):
    """One task that the tick runs at once: what ``run.call`` returns."""

    def result(self) -> Any:
        """The value the function returned."""
        return self._first.settled(lambda read: read.results())[0]

    def file(self, name: str) -> File:
        """A file the task kept."""
        return File(read=self._first, name=name, task=0)

    def __bool__(self) -> bool:
        return bool(self.result())


class Branch:
    """A part of a workflow that may be behind or ahead of the others."""

    def __init__(self, value: Any = None, stop: NotReady | None = None) -> None:
        self._value = value
        self._stop = stop

    @property
    def ready(self) -> bool:
        """Whether the branch got to its end."""
        return self._stop is None

    def result(self) -> Any:
        """What the branch returned; the replay ends here if it has not got there."""
        if self._stop is not None:
            raise self._stop
        return self._value
