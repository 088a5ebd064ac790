"""PBS Pro and OpenPBS in text: submitting, listing, cancelling. Pure functions on values.

Measured on OpenPBS 23.06.06 and the development version of April 2026, or read in its source
where a comment says so. How jobs ended is in ``pbs_endings``.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable
from dataclasses import replace

from . import indices
from .base import Element, Limits, State, Submission

_STATES = {
    "Q": State.QUEUED,
    "W": State.QUEUED,  # waits for its time
    "T": State.QUEUED,  # on its way to another server
    "H": State.HELD,
    "R": State.RUNNING,
    "E": State.RUNNING,
    "S": State.RUNNING,  # suspended: its processes are there
    "U": State.RUNNING,
    "B": State.RUNNING,  # an array of which something has started
    "X": State.ENDED,
    "F": State.ENDED,
}
_NEVER = re.compile(r"Can Never Run|\bheld\b", re.IGNORECASE)

_JOB_ID = re.compile(r"(\d+(?:\[\])?)(?:\.\S+)?")
ELEMENT_ID = re.compile(r"(\d+)(?:\[(\d*)\])?(?:\.\S*)?")
_COLUMNS = re.compile(r"-+(?: +-+){9,}")

# Texts of the errors: src/lib/Liblog/pbs_messages.c.
_UNCLEAR = re.compile(
    r"timed? ?out|End of File|Premature end|protocol|Connection reset|internal error|System error|Error \(?15\d{3}",
    re.IGNORECASE,
)
_TRANSIENT = re.compile(
    r"cannot connect|Connection refused|shutting down|No Permission to connect|Resource temporarily"
    r"|No free connections|connection table full|Queue is not enabled|(Invalid|Expired) credential|Failed to save"
    r"|Retry to submit",
    re.IGNORECASE,
)
# "exceed limit on resource" is about what all jobs of a user ask for together.
# An array that is too large for its queue is submitted in parts.
_LIMIT = re.compile(r"would exceed|Maximum number of jobs|per-user limit|Array job exceeds", re.IGNORECASE)


def submit_arguments(submission: Submission, width: int, *, throttle: bool, now: float) -> list[str]:
    """Return the arguments of qsub. What stands here wins over the script's directives.

    A width of one must be a plain job: PBS takes no array of one element.
    """
    arguments = ["-N", submission.name, "-j", "oe"]
    if width > 1:
        # %0 would be accepted, and never run anything.
        suffix = f"%{submission.throttle}" if throttle and submission.throttle else ""
        arguments += ["-J", f"0-{width - 1}{suffix}"]
    if submission.not_before is not None and submission.not_before > now:
        arguments += ["-a", time.strftime("%Y%m%d%H%M.%S", time.localtime(math.ceil(submission.not_before)))]
    # The script writes its log itself: PBS would copy it when the job has ended, and complain by mail if the array is
    # done by then, and its directory gone (src/resmom/stage_func.c).
    return [*arguments, "-o", "/dev/null", str(submission.script.absolute())]


def job_id(stdout: str) -> str | None:
    """Return the id that qsub printed, ``123`` or ``123[]``, or None.

    The server's name is left out: it may be longer than the columns of a listing.
    """
    for line in reversed(stdout.splitlines()):
        if match := _JOB_ID.fullmatch(line.strip()):
            return match[1]
    return None


def submit_error(text: str) -> str:
    """Return the kind of error that qsub reports: see ``SchedulerError``."""
    if _TRANSIENT.search(text):
        return "transient"
    if _UNCLEAR.search(text):
        return "unclear"
    return "limit" if _LIMIT.search(text) else "permanent"


def throttle_refused(text: str) -> bool:
    """Whether this PBS does not know ``%N`` in ``-J`` (PBS Pro up to 20)."""
    return "illegal -J value" in text


def listing_arguments(user: str) -> list[str]:
    """Return the arguments of qstat for everything of one user, one line per element.

    Finished elements of arrays that go on are among them, the arrays themselves are not: with
    ``-u`` the server selects, and selects elements instead (src/server/req_select.c).
    """
    # -w: wide columns; -s: with the scheduler's comment, without which -w is refused by some.
    return ["-t", "-w", "-s", "-u", user]


def array_arguments(user: str) -> list[str]:
    """Return the arguments of qstat for the arrays of one user, without their elements."""
    return ["-J", "-w", "-s", "-u", user]


def without_arrays(rows: Iterable[Element]) -> tuple[list[Element], list[Element]]:
    """Return elements and plain jobs, and apart from them the arrays.

    A qstat that answers from a cache (NCAR's qstat-cache, src/qscache) lists arrays too.
    """
    elements: list[Element] = []
    arrays: list[Element] = []
    for row in rows:
        (arrays if row.index is None and row.job.endswith("[]") else elements).append(row)
    return elements, arrays


def may_be_held(elements: Iterable[Element]) -> bool:
    """Whether an array among these may be held, which the state of its elements never says.

    All of it waits then, and the scheduler has not said why.
    """
    doubtful: dict[str, bool] = {}
    for element in elements:
        if element.index is not None:
            waits = element.state is State.QUEUED and not element.reason
            doubtful[element.job] = doubtful.get(element.job, True) and waits
    return any(doubtful.values())


def with_held(elements: Iterable[Element], arrays: Iterable[Element]) -> list[Element]:
    """Return the elements, queued ones as held where their array is."""
    held = {(array.job, array.name): array for array in arrays if array.state is State.HELD}
    return [
        replace(element, state=State.HELD, native="H", reason=held[element.job, element.name].reason)
        if element.state is State.QUEUED and (element.job, element.name) in held
        else element
        for element in elements
    ]


def complains(stderr: str) -> bool:
    """Whether qstat itself said something, and not only a banner of the site."""
    return any(line.startswith(("qstat:", "usage:", "pbs_iff:")) for line in stderr.splitlines()) or unreachable(stderr)


def listing(stdout: str) -> list[Element]:
    """Return the elements in a reply of ``qstat -t -w -s -u USER``; an empty reply is an empty queue.

    Raises
    ------
    ValueError
        If there is text without the line that says how wide the columns are, or a row is cut.
    """
    elements: list[Element] = []
    columns: list[slice] = []
    for line in stdout.splitlines():
        if _COLUMNS.fullmatch(line.strip()):
            columns = [slice(*match.span()) for match in re.finditer("-+", line)]
        elif columns and line[:1].isdigit():
            elements.append(_element(line, columns))
        elif columns and elements and line.startswith("   ") and line.strip() not in ("", "--"):
            elements[-1] = _commented(elements[-1], line.strip())
    if not stdout.strip():
        return []
    if not columns or not stdout.endswith("\n"):
        raise ValueError(f"the reply has no table or is cut: {stdout[:200]!r}")
    return elements


def _element(line: str, columns: list[slice]) -> Element:
    identity, name = line[columns[0]].strip(), line[columns[3]].strip()
    match = ELEMENT_ID.fullmatch(identity)
    rest = line[columns[4].start :].split()  # session, nodes, tasks, memory, time, state, time
    if match is None or len(rest) < 6 or len(rest[5]) != 1:
        raise ValueError(f"a row is cut or unknown: {line!r}")
    job = match[1] if match[2] is None else f"{match[1]}[]"
    native = rest[5]
    return Element(job, int(match[2]) if match[2] else None, name, _STATES.get(native, State.UNKNOWN), native)


def _commented(element: Element, comment: str) -> Element:
    state = element.state
    if state is State.QUEUED and _NEVER.search(comment):
        state = State.HELD
    return replace(element, state=state, reason=comment if state in (State.QUEUED, State.HELD) else "")


def unreachable(stderr: str) -> bool:
    """Whether a query failed altogether, rather than for one of several ids."""
    return bool(_TRANSIENT.search(stderr) or _UNCLEAR.search(stderr) or "usage:" in stderr)


def cancel_ids(job: str, elements: Iterable[Element], *, whole: bool) -> list[str]:
    """Return what to give to qdel, each in a call of its own.

    Ranges and not the array as a whole where single elements are meant; and never a list of ids:
    the development version aborts on some.
    """
    found = [e.index for e in elements if e.index is not None]
    if whole or not found:
        return [job]
    number = job.removesuffix("[]")
    return [f"{number}[{part}]" for part in indices.compress(found).split(",")]


def delete_error(stderr: str) -> bool:
    """Whether qdel failed, except that there was nothing to delete any more."""
    gone = ("Unknown Job Id", "has finished", "Request invalid for", "already terminating")
    return any(line.strip() and not any(text in line for text in gone) for line in stderr.splitlines())


def limits(server: str, user: str) -> Limits:
    """Return the limits in ``qstat -B -f``. Without a number, arrays have up to 10000 elements."""
    array = re.search(r"max_array_size = (\d+)", server)
    return Limits(
        submit=_limit(server, "max_queued", user),
        running=_limit(server, "max_run", user),
        array=int(array[1]) if array else 10000,
    )


def _limit(server: str, name: str, user: str) -> int | None:
    match = re.search(rf"^\s*{name} = (.*(?:\n\t.*)*)", server, re.MULTILINE)
    return user_limit(match[1], user) if match else None


def user_limit(value: str, user: str) -> int | None:
    """Return what a limit such as ``[u:PBS_GENERIC=10],[u:ada=20]`` is for a user."""
    known = dict(re.findall(r"\[u:([^=\]]+)=(\d+)\]", value))
    number = known.get(user, known.get("PBS_GENERIC"))
    return int(number) if number else None
