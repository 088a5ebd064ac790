"""The workflow API: plain Python that is run again from the top whenever something it waited for is there.

``run.map`` and ``run.call`` return lazy handles. Handing them on costs nothing; reading their values
needs the array to be finished, and if it is not, the replay ends there for this tick. Running
the function again is how a campaign resumes.
"""

from __future__ import annotations

import glob as globbing
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, TypeVar, overload

from hpcflow.database.arrays import ArraySpec
from hpcflow.database.inputs import Inputs, encode_item
from hpcflow.database.files import digest_bytes
from hpcflow.database.state import Freeze, members
from hpcflow.errors import UserError, nearest
from hpcflow.functions import describe_command, describe_function

if TYPE_CHECKING:
    from hpcflow.database.results import Accepted
    from hpcflow.database.state import ArrayState

Structures: TypeAlias = str
"""A parameter of a workflow that names extended XYZ files: a path or a glob pattern."""

T = TypeVar("T")


class NotReady(BaseException):
    """The replay ends here for now: these arrays (by number) have to be finished first.

    Not an Exception, so that a workflow's own ``except Exception`` does not swallow it.
    """

    def __init__(self, arrays: Iterable[int], why: str = "") -> None:
        super().__init__(why)
        self.arrays = sorted(set(arrays))
        self.why = why


class Session(Protocol):
    """What a run needs of whoever executes it: a replay inside a tick, or a blocking script."""

    campaign: Path
    seed: int
    blocking: bool

    def ensure(self, spec: ArraySpec, sources: dict[str, str]) -> ArrayState: ...

    def freeze(self, read: str, array: ArrayState, min_success: float | None, minus: list[str]) -> Freeze: ...

    def read(self, array: int, tasks: Iterable[int]) -> Iterator[Accepted]: ...

    def frames_file(self, freeze: Freeze) -> Path: ...

    def kept_path(self, array: int, task: int, name: str) -> Path: ...

    def file_digest(self, path: Path) -> str: ...

    def run_now(self, array: ArrayState) -> ArrayState: ...

    def wait(self, arrays: Sequence[int]) -> None: ...

    def metrics(self, key: str, values: dict[str, Any]) -> None: ...


# -- inputs ------------------------------------------------------------------------------------------


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
            out.append(part._resolve(session) if isinstance(part, File) else part.frames_file())
        return out

    def __iter__(self) -> Iterator[Any]:
        """Yield ``ase.Atoms``; needs the arrays to be finished."""
        from hpcflow.structures import parse

        for part in self._parts:
            path = part.path if isinstance(part, File) else part.settled(lambda read: read.frames_file()[0])
            yield from parse(path.read_bytes())

    def __len__(self) -> int:
        from hpcflow.structures.index import scan

        total = 0
        for part in self._parts:
            path = part.path if isinstance(part, File) else part.settled(lambda read: read.frames_file()[0])
            total += sum(1 for _ in scan(path))
        return total


class Files(Sequence[File]):
    """The files of one name that the tasks of an array kept, in task order; lazy until looked at."""

    def __init__(self, read: _Read, name: str) -> None:
        self._read = read
        self._name = name

    def _resolve(self) -> list[tuple[Path, str]]:
        return [self._read.kept(self._name, task) for task in self._read.accepted()]

    def _all(self) -> list[File]:
        tasks = self._read.settled(lambda read: read.accepted())
        return [File(read=self._read, name=self._name, task=task) for task in tasks]

    @overload
    def __getitem__(self, index: int) -> File: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[File]: ...
    def __getitem__(self, index: int | slice) -> File | Sequence[File]:
        return self._all()[index]

    def __len__(self) -> int:
        return len(self._all())


class Results(Sequence[Any]):
    """The JSON results of an array's accepted tasks, in input order; lazy until looked at."""

    def __init__(self, read: _Read) -> None:
        self._read = read

    def _resolve(self) -> list[Any]:
        return self._read.results()

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        return self._read.settled(lambda read: read.results())[index]

    def __len__(self) -> int:
        return len(self._read.settled(lambda read: read.accepted()))


