"""hpcflow: campaigns of quantum reference calculations, training and sampling on batch systems."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hpcflow.campaign import Campaign as Campaign
    from hpcflow.sources import Structures as Structures
    from hpcflow.sources import concat as concat
    from hpcflow.sources import files as files
    from hpcflow.sources import frames as frames
    from hpcflow.sources import rows as rows
    from hpcflow.task import Output as Output
    from hpcflow.task import Unconverged as Unconverged
    from hpcflow.task import Unfinished as Unfinished
    from hpcflow.task import task as task
    from hpcflow.workflow import Run as Run

# Names are imported when first used: `import hpcflow` on a bare node must cost nothing.
_HOMES = {
    "Campaign": "hpcflow.campaign",
    "Output": "hpcflow.task",
    "Unconverged": "hpcflow.task",
    "Unfinished": "hpcflow.task",
    "task": "hpcflow.task",
    "Run": "hpcflow.workflow",
    "Structures": "hpcflow.sources",
    "concat": "hpcflow.sources",
    "files": "hpcflow.sources",
    "frames": "hpcflow.sources",
    "rows": "hpcflow.sources",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'hpcflow' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
