"""The plan: what a submission would do, found out without writing anything."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hpcflow.configuration import Configuration
from hpcflow.database.arrays import ArraySpec, directory_name
from hpcflow.database.chunks import chunk_bounds
from hpcflow.database.inputs import identities, item_digests
from hpcflow.database.state import ArrayState, Freeze
from hpcflow.engine.changes import KEEP, Changed, settle
from hpcflow.engine.engine import Engine
from hpcflow.engine.session import ReplaySession, find_array, grouped
from hpcflow.engine.takeover import find_finished
from hpcflow.engine.width import most_workers, slots_per_worker
from hpcflow.session import NotReady
from hpcflow.sites.rules import validate
from hpcflow.structures.index import frames
from hpcflow.structures.joined import joined_digest


@dataclass
class Planned:
    """One array that would be made."""

    key: str
    task_class: str
    tasks: int
    taken: int
    """Of these, results that exist already."""
    workers: int
    slots: int
    node_hours: float | None
    """At most, in one round of jobs: workers, each for its whole walltime; None on this machine."""
    script: str


@dataclass
class Plan:
    """What the next submission would do, as far as that can be known before it."""

    arrays: list[Planned]
    calls: list[str]
    """Steps that the submission computes itself, at once: what comes after them depends on their results."""
    more: bool
    """Whether there are steps that cannot be seen yet, since their inputs are results that no tick has written out."""
    renewed: list[str]
    """Steps of these whose inputs changed after other steps had read their results."""
    changes: list[str]
    """Changes that need an answer first."""

    @property
    def new(self) -> bool:
        """Whether a submission would bring anything that is not there yet."""
        return bool(self.arrays or self.calls or self.more)


class PlanSession(ReplaySession):
    """Replays a workflow without making anything; it ends wherever a result would be needed."""

    def __init__(self, engine: Engine, seed: int) -> None:
        super().__init__(engine, seed, accept_growth=True)
        self.planned: list[Planned] = []
        self.calls: list[str] = []
        self.more = False
        self.renewed: list[str] = []

    def ensure(self, spec: ArraySpec, sources: dict[str, str]) -> ArrayState:
        existing = find_array(self.engine, spec.key)
        if existing is not None and existing.current and existing.fingerprint == spec.fingerprint:
            return existing
        if existing is not None and existing.current:
            read = self._was_read(existing)  # before the answer, which forgets that
            if settle(self, existing, spec) == KEEP:
                return existing
            if read and spec.key not in self.renewed:
                self.renewed.append(spec.key)
        if spec.call:
            self._plan_call(spec.key)
        elif all(plan.key != spec.key for plan in self.planned):
            self.planned.append(self._plan(spec))
        raise NotReady([])

    def run_now(self, array: ArrayState) -> ArrayState:
        if array.done and not array.failed:
            return array
        if not array.done:
            self._plan_call(array.key)
        raise NotReady([array.number])

    def _plan_call(self, key: str) -> None:
        if key not in self.calls:
            self.calls.append(key)

    def _was_read(self, array: ArrayState) -> bool:
        return any(freeze.array == array.number for freeze in self.engine.state.campaign.freezes.values())

    def frames_file(self, freeze: Freeze) -> Path:
        path = self.engine.database.directory / "data" / f"{freeze.frames}.xyz"
        if not path.exists():
            self.more = True
            raise NotReady([freeze.array])
        return path

    def joined_file(self, files: Sequence[tuple[Path, str]]) -> tuple[Path, str]:
        digest = joined_digest(file for file, _ in files)
        return self.engine.database.directory / "data" / f"{digest}.xyz", digest

    def write_metrics(self) -> None:
        """A plan writes nothing."""

    def _plan(self, spec: ArraySpec) -> Planned:
        engine = self.engine
        site = engine.site(engine.state.campaign.site)
        task_class = site.task_class(spec.task_class)
        validate(site, spec.task_class)
        local = site.scheduler.kind == "local"
        requests = grouped(spec, site)
        digests = _digests(spec)
        taken = len(find_finished(engine, spec.what, list(identities(spec.what, digests))))
        if spec.check is not None:
            spec.check()
        array = _pretend(engine, spec, len(digests))
        slots = slots_per_worker(engine, array, {})
        left = len(digests) - taken
        chunks = len(chunk_bounds(left, most_workers(engine, array) * slots)) - 1
        workers = min(most_workers(engine, array), -(-chunks // slots))
        for request, _ in requests:
            self._script(spec, array, workers, request)  # what cannot be asked for is said now
        return Planned(
            key=spec.key,
            task_class=spec.task_class,
            tasks=len(digests),
            taken=taken,
            workers=workers,
            slots=slots,
            node_hours=None if local else workers * task_class.nodes * task_class.walltime / 3600,
            script=self._script(spec, array, workers, {}) if left else "",
        )

    def _script(self, spec: ArraySpec, array: ArrayState, workers: int, request: dict[str, Any]) -> str:
        from hpcflow.sites.scripts import Script, render

        engine = self.engine
        path = engine.database.directory / "arrays" / array.directory
        return render(
            engine.site(engine.state.campaign.site),
            spec.task_class,
            Script(
                token="hf000dryrun0000",
                title=spec.key,
                width=workers,
                campaign=engine.campaign,
                array=path,
                archive=engine.database.directory / "code" / "DIGEST.pyz",
                log=path / "work" / "log",
                resources="r0",
                request=request,
            ),
            engine.campaign,
        )


def _digests(spec: ArraySpec) -> list[bytes]:
    from hashlib import blake2b

    if spec.inputs.items is not None:
        return list(item_digests(spec.inputs.items))
    out = []
    for path in spec.inputs.frame_files:
        for _, frame in frames(path):
            whole = frame if frame.endswith(b"\n") else frame + b"\n"
            out.append(blake2b(whole, digest_size=16).digest())
    return out


def _pretend(engine: Engine, spec: ArraySpec, count: int) -> ArrayState:
    number = max(engine.state.campaign.arrays, default=0) + 1
    return ArrayState(
        number=number,
        key=spec.key,
        name=spec.name,
        directory=directory_name(number, spec.name),
        count=count,
        task_class=spec.task_class,
        what=spec.what,
        fingerprint=spec.fingerprint,
        created=0.0,
        policy={},
    )


def make_plan(engine: Engine, configuration: Configuration) -> Plan:
    """What the next submission would do.

    Raises
    ------
    UserError
        For every mistake that a submission would meet.
    """
    from hpcflow.engine.replay import call_workflow

    session = PlanSession(engine, configuration.seed)
    stops = call_workflow(session, configuration)
    changes = [stop.why for stop in stops if isinstance(stop, Changed)]
    return Plan(session.planned, session.calls, session.more, session.renewed, changes)