def frames(*sources: str | Path | File | Frames) -> Frames:
    """Structures from extended XYZ files: paths and glob patterns relative to the campaign, or kept files."""
    parts: list[File | _Read] = []
    for source in sources:
        if isinstance(source, Frames):
            parts += source._parts
        elif isinstance(source, File):
            parts.append(source)
        else:
            parts += [File(path) for path in _expand(source)]
    return Frames(parts)


def files(*patterns: str | Path) -> list[File]:
    """Files as inputs: the function gets the path of one of them."""
    return [File(path) for pattern in patterns for path in _expand(pattern)]


def rows(path: str | Path) -> list[dict[str, Any]]:
    """Inputs from a CSV or JSON-lines file: the function gets one row as a dict.

    Raises
    ------
    UserError
        If the file cannot be read, or a line is not a row.
    """
    from hpcflow.tables import read_rows

    return read_rows(_base() / path)


def concat(*handles: Frames) -> Frames:
    """Join frames in the order given."""
    return Frames([part for handle in handles for part in handle._parts])


_BASES: list[Path] = []


@contextmanager
def campaign_base(campaign: Path) -> Iterator[None]:
    """Paths of ``frames``, ``files`` and ``rows`` are relative to this campaign inside the block."""
    _BASES.append(campaign)
    try:
        yield
    finally:
        _BASES.pop()


def _base() -> Path:
    """The campaign that is being replayed, or the current directory."""
    return _BASES[-1] if _BASES else Path.cwd()


def _expand(pattern: str | Path) -> list[str]:
    """The files that a path or pattern means, relative to the campaign, sorted."""
    text = os.fspath(pattern)
    if not globbing.has_magic(text) or (_base() / text).exists():
        return [text]
    found = sorted(globbing.glob(text, root_dir=_base(), recursive=True))
    if not found:
        raise UserError(f"{text}: no file in {_base()} matches this pattern")
    return found


# -- handles -------------------------------------------------------------------------------------------


class _Read:
    """A frozen read of an array: the tasks accepted when a replay first got past it, for ever."""

    def __init__(self, handle: Handle, key: str, minus: list[str]) -> None:
        self._handle = handle
        self._key = key
        self._minus = minus
        self._freeze: Freeze | None = None

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
                return ask(self)
            except NotReady as stop:
                if not self.session.blocking:
                    raise
                self.session.wait(stop.arrays)

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
        record = next(self.session.read(freeze.array, [task]), None)
        known = {} if record is None else {file: digest for file, _, digest in record.header.get("files", [])}
        if name not in known:
            raise UserError(
                f"{self._handle.key}: task {task} kept no file {name!r}.{nearest(name, known)} "
                "A function names the files it keeps in @hpcflow.task(keep=[...])."
            )
        return self.session.kept_path(freeze.array, task, name), known[name]


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


# -- the run ---------------------------------------------------------------------------------------------


