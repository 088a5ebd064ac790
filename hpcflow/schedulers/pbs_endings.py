"""How jobs of PBS ended, in text: what its history says, and what that means. Pure functions on values.

JSON is not used: in OpenPBS 23.06 it can be invalid (a job called ``nan``, UTF-8 in a variable)
and the development version prints only the first of several jobs. The ``dsv`` format has neither
problem.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping

from .base import Cause, Element, Ending
from .pbs_text import ELEMENT_ID

_NOT_STARTED = range(-23, 0)  # PBS could not start it: a node's fault, or nobody's (src/include/job.h)
_WALLTIME, _MEMORY, _VIRTUAL_MEMORY = -29, -27, -26


def accounting_arguments(jobs: Iterable[str]) -> list[str]:
    """Return the arguments of qstat for whole jobs with all their elements, finished ones included."""
    return ["-x", "-t", "-f", "-F", "dsv", *sorted(set(jobs))]


def accounting(stdout: str, elements: Iterable[Element]) -> dict[tuple[str, int | None], Ending]:
    """Return what a reply in ``dsv`` format says of elements that have ended, and of arrays that were deleted.

    A record without ``array_index`` was made up by the server: of an element that was deleted while
    it waited, and, once an array is deleted, of all its elements that had ended before. Its exit
    status is the array's and says nothing. Of an array itself only that it was deleted is worth
    anything: its exit status is that of the element that ended last.
    """
    wanted = {(e.job, e.index): e for e in elements}
    found: dict[tuple[str, int | None], Ending] = {}
    for line in stdout.splitlines():
        fields = _fields(line)
        match = ELEMENT_ID.fullmatch(fields.get("Job Id", ""))
        if match is None or fields.get("job_state") not in ("E", "X", "F"):
            continue
        job = match[1] if match[2] is None else f"{match[1]}[]"
        key = (job, int(match[2]) if match[2] else None)
        element = wanted.get(key)
        if element is None or element.name != fields.get("Job_Name"):
            continue
        if match[2] is None or "array_index" in fields:
            found[key] = _ending(fields)
        elif match[2] or _deleted(fields):
            found[key] = Ending(Cause.CANCELLED, _native(fields))
    return found


def _fields(line: str) -> dict[str, str]:
    parts = re.split(r"(?<!\\)\|", line.replace("Job Id: ", "Job Id=", 1))
    pairs = (part.split("=", 1) for part in parts if "=" in part)
    return {name.strip(): value.replace("\\|", "|") for name, value in pairs}


def _ending(fields: Mapping[str, str]) -> Ending:
    comment = fields.get("comment", "")
    status = int(fields["Exit_status"]) if re.fullmatch(r"-?\d+", fields.get("Exit_status", "")) else None
    cause = Cause.FAILED
    signal = None
    if status == _WALLTIME or "exceeded resource walltime" in comment:
        cause = Cause.WALLTIME
    elif status in (_MEMORY, _VIRTUAL_MEMORY) or re.search(r"exceeded resource v?mem", comment):
        cause = Cause.OOM
    elif status is None or _deleted(fields):
        # Without a status it never ran: what it depended on failed. A job that was told to end may end with 0.
        cause = Cause.CANCELLED
    elif status == 0:
        cause = Cause.COMPLETED
    elif status in _NOT_STARTED:
        cause = Cause.NODE
    elif status > 256 and _used_up(fields):
        cause = Cause.WALLTIME  # before version 22.05 nothing else says so
    if status is not None and status > 128:
        signal = status - 256 if status > 256 else status - 128
        signal = signal if signal < 65 else None
    return Ending(
        cause=cause,
        native=_native(fields),
        exit_code=status if status is not None and 0 <= status <= 255 else None,
        signal=signal,
        nodes=fields.get("exec_host", ""),
        start=_time(fields.get("stime")),
        end=_time(fields.get("obittime") or fields.get("mtime")),
    )


def _deleted(fields: Mapping[str, str]) -> bool:
    return fields.get("substate") == "91" or bool(re.search(r"and terminated\b", fields.get("comment", "")))


def _native(fields: Mapping[str, str]) -> str:
    parts = (fields["job_state"], fields.get("substate", ""), fields.get("comment", ""))
    return " ".join(part for part in parts if part)


def _used_up(fields: Mapping[str, str]) -> bool:
    used, wanted = fields.get("resources_used.walltime"), fields.get("Resource_List.walltime")
    return bool(used and wanted) and seconds(used or "") >= seconds(wanted or "") > 0


def seconds(text: str) -> int:
    """Return the seconds in ``HH:MM:SS``, ``MM:SS`` or ``SS``; 0 if it is none of them."""
    if not re.fullmatch(r"\d+(:\d+){0,2}", text):
        return 0
    total = 0
    for part in text.split(":"):
        total = 60 * total + int(part)
    return total


def _time(text: str | None) -> float | None:
    try:
        return time.mktime(time.strptime(text or "", "%a %b %d %H:%M:%S %Y"))  # local, without a zone
    except ValueError:
        return None


def search_arguments(user: str, name: str) -> list[str]:
    """Return the arguments of qselect for jobs of a name, finished ones included."""
    return ["-x", "-u", user, "-N", name]


def no_history(stderr: str) -> bool:
    """Whether the server keeps no finished jobs (the default)."""
    return "not configured to maintain job history" in stderr
