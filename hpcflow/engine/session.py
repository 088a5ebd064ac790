"""What a replay inside a tick may do: make arrays, freeze reads, run calls."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Iterable, Iterator, Sequence
from hashlib import blake2b
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hpcflow.database.arrays import ArraySpec, Earlier, create_array
from hpcflow.database.files import digest_file, file_stamp, write_whole
from hpcflow.database.results import Accepted, read_records
from hpcflow.database.state import FAILED, SUCCEEDED, ArrayState, Freeze, members, ranges
from hpcflow.engine.changes import KEEP, settle
from hpcflow.engine.collect import collect_array
from hpcflow.engine.decide import decide_array, decide_jobs
from hpcflow.engine.engine import Engine
from hpcflow.engine.observe import observe
from hpcflow.engine.submit import cancel_array, submit_array
from hpcflow.engine.takeover import find_finished, finished_records
from hpcflow.engine.width import unclaimed
from hpcflow.errors import UserError
from hpcflow.session import NotReady
from hpcflow.structures.joined import joined_file, write_by_content

if TYPE_CHECKING:
    from hpcflow.sites.schema import Site

CALL_WALLTIME = 1800.0
"""Bound of ``run.call`` in seconds: the tick holds the lock meanwhile, so this is for light work only."""


class ReplaySession:
    """Carries out what a workflow asks for, as the holder of the lock.

    Parameters
    ----------
    engine
        The engine of this tick.
    seed
        The campaign's seed.
    accept_growth
        If only the inputs of a step changed, compute the new ones and keep the rest, without asking: what a
        second ``hpcflow submit`` means.
    """

    blocking = False

    def __init__(self, engine: Engine, seed: int, accept_growth: bool = False) -> None:
        self.engine = engine
        self.campaign = engine.campaign
        self.seed = seed
        self.accept_growth = accept_growth
        self.needs: dict[int, int] = {}
        """Successes that let each array's readers go on."""
        self.read_files: dict[str, str] = {}
        """Files that this replay depends on, with a stamp of each."""
        self.replaced = 0
        """The newest array so far that replaced an older one of its step."""
        self.changes: dict[str, list[str]] = {}
        """Changed steps met in this replay: the new fingerprint, and a digest of each thing that differs."""
        self.asked: set[str] = set()
        """Of these, the ones that somebody has to say something about."""
        self._metrics: dict[str, dict[str, Any]] = {}

    # -- arrays ------------------------------------------------------------------------------------

    def ensure(self, spec: ArraySpec, sources: dict[str, str]) -> ArrayState:
        """The array of a step: the one it has, or a new one."""
        array = self._array_of(spec, sources)
        if any(a.key == array.key and a.number < array.number for a in self.engine.state.campaign.arrays.values()):
            self.replaced = max(self.replaced, array.number)
        return array

    def _array_of(self, spec: ArraySpec, sources: dict[str, str]) -> ArrayState:
        engine = self.engine
        existing = find_array(engine, spec.key)
        if existing is not None and existing.fingerprint == spec.fingerprint:
            if existing.current:
                return existing
        elif existing is not None and existing.current:
            if settle(self, existing, spec) == KEEP:
                return existing
            self._replace(existing)
        return self._create(spec, sources)

    def _replace(self, existing: ArrayState) -> None:
        """Stop work on an array that is about to be computed anew; what it has is taken over first."""
        engine = self.engine
        if not existing.done:
            collect_array(engine, existing)
            cancel_array(engine, existing)

    def _create(self, spec: ArraySpec, sources: dict[str, str]) -> ArrayState:
        from hpcflow.worker.archive import build

        engine = self.engine
        campaign = engine.state.campaign
        replaced = find_array(engine, spec.key)
        if not spec.call:
            # Before anything is written: an unknown class is the user's mistake.
            task_class = engine.task_class(campaign.site, spec.task_class)
            spec.policy = {"retries": dict(task_class.retries), "ladder": list(task_class.ladder)}
        if spec.check is not None:
            spec.check()
        requests = grouped(spec, engine.site(campaign.site))
        engine.verify()
        database = engine.database
        spec.code = build(engine.campaign, database.directory / "code", sources)
        number = max(campaign.arrays, default=0) + 1

        def lookup(ids: list[bytes]) -> Iterator[tuple[int, Earlier]]:
            return finished_records(engine, find_finished(engine, spec.what, ids))

        directory, count, taken = create_array(database.directory, engine.campaign, number, spec, lookup, engine.verify)
        engine.record(
            "array",
            array=number,
            key=spec.key,
            name=spec.name,
            directory=directory,
            count=count,
            task_class=spec.task_class,
            what=spec.what,
            fingerprint=spec.fingerprint,
            policy=spec.policy,
            requests=requests,
            call=spec.call,
            taken=taken,
        )
        if replaced is not None and not replaced.done:
            status = engine.state.status[replaced.number]
            undecided = [t for t in range(replaced.count) if status[t] not in (SUCCEEDED, FAILED)]
            engine.record("give_up", array=replaced.number, tasks=ranges(undecided), reason="replaced")
            decide_array(engine, replaced)
        if not spec.call:
            note = f", {taken} taken over from earlier arrays" if taken else ""
            engine.say(f"{spec.key}: {count} tasks of class {spec.task_class}{note}")
        array = campaign.arrays[number]
        collect_array(engine, array)
        decide_array(engine, array)
        return array

    # -- reads -------------------------------------------------------------------------------------

    def freeze(self, read: str, array: ArrayState, min_success: float | None, minus: list[str]) -> Freeze:
        """The tasks that this read accepts, fixed the first time a replay gets past it."""
        engine = self.engine
        known = engine.state.campaign.freezes.get(read)
        if known is not None:
            return known
        needed = array.count if min_success is None else int(-(-array.count * min_success // 1))
        if not array.done and (min_success is None or array.succeeded < needed):
            self.needs[array.number] = needed
            raise NotReady([array.number])
        if array.done and not minus:
            self._check_success(array, min_success, needed)
        accepted = self._succeeded(array)
        for other in minus:
            before = engine.state.campaign.freezes.get(other)
            if before is not None:
                accepted = sorted(set(accepted).difference(members(before.accepted)))
        digests = self._digests(array, accepted)
        engine.record("freeze", read=read, array=array.number, accepted=ranges(accepted), **digests)
        return engine.state.campaign.freezes[read]

    def _check_success(self, array: ArrayState, min_success: float | None, needed: int) -> None:
        wanted = 1 if min_success is None else needed
        if array.count == 0 or array.succeeded >= wanted:
            return
        limit = "all" if min_success is None else f"more than {1 - min_success:.0%} of"
        first = next((r for r in self._failed(array)), None)
        why = (
            ""
            if first is None
            else f" For example task {first.task}: {first.header.get('message') or first.header.get('reason')}."
        )
        message = (
            f"{array.key}: {limit} its tasks failed ({array.failed} of {array.count}).{why}\n"
            f"Look with: hpcflow explain {shlex.quote(array.name)}\n"
            "Compute them again with: hpcflow resume --retry-failed"
        )
        self.engine.attention(f"array {array.number}", message)
        raise NotReady([], message)

    def _failed(self, array: ArrayState) -> Iterator[Accepted]:
        path = self.engine.path(array)
        status = self.engine.state.status.get(array.number)
        records = read_records(path, array, status, range(array.count))
        return (record for record in records if record.header["state"] != "succeeded")

    def _succeeded(self, array: ArrayState) -> list[int]:
        status = self.engine.state.status.get(array.number)
        if status is not None:
            return [t for t in range(array.count) if status[t] == SUCCEEDED]
        if not array.failed:
            return list(range(array.count))
        return [r.task for r in self.read(array.number, range(array.count)) if r.header["state"] == "succeeded"]

    def _digests(self, array: ArrayState, tasks: list[int]) -> dict[str, str]:
        frames, results, files = (blake2b(digest_size=16) for _ in range(3))
        for record in self.read(array.number, tasks):
            block = record.frames
            frames.update(block if not block or block.endswith(b"\n") else block + b"\n")
            results.update(record.payload[: record.header.get("result", 0)] + b"\n")
            files.update(json.dumps(record.header.get("files", [])).encode())
        return {"frames": frames.hexdigest(), "results": results.hexdigest(), "files": files.hexdigest()}

    def read(self, array: int, tasks: Iterable[int]) -> Iterator[Accepted]:
        """Accepted records of some tasks of an array."""
        state = self.engine.state.campaign.arrays[array]
        return read_records(self.engine.path(state), state, self.engine.state.status.get(array), tasks)

    def frames_file(self, freeze: Freeze) -> Path:
        """The frames of a frozen read as one file, written when first needed."""
        data = self.engine.database.directory / "data"
        path = data / f"{freeze.frames}.xyz"
        if not path.exists():
            self.engine.verify()
            blocks = (record.frames for record in self.read(freeze.array, members(freeze.accepted)))
            written, _ = write_by_content(data, blocks)
            if written != path:
                raise AssertionError(f"{path}: the frames of a frozen read are not what they were")
        return path

    def joined_file(self, files: Sequence[tuple[Path, str]]) -> tuple[Path, str]:
        """Several files of frames as one."""
        self.engine.verify()
        return joined_file(self.engine.database.directory / "data", files)

    def kept_path(self, array: int, task: int, name: str) -> Path:
        return self.engine.path(self.engine.state.campaign.arrays[array]) / "files" / str(task) / name

    def file_digest(self, path: Path) -> str:
        """Digest of an input file, computed again only if its stamp changed."""
        try:
            stamp = file_stamp(path)
        except OSError as error:
            near = [p.name for p in path.parent.iterdir()] if path.parent.is_dir() else []
            from hpcflow.errors import nearest

            raise UserError(f"{path}: {error.strerror or 'cannot be read'}.{nearest(path.name, near[:500])}") from None
        self.read_files[str(path)] = stamp
        digests = self.engine.state.campaign.digests
        known = digests.get(str(path))
        if known is None or known[0] != stamp:
            try:
                digests[str(path)] = [stamp, digest_file(path)]
            except OSError as error:  # a directory, say
                raise UserError(f"{path}: cannot be read as a file: {error.strerror}") from None
            self.engine.changed = True
        return digests[str(path)][1]

    # -- calls and the rest --------------------------------------------------------------------------

    def run_now(self, array: ArrayState) -> ArrayState:
        """Run the task of a call to its end, as a local job like any other."""
        engine = self.engine
        pause = 0.01
        began = engine.now()
        while not array.done:
            if engine.now() - began > CALL_WALLTIME and not array.hold:
                self._stop_call(array)
            if array.hold:
                raise NotReady([array.number])
            submit_array(engine, array, unclaimed(engine, array))
            time.sleep(pause)
            pause = min(0.2, pause * 1.5)
            engine.verify()
            observe(engine, calls_only=True)
            collect_array(engine, array)
            decide_array(engine, array)
            decide_jobs(engine, array)
        if array.failed:
            failed = next(self._failed(array))
            tail = failed.output.strip().splitlines()[-12:]
            message = (
                f"{array.key}: failed: {failed.header.get('message') or failed.header.get('reason')}"
                + "".join(f"\n  {line}" for line in tail)
                + "\nMend it and type: hpcflow resume --retry-failed"
            )
            engine.attention(f"array {array.number}", message)
            raise NotReady([], message)
        return array

    def _stop_call(self, array: ArrayState) -> None:
        cancel_array(self.engine, array)
        self.engine.record("hold", array=array.number, reason="it took too long for a call")
        self.engine.attention(
            f"array {array.number}",
            f"{array.key}: ran for {CALL_WALLTIME / 60:.0f} minutes, the bound of run.call, while the campaign waited. "
            "Make it a step of its own with run.map(..., task_class=...), then type: hpcflow submit",
        )

    def wait(self, arrays: Sequence[int]) -> None:
        raise NotReady(arrays)

    def metrics(self, key: str, values: dict[str, Any]) -> None:
        self._metrics.setdefault(key, {}).update(values)

    def write_metrics(self) -> None:
        """Write ``metrics.jsonl`` if this replay has other lines than the file."""
        if not self._metrics:
            return
        lines = [json.dumps({"step": key, **values}) + "\n" for key, values in self._metrics.items()]
        data = "".join(lines).encode()
        path = self.engine.campaign / "metrics.jsonl"
        try:
            if path.read_bytes() == data:
                return
        except OSError:
            pass  # not there yet
        self.engine.verify()
        write_whole(path, data, durable=False)


def find_array(engine: Engine, key: str) -> ArrayState | None:
    """The newest array of a step."""
    found = None
    for array in engine.state.campaign.arrays.values():
        if array.key == key:
            found = array
    return found


_REQUESTS = ("cores", "gpus", "memory", "walltime")


def grouped(spec: ArraySpec, site: Site) -> list[tuple[dict[str, Any], list[list[int]]]]:
    """Tasks with resources of their own, by what they need.

    Raises
    ------
    UserError
        If ``resources`` says something else than numbers of what can be asked for, or more than the site has.
    """
    if spec.requests is None:
        return []
    from hpcflow.sites.rules import validate

    groups: dict[str, tuple[dict[str, Any], list[int]]] = {}
    for task, wishes in enumerate(spec.requests()):
        request: dict[str, Any] = {}
        for name, value in wishes.items():
            where = f"{spec.key}: resources() returned {name}={value!r} for task {task}"
            if name not in _REQUESTS:
                raise UserError(f"{where}; it may say cores, gpus, memory (MiB) and walltime (s)")
            least = 0 if name == "gpus" else 1
            number = -1.0 if value is True or not isinstance(value, Real) else float(value)
            if not least <= number < float("inf"):
                raise UserError(f"{where}; expected a number from {least} on (memory in MiB, walltime in s)")
            if name != "walltime" and not number.is_integer():
                raise UserError(f"{where}; expected a whole number")
            request[name] = number if name == "walltime" else int(number)
        if request:
            groups.setdefault(json.dumps(request, sort_keys=True), (request, []))[1].append(task)
    for request, tasks in groups.values():
        try:
            validate(site, spec.task_class, request)
        except UserError as error:
            raise UserError(f"{spec.key}: resources() returned {request} for task {tasks[0]}:\n{error}") from None
    return [(request, ranges(tasks)) for request, tasks in groups.values()]