class Run:
    """What a workflow function gets: it makes arrays, and knows where in the workflow it is."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._scopes: list[str] = []
        self._keys: set[str] = set()
        self.stops: list[NotReady] = []
        """Where branches ended in this replay."""

    @property
    def seed(self) -> int:
        """The campaign's seed, from hpcflow.yaml."""
        return self._session.seed

    @property
    def campaign(self) -> Path:
        """The campaign directory."""
        return self._session.campaign

    def _scope_key(self, name: str) -> str:
        return "/".join([*self._scopes, name])

    def _claim_key(self, name: str) -> str:
        key = self._scope_key(name)
        if key in self._keys:
            raise UserError(
                f"the workflow meets the step {key!r} twice. Give each its own name (name=...), "
                "or put repeated steps into run.iterations or run.scope"
            )
        self._keys.add(key)
        return key

    @contextmanager
    def scope(self, name: str) -> Iterator[None]:
        """Steps inside get this prefix to their keys."""
        self._scopes.append(name)
        try:
            yield
        finally:
            self._scopes.pop()

    def iterations(self, count: int, name: str = "iterations") -> Iterator[int]:
        """Yield 0, 1, … with a scope of its own for each: ``iterations[3]/train``."""
        for number in range(count):
            with self.scope(f"{name}[{number}]"):
                yield number

    def branch(self, name: str, function: Callable[..., Any], /, *args: Any, **parameters: Any) -> Branch:
        """Run a part of the workflow that may stop without stopping the rest."""
        depth = len(self._scopes)
        try:
            with self.scope(name):
                return Branch(function(*args, **parameters))
        except NotReady as stop:
            del self._scopes[depth:]
            self.stops.append(stop)
            return Branch(stop=stop)

    def map(
        self,
        function: Callable[..., Any] | str,
        inputs: Frames | Iterable[Any],
        /,
        *,
        name: str | None = None,
        task_class: str = "default",
        min_success: float | None = None,
        resources: Callable[[Any], dict[str, Any]] | None = None,
        keep: Sequence[str] | None = None,
        checkpoint: bool | None = None,
        parameters: dict[str, Any] | None = None,
        **more: Any,
    ) -> Handle:
        """Compute a function, or a shell command, on every input: one array of tasks.

        Parameters
        ----------
        function
            A function that can be imported by name, or a shell command in which ``{field}`` stands for a
            field of the row (``{path}`` for a file, ``{index}`` for the task's number).
        inputs
            Frames, or JSON values, or files.
        name
            Of this step; by default that of the function.
        task_class
            How the site runs it.
        min_success
            Fraction of tasks that must have succeeded for the workflow to go on; it then goes on without waiting for
            the others. By default it waits until every task is decided.
        resources
            From an input (``ase.Atoms`` or JSON value) to what it needs beyond its class: ``cores``, ``gpus``,
            ``memory`` (MiB), ``walltime`` (s). It is no part of the tasks' identity.
        keep, checkpoint
            For commands, and to override what a function declares.
        parameters, **more
            Further arguments of the function: JSON values and handles. Handles of frames and files arrive as paths.
        """
        described, sources = (
            describe_command(function) if isinstance(function, str) else describe_function(function, self.campaign)
        )
        if keep is not None:
            described["keep"] = list(keep)
        if checkpoint is not None:
            described["checkpoint"] = checkpoint
        key = self._claim_key(name or described["short"])

        def make() -> ArrayState:
            spec = self._spec(key, described, task_class, inputs, {**(parameters or {}), **more})
            if resources is not None:
                spec.requests = _requests(spec.inputs, resources)
            return self._session.ensure(spec, sources)

        return self._begin(Handle(self, key, make, min_success))

    def call(
        self,
        function: Callable[..., Any],
        /,
        *args: Any,
        name: str | None = None,
        parameters: dict[str, Any] | None = None,
        **more: Any,
    ) -> Call:
        """Compute a function once, now, in a process of its own: for light work between arrays."""
        described, sources = describe_function(function, self.campaign)
        described["spread"] = True
        key = self._claim_key(name or described["short"])

        def make() -> ArrayState:
            spec = self._spec(key, described, "default", [list(args)], {**(parameters or {}), **more})
            spec.call = True
            spec.policy = {"retries": {"error": 0}}
            return self._session.ensure(spec, sources)

        call = Call(self, key, make, None, call=True)
        self._begin(call)
        return call

    def metrics(self, values: dict[str, Any]) -> None:
        """Set the line of ``metrics.jsonl`` that belongs to this place in the workflow."""
        self._session.metrics("/".join(self._scopes), values)

    def _begin(self, handle: Handle) -> Handle:
        """Make the array now if its inputs are there; if not, the handle waits and the workflow goes on."""
        try:
            handle._made()
        except NotReady as stop:
            self.stops.append(stop)
        return handle

    def _spec(
        self, key: str, described: dict[str, Any], task_class: str, inputs: Any, parameters: dict[str, Any]
    ) -> ArraySpec:
        session = self._session
        encoded = _encode(parameters, session)
        what = digest_bytes(encode_item({"function": _identity_of(described), "parameters": _nameless(encoded)}))
        if isinstance(inputs, Frames):
            resolved = inputs._files(session)
            found = Inputs(frame_files=[path for path, _ in resolved])
            found.digest = digest_bytes(" ".join(digest for _, digest in resolved).encode())
        else:
            items = _encode(list(_resolved_items(inputs)), session)
            found = Inputs(items=items)
            found.digest = digest_bytes(b"".join(encode_item(_nameless(item)) for item in items))
        return ArraySpec(
            key=key,
            name=key,
            task_class=task_class,
            function={k: v for k, v in described.items() if k != "short"},
            parameters=encoded,
            what=what,
            fingerprint=digest_bytes(f"{what} {found.digest}".encode()),
            inputs=found,
            seed=session.seed,
        )


