"""Calling the Python function of an array: its inputs in, its outputs out."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Sequence
from typing import Any

from hpcflow.worker.array import Array

_PLAIN = (dict, int, float, str, bool)
_dumps = json.JSONEncoder(separators=(",", ":"), default=lambda value: _plain(value)).encode


class UnfitResult(Exception):
    """A function returned what cannot be kept."""


class Function:
    """The function of one array, imported.

    Parameters
    ----------
    array
        The array.
    """

    def __init__(self, array: Array) -> None:
        self._array = array
        self._spread = bool(array.function.get("spread"))
        self.batch = bool(array.function.get("batch"))
        """Whether it takes a list of inputs and returns a list of as many values."""
        self._function: Any = importlib.import_module(array.function["module"])
        for name in array.function["name"].split("."):
            self._function = getattr(self._function, name)

    def call(self, tasks: Sequence[int], parameters: dict[str, Any]) -> list[Any]:
        """Call it for one task, or a batch of tasks; return one value per task."""
        arguments = self._array.resolve(parameters)
        items = [self._item(task) for task in tasks]
        if not self.batch:
            return [self._function(*(items[0] if self._spread else items), **arguments)]
        values = list(self._function(items, **arguments))
        if len(values) != len(items):
            count = len(items)
            raise UnfitResult(f"the function got a batch of {count} inputs and returned {len(values)} values")
        return values

    def _item(self, task: int) -> Any:
        if not self._array.frames:
            return self._array.value(task)
        from hpcflow import structures  # needs ASE, as the function does

        return structures.parse(self._array.input(task))[0]


def encode_output(value: Any) -> tuple[dict[str, int], bytes]:
    """Return the sizes (header keys ``result`` and ``frames``) and the payload of what a function returned."""
    result, frames = _split(value)
    sizes: dict[str, int] = {}
    payload = b""
    if result is not None:
        payload = _dumps(result).encode()
        sizes["result"] = len(payload)
    if frames:
        from hpcflow import structures  # needs ASE, as the frames did

        text = structures.format(frames)
        payload += text
        sizes["frames"] = len(text)
    return sizes, payload


def _split(value: Any) -> tuple[Any, list[Any]]:
    """Return the result and the frames of what a function returned."""
    if type(value) in _PLAIN:
        return value, []
    task = sys.modules.get("hpcflow.task")  # not imported: then this is none of its objects
    if task is not None and isinstance(value, task.Output):
        return value.result, list(value.frames)
    if _is_frame(value):
        return None, [value]
    if isinstance(value, (list, tuple)) and value and all(map(_is_frame, value)):
        return None, list(value)
    return value, []


def _is_frame(value: Any) -> bool:
    return any(c.__module__ == "ase.atoms" and c.__name__ == "Atoms" for c in type(value).__mro__)


def _plain(value: Any) -> Any:
    """Turn arrays, tensors and their scalars into lists and numbers; refuse everything else."""
    if hasattr(value, "tolist"):
        return value.tolist()
    raise UnfitResult(
        f"the function returned a {type(value).__module__}.{type(value).__qualname__}, which is neither JSON "
        "nor ase.Atoms: return numbers, texts, lists and dicts of them, or frames"
    )
