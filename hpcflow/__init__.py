"""hpcflow: campaigns of quantum reference calculations, training and sampling on batch systems."""

from __future__ import annotations

from typing import TYPE_CHECKING

# At once, and not when first used: importing the module hpcflow.task later would put it in the place of its function.
from hpcflow.task import Output as Output
from hpcflow.task import Unconverged as Unconverged
from hpcflow.task import Unfinished as Unfinished
from hpcflow.task import task as task

if TYPE_CHECKING:
    from hpcflow.campaign import Campaign as Campaign
    from hpcflow.sources import Structures as Structures
    from hpcflow.sources import concat as concat
    from hpcflow.sources import files as files
    from hpcflow.sources import frames as frames
    from hpcflow.sources import rows as rows
    from hpcflow.workflow import Run as Run

# The others are imported when first used: `import hpcflow` on a bare node must cost nothing.
_HOMES = {
    "Campaign": "hpcflow.campaign",
    "Run": "hpcflow.workflow",
    "Structures": "hpcflow.sources",
    "concat": "hpcflow.sources",
    "files": "hpcflow.sources",
    "frames": "hpcflow.sources",
    "rows": "hpcflow.sources",
}
__all__ = sorted([*_HOMES, "Output", "Unconverged", "Unfinished", "task"])


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'hpcflow' has no attribute {name!r}")
    from importlib import import_module

    try:
        return getattr(import_module(_HOMES[name]), name)
    except ModuleNotFoundError as error:
        from hpcflow.elsewhere import stand_in

        return stand_in(name, error, __file__)