def _identity_of(described: dict[str, Any]) -> dict[str, Any]:
    return {k: v for k, v in described.items() if k not in ("short", "checkpoint", "batch")}


def _resolved_items(inputs: Any) -> Iterable[Any]:
    if isinstance(inputs, (Results, Files)):
        return inputs._resolve()
    return inputs  # type: ignore[no-any-return]


def _encode(value: Any, session: Session) -> Any:
    """JSON of a value in which handles have become files (``$path``) or results."""
    if isinstance(value, Frames):
        resolved = value._files(session)
        if len(resolved) != 1:
            from hpcflow.structures.joined import joined_file

            resolved = [joined_file(session.campaign / ".hpcflow" / "data", resolved)]
        return _reference(*resolved[0], session)
    if isinstance(value, File):
        return _reference(*value._resolve(session), session)
    if isinstance(value, Files):
        return [_reference(path, digest, session) for path, digest in value._resolve()]
    if isinstance(value, Results):
        return _encode(value._resolve(), session)
    if isinstance(value, Call):
        return _encode(value._first.results()[0], session)
    if isinstance(value, tuple) and len(value) == 2 and isinstance(value[0], Path):
        return _reference(value[0], str(value[1]), session)
    if isinstance(value, Path):
        path = session.campaign / value
        return _reference(path, session.file_digest(path), session)
    if isinstance(value, dict):
        return {_key(k): _encode(v, session) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_encode(v, session) for v in value]
    if value is None or isinstance(value, (str, int, float, bool)):
        return value
    if hasattr(value, "tolist"):
        return _encode(value.tolist(), session)  # numpy numbers and arrays
    raise UserError(
        f"a task cannot be given a {type(value).__name__}: parameters and inputs are JSON values, frames, files, or "
        "handles of other steps"
    )


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise UserError(f"the key {key!r} of a parameter is not a string; JSON has no others")
    return key


def _reference(path: Path, digest: str, session: Session) -> dict[str, str]:
    absolute = Path(os.path.abspath(path))
    inside = absolute.is_relative_to(session.campaign)
    return {"$path": os.path.relpath(absolute, session.campaign) if inside else str(absolute), "digest": digest}


def _nameless(value: Any) -> Any:
    """The same with files named by content only: where they are is no part of an identity."""
    if isinstance(value, dict):
        if "$path" in value:
            return {"$digest": value.get("digest")}
        return {k: _nameless(v) for k, v in value.items()}
    if isinstance(value, list):
        return [_nameless(v) for v in value]
    return value


def _requests(inputs: Inputs, resources: Callable[[Any], dict[str, Any]]) -> Callable[[], list[dict[str, Any]]]:
    def evaluate() -> list[dict[str, Any]]:
        if inputs.items is not None:
            return [dict(resources(item)) for item in inputs.items]
        from hpcflow.structures import parse

        return [dict(resources(atoms)) for path in inputs.frame_files for atoms in parse(path.read_bytes())]

    return evaluate
