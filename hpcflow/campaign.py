"""Campaigns from Python: the workflow API in a script or notebook that waits for its results."""

from __future__ import annotations

import shutil
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

from hpcflow.database.arrays import ArraySpec
from hpcflow.database.database import Database
from hpcflow.database.results import Accepted
from hpcflow.database.state import ArrayState, Freeze
from hpcflow.engine.changes import Changed
from hpcflow.engine.engine import Engine, look, open_engine
from hpcflow.engine.session import ReplaySession
from hpcflow.engine.tick import tick
from hpcflow.errors import UserError
from hpcflow.session import NotReady
from hpcflow.sources import relative_to
from hpcflow.version import __version__
from hpcflow.workflow import Run

T = TypeVar("T")


class Campaign:
    """A campaign that a script drives itself: handles wait for their results instead of ending a replay.

    ::

        with hpcflow.Campaign("runs/x", site="local") as run:
            energies = run.map(energy, hpcflow.frames("start.xyz")).results()
            print(min(energies))

    Parameters
    ----------
    directory
        Made if it is not there.
    site
        Where tasks run.
    seed
        Of the campaign.
    interval
        Seconds between ticks while waiting; by default as the site allows.
    """

    def __init__(
        self, directory: str | Path, *, site: str = "local", seed: int = 0, interval: float | None = None
    ) -> None:
        self._directory = Path(directory)
        self._site = site
        self._seed = seed
        self._interval = interval
        self._base: Any = None
        self._session: BlockingSession | None = None

    def __enter__(self) -> Run:
        self._directory.mkdir(parents=True, exist_ok=True)
        database = Database(self._directory)
        probe = Engine(database, look(database).state if database.exists else _empty(), None, None)
        settings = probe.site(self._site)
        database.create()
        interval = self._interval
        if interval is None:
            interval = 0.1 if settings.scheduler.kind == "local" else max(5.0, settings.scheduler.min_interval)
        with open_engine(database, patience=10.0) as engine:
            if not engine.state.campaign.site:
                engine.record("campaign", version=__version__, site=self._site)
            if engine.state.campaign.site != self._site:
                engine.record("site", site=self._site)
        self._base = relative_to(Path.cwd())
        self._base.__enter__()
        self._session = BlockingSession(database, self._seed, interval)
        return Run(self._session)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._base.__exit__(kind, error, trace)
        if kind is None and self._session is not None:
            self._session._tick()  # notes what has come to its end


class Progress:
    """On a terminal: news as they come, and one line that says how far the live steps are."""

    def __init__(self) -> None:
        self._shown = False

    def update(self, engine: Engine) -> None:
        """Print what is new and write the line again."""
        if not sys.stderr.isatty():
            return
        from hpcflow.cli.table import about
        from hpcflow.engine.summary import summarize

        self.close()
        for line in engine.news:
            print(line, file=sys.stderr)
        parts = []
        for array in summarize(engine)["arrays"]:
            if array["state"] != "done":
                failed = f", {array['failed']} failed" if array["failed"] else ""
                left = f", {about(array['left_seconds'])} left" if array["left_seconds"] else ""
                done = array["succeeded"] + array["failed"]
                parts.append(f"{array['name']} {done}/{array['total']}{failed}{left}")
        width = shutil.get_terminal_size().columns - 1  # a line that wraps could not be taken back
        print("; ".join(parts)[:width], end="", file=sys.stderr, flush=True)
        self._shown = True

    def close(self) -> None:
        """Take the line away."""
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)
        self._shown = False


def _empty() -> Any:
    from hpcflow.database.state import State

    return State()


class BlockingSession:
    """Does what a replay does, taking the lock for each step and ticking while it waits."""

    blocking = True

    def __init__(self, database: Database, seed: int, interval: float) -> None:
        self._database = database
        self.campaign = database.campaign
        self.seed = seed
        self._interval = interval
        self._needs: dict[int, int] = {}
        self._metrics: dict[str, dict[str, Any]] = {}
        self._replaced = 0

    def _inside(self, ask: Callable[[ReplaySession], T]) -> T:
        """Ask something of a replay session while holding the lock."""
        with open_engine(self._database, patience=60.0) as engine:
            session = ReplaySession(engine, self.seed, accept_growth=True)
            session._metrics = self._metrics
            session.replaced = self._replaced
            try:
                return ask(session)
            except Changed as change:
                raise UserError(
                    f"{change.why}\nwith the option -C {self.campaign}, and then run the script again."
                ) from None
            except NotReady as stop:
                if not stop.arrays:
                    raise UserError(stop.why) from None
                raise
            finally:
                self._needs.update(session.needs)
                self._replaced = session.replaced

    def ensure(self, spec: ArraySpec, sources: dict[str, str]) -> ArrayState:
        array = self._inside(lambda session: session.ensure(spec, sources))
        self._tick()
        return array

    def freeze(self, read: str, array: ArrayState, min_success: float | None, minus: list[str]) -> Freeze:
        def ask(session: ReplaySession) -> Freeze:
            return session.freeze(read, session.engine.state.campaign.arrays[array.number], min_success, minus)

        return self._inside(ask)

    def read(self, array: int, tasks: Iterable[int]) -> Iterator[Accepted]:
        wanted = list(tasks)
        yield from self._inside(lambda session: list(session.read(array, wanted)))

    def frames_file(self, freeze: Freeze) -> Path:
        return self._inside(lambda session: session.frames_file(freeze))

    def joined_file(self, files: Sequence[tuple[Path, str]]) -> tuple[Path, str]:
        return self._inside(lambda session: session.joined_file(files))

    def kept_path(self, array: int, task: int, name: str) -> Path:
        return self._inside(lambda session: session.kept_path(array, task, name))

    def file_digest(self, path: Path) -> str:
        return self._inside(lambda session: session.file_digest(path))

    def run_now(self, array: ArrayState) -> ArrayState:
        def ask(session: ReplaySession) -> ArrayState:
            return session.run_now(session.engine.state.campaign.arrays[array.number])

        return self._inside(ask)

    def wait(self, arrays: Sequence[int]) -> None:
        """Tick until the arrays let their readers go on."""
        progress = Progress()
        while True:
            engine = self._tick()
            campaign = engine.state.campaign
            progress.update(engine)
            if all(
                campaign.arrays[n].done or campaign.arrays[n].succeeded >= self._needs.get(n, campaign.arrays[n].count)
                for n in arrays
            ):
                progress.close()
                return
            held = [campaign.arrays[n] for n in arrays if campaign.arrays[n].hold]
            if held or campaign.attention:
                reasons = [*campaign.attention.values(), *(f"{a.key} is held: {a.hold}" for a in held)]
                progress.close()
                raise UserError("\n".join(dict.fromkeys(reasons)))
            time.sleep(self._interval)

    def _tick(self) -> Engine:
        with open_engine(self._database, patience=60.0) as engine:
            # The script is the workflow: there is nothing to replay.
            if engine.state.campaign.waiting is None:
                engine.state.campaign.waiting = {}
            tick(engine)
        return engine

    def metrics(self, key: str, values: dict[str, Any]) -> None:
        def ask(session: ReplaySession) -> None:
            session.metrics(key, values)
            session.write_metrics()

        self._inside(ask)
