"""The workflow API: plain Python that is run again from the top whenever something it waited for is there.

``run.map`` and ``run.call`` return lazy handles (``handles.py``). Running the function again is how a
campaign resumes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcflow.database.arrays import ArraySpec
from hpcflow.database.files import digest_bytes
from hpcflow.database.inputs import Inputs, encode_item, nameless
from hpcflow.errors import UserError
from hpcflow.functions import check_call, check_command, describe_command, describe_function, identity_of
from hpcflow.handles import Branch, Call, File, Files, Frames, Handle, Results
from hpcflow.plain import plain
from hpcflow.session import NotReady, Session
from hpcflow.sources import base_directory

if TYPE_CHECKING:
    from hpcflow.database.state import ArrayState


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
        depth = len(self._scopes)
        self._scopes.append(name)
        try:
            yield
        finally:
            # An iteration that the replay ended in is closed late, when the scopes around it are gone already.
            del self._scopes[depth:]

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
        if isinstance(inputs, (str, bytes, dict)) or not isinstance(inputs, Iterable):
            raise UserError(
                f"{key}: the inputs are one {type(inputs).__name__}; expected a list, hf.frames(...), hf.files(...), "
                "hf.rows(...), or .frames(), .results(), .files(name) of another step"
            )
        if min_success is not None and not 0 <= min_success <= 1:
            raise UserError(f"{key}: min_success={min_success!r}; expected a fraction of the tasks, from 0 to 1")
        if callable(function):
            check_call(key, function, 1, {**(parameters or {}), **more})
        if not isinstance(inputs, (Frames, Files, Sequence)):
            inputs = list(inputs)  # a generator could not be read twice

        def make() -> ArrayState:
            spec = self._spec(key, described, task_class, inputs, {**(parameters or {}), **more})
            if resources is not None:
                spec.requests = _requests(spec.inputs, resources)
            check = getattr(function, "__hpcflow__", {}).get("check")
            if check is not None and spec.inputs.items is None:
                spec.check = _check(key, check, spec.inputs, {**(parameters or {}), **more})
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
        check_call(key, function, len(args), {**(parameters or {}), **more})

        def make() -> ArrayState:
            spec = self._spec(key, described, "default", [list(args)], {**(parameters or {}), **more})
            spec.call = True
            spec.policy = {"retries": {"error": 0}}
            return self._session.ensure(spec, sources)

        call = Call(self, key, make, None, call=True)
        self._begin(call)
        return call

    def metrics(self, values: dict[str, Any]) -> None:
        """Set the line of ``metrics.jsonl`` that belongs to this place in the workflow.

        Parameters
        ----------
        values
            JSON values by name. Scalars and arrays of numpy become numbers and lists, NaN and infinities null.

        Raises
        ------
        UserError
            Naming what is no JSON.
        """
        where = "/".join(self._scopes)
        try:
            self._session.metrics(where, plain(values))
        except UserError as error:
            raise UserError(f"run.metrics{' in ' + where if where else ''}: {error}") from None

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
        what = digest_bytes(encode_item({"function": identity_of(described), "parameters": nameless(encoded)}))
        if isinstance(inputs, Frames):
            resolved = inputs._files(session)
            found = Inputs(frame_files=[path for path, _ in resolved])
            found.digest = digest_bytes(" ".join(digest for _, digest in resolved).encode())
        else:
            items = _encode(inputs if isinstance(inputs, (Results, Files)) else list(inputs), session)
            found = Inputs(items=items)
            found.digest = digest_bytes(b"".join(encode_item(nameless(item)) for item in items))
        if described["kind"] == "command":
            check_command(described["command"], found.items)
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


def _encode(value: Any, session: Session) -> Any:
    """JSON of a value in which handles have become files (``$path``) or results."""
    if isinstance(value, Frames):
        resolved = value._files(session)
        return _reference(*(resolved[0] if len(resolved) == 1 else session.joined_file(resolved)), session)
    if isinstance(value, File):
        return _reference(*value._resolve(session), session)
    if isinstance(value, Files):
        return [_reference(path, digest, session) for path, digest in value._resolve()]
    if isinstance(value, Results):
        return _encode(value._resolve(), session)
    if isinstance(value, Call):
        return _encode(value._first.results()[0], session)
    if isinstance(value, Path):
        path = base_directory() / value
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
        f"a task cannot be given a {type(value).__name__}: parameters and inputs are JSON values, frames, files, and "
        ".frames(), .results(), .files(name) or .result() of other steps"
    )


def _key(key: Any) -> str:
    if not isinstance(key, str):
        raise UserError(f"the key {key!r} of a parameter is not a string; JSON has no others")
    return key


def _reference(path: Path, digest: str, session: Session) -> dict[str, str]:
    absolute = Path(os.path.abspath(path))
    inside = absolute.is_relative_to(session.campaign)
    return {"$path": os.path.relpath(absolute, session.campaign) if inside else str(absolute), "digest": digest}


def _check(
    key: str,
    check: Callable[[Callable[[], dict[str, str]], dict[str, Any]], None],
    inputs: Inputs,
    parameters: dict[str, Any],
) -> Callable[[], None]:
    given = {name: base_directory() / value if isinstance(value, Path) else value for name, value in parameters.items()}

    def evaluate() -> None:
        from hpcflow.structures.index import elements_of

        try:
            check(lambda: elements_of(inputs.frame_files), given)
        except UserError as error:
            raise UserError(f"{key}: {error}") from None

    return evaluate


def _requests(inputs: Inputs, resources: Callable[[Any], dict[str, Any]]) -> Callable[[], list[dict[str, Any]]]:
    def evaluate() -> list[dict[str, Any]]:
        if inputs.items is not None:
            return [dict(resources(item)) for item in inputs.items]
        from hpcflow.structures import parse

        return [dict(resources(atoms)) for path in inputs.frame_files for atoms in parse(path.read_bytes())]

    return evaluate
