"""What of a wish to cancel is still true."""

from __future__ import annotations

from collections.abc import Iterable

from .base import Element, State


def cancel_targets(elements: Iterable[Element], live: Iterable[Element]) -> dict[str, list[Element]]:
    """Return, by job, the living elements that are asked to end, where id and name both agree.

    Parameters
    ----------
    elements
        What is to end; ``index`` None stands for the whole job.
    live
        A listing of this moment.
    """
    asked: dict[tuple[str, str], list[int | None]] = {}
    for element in elements:
        asked.setdefault((element.job, element.name), []).append(element.index)
    found: dict[str, list[Element]] = {}
    for element in live:
        wanted = asked.get((element.job, element.name), [])
        if element.state is not State.ENDED and (None in wanted or element.index in wanted):
            found.setdefault(element.job, []).append(element)
    return found
