"""The one line of what a failed program printed that says best why it failed."""

from __future__ import annotations

import re

_RULE = re.compile(r"\s*([-=*#_+~!])\1{19,}\s*")
_WORD = re.compile(r"[^\W\d_]{3}")


def last_words(text: str) -> str:
    """Return the last line with a word in it; of a box between two rules at the end, the first one.

    Most programs say last why they end. Those that draw a box, as Open MPI does, begin it with the reason and go on
    with advice.
    """
    lines = text.splitlines()
    spoken = [number for number, line in enumerate(lines) if _WORD.search(line)]
    if not spoken:
        return next((line.strip() for line in reversed(lines) if line.strip()), "")
    chosen = spoken[-1]
    rules = [number for number, line in enumerate(lines) if _RULE.fullmatch(line)]
    if len(rules) > 1 and rules[-2] < chosen < rules[-1]:
        chosen = next(number for number in spoken if number > rules[-2])
    return lines[chosen].strip()
