"""Errors that reach a person. Everything else is a bug and may show its traceback."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(Exception):
    """Something a user can mend. The message says where, what was expected and what to type next."""

    exit_code = 2


class Busy(UserError):
    """Somebody else is running the engine of this campaign."""

    exit_code = 75  # EX_TEMPFAIL: cron and scripts may simply come again


class DamagedDatabase(UserError):
    """A file of the database is not as hpcflow wrote it."""

    exit_code = 2


MOST_NAMES = 40
"""More than these nobody reads."""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return `` Did you mean 'x'?`` or the list of known names, if it is short, to end an error message with."""
    names = sorted(str(k) for k in known)
    close = difflib.get_close_matches(str(name), names, n=1)
    if close:
        return f" Did you mean {close[0]!r}?"
    return f" Known: {', '.join(names)}." if 0 < len(names) <= MOST_NAMES else ""
