"""Names of hpcflow that a node may lack: those of who drives a campaign, not of who runs its tasks.

A node needs Python and the packages of its tasks. ``flow.py`` holds the workflow beside the tasks, and its
``def flow(run: hf.Run)`` must not be what keeps a task from being imported where hpcflow's own packages are missing.
"""

from __future__ import annotations

from typing import Any


class Elsewhere:
    """Stands for such a name: it can be mentioned in a module, and does nothing."""

    def __init__(self, name: str, missing: str) -> None:
        self._what = f"hpcflow.{name} (of no use in a task, and not here: there is no module {missing})"

    def __repr__(self) -> str:
        return self._what

    def __call__(self, *_: Any, **__: Any) -> Elsewhere:
        return self

    def __or__(self, _: Any) -> Elsewhere:
        return self

    __ror__ = __getitem__ = __or__


def stand_in(name: str, error: ModuleNotFoundError, package: str) -> Elsewhere:
    """Return what stands for a name in a worker's code archive; anywhere else the module is really missed."""
    if ".pyz" not in package or (error.name or "").startswith("hpcflow"):
        raise error
    return Elsewhere(name, str(error.name))
