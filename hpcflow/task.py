"""What a task function may use: the ``task`` marker, ``Output`` and the two outcomes it may raise.

Everything here also works inside a worker on a bare node: standard library only, Python 3.9.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


class Output:
    """What a task returns if it has more to say than one JSON value or some frames.

    Parameters
    ----------
    result
        Any JSON value.
    frames
        ``ase.Atoms`` objects; energies in eV, forces in eV/Å, stress in eV/Å³.
    """

    def __init__(self, result: Any = None, frames: Iterable[Any] = ()) -> None:
        self.result = result
        self.frames = list(frames)


class Unfinished(Exception):
    """The task stopped at a checkpoint and can go on from there; this is no failure."""

    hpcflow_state = "unfinished"


class Unconverged(Exception):
    """The calculation ended without converging; the next rung of the class's ladder may help."""

    hpcflow_reason = "unconverged"


def task(
    version: str | int | None = None,
    *,
    keep: Iterable[str] = (),
    checkpoint: bool = False,
    batch: bool = False,
    check: Callable[[Callable[[], Mapping[str, str]], Mapping[str, Any]], None] | None = None,
) -> Callable[[F], F]:
    """Mark a function as a task and say how it wants to be run. The function stays as it is.

    Parameters
    ----------
    version
        Part of the identity of its tasks. Without one, the digest of the source text is used,
        so that an edit makes new tasks; with one, only a new version does.
    keep
        Names or patterns of the files to keep from the working directory of a finished task.
    checkpoint
        Give every attempt a working directory that starts as a copy of the one before it, so
        that a task can go on where the last attempt wrote its checkpoint.
    batch
        The function takes a list of inputs and returns a list of as many outputs.
    check
        Called before an array of frames is submitted, to raise ``hpcflow.errors.UserError`` where its tasks would all
        fail: with a function that returns the elements of the frames, each with the place of the first frame that has
        it (it reads all of them), and with the parameters of the function.
    """

    def mark(function: F) -> F:
        function.__hpcflow__ = {  # type: ignore[attr-defined]
            "version": None if version is None else str(version),
            "keep": list(keep),
            "checkpoint": checkpoint,
            "batch": batch,
            "check": check,
        }
        return function

    return mark
