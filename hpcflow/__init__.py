"""hpcflow: campaigns of quantum reference calculations, training and sampling on batch systems."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hpcflow.campaign import Campaign as Campaign
    from hpcflow.task import Output as Output
    from hpcflow.task import Unconverged as Unconverged
    from hpcflow.task import Unfinished as Unfinished
    from hpcflow.task import task as task
    from hpcflow.workflow import Run as Run
    from hpcflow.workflow import Structures as Structures
    from hpcflow.workflow import concat as concat
    from hpcflow.workflow import files as files
    from hpcflow.workflow import frames as frames
    from hpcflow.workflow import rows as rows

# Names are imported when first used: `import hpcflow` on a bare node must cost nothing.
_HOMES = {
    "Campaign": "hpcflow.campaign",
    "Output": "hpcflow.task",
    "Unconverged": "hpcflow.task",
    "Unfinished": "hpcflow.task",
    "task": "hpcflow.task",
    "Run": "hpcflow.workflow",
    "Structures": "hpcflow.workflow",
    "concat": "hpcflow.workflow",
    "files": "hpcflow.workflow",
    "frames": "hpcflow.workflow",
    "rows": "hpcflow.workflow",
}
__all__ = sorted(_HOMES)


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'hpcflow' has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(_HOMES[name]), name)
