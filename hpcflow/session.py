"""What a workflow needs of whoever executes it: a replay inside a tick, a plan, or a blocking script."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from hpcflow.database.arrays import ArraySpec
    from hpcflow.database.results import Accepted
    from hpcflow.database.state import ArrayState, Freeze


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

    def joined_file(self, files: Sequence[tuple[Path, str]]) -> tuple[Path, str]: ...

    def kept_path(self, array: int, task: int, name: str) -> Path: ...

    def file_digest(self, path: Path) -> str: ...

    def run_now(self, array: ArrayState) -> ArrayState: ...

    def wait(self, arrays: Sequence[int]) -> None: ...

    def metrics(self, key: str, values: dict[str, Any]) -> None: ...
