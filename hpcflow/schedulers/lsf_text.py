"""LSF in text: submitting, listing, cancelling. Pure functions on values.

Measured on volclava 2.1 and 2.2, which has the commands of LSF 7; what IBM's LSF 10 adds is taken
from its documentation. LSF counts array elements from 1, everything else here from 0. How jobs
ended is in ``lsf_endings``.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable

from . import indices
from .base import Element, Limits, State, Submission

_STATES = {
    "PEND": State.QUEUED,
    "WAIT": State.QUEUED,
    "PROV": State.QUEUED,
    "PSUSP": State.HELD,
    "RUN": State.RUNNING,
    "USUSP": State.RUNNING,  # suspended: its processes are there
    "SSUSP": State.RUNNING,
    "DONE": State.ENDED,
    "EXIT": State.ENDED,
    # UNKWN and ZOMBI: the host cannot be reached, and may come back. Nobody knows.
}
_SUBMITTED = re.compile(r"^Job <(\d+)> is submitted to ", re.MULTILINE)
_NAMED = re.compile(r"(.+)\[(\d+)\]")
_LITERAL = re.compile(r"(.+)\[\d+-\d+\](?:%\d+)?")  # volclava: one plain job, of an array that it does not take
_TITLES = ["JOBID", "USER", "STAT", "QUEUE", "FROM_HOST", "EXEC_HOST", "JOB_NAME", "SUBMIT_TIME"]
_NOTHING = re.compile(r"^No (unfinished |matching )?job found\s*$", re.MULTILINE)

_LIMIT = re.compile(r"limit.*(reached|exceeded)|Pending \w+ threshold|job slot limit", re.IGNORECASE)
# Texts of the errors: lsbatch/lib/lsb.err.c and lsf/lib/lib.err.c of volclava.
_TRANSIENT = re.compile(
    r"is down|not responding|not ready yet|authentication|Cannot (connect|contact)|temporarily|Timeout on connect"
    r"|refused by server|cannot fork|No job Id can be used|Unable to (contact|connect)|try (again|later)|Please wait"
    r"|queue (has been|is) closed",
    re.IGNORECASE,
)
# The request was sent, and the answer is what failed.
_UNCLEAR = re.compile(
    r"LSF library call|time ?d? ?out|internal error|System call failed|protocol error|XDR|Cannot allocate memory"
    r"|End of file|is not connected",
    re.IGNORECASE,
)
_UNITS = re.compile(r"^(#BSUB\b.*\brusage\[.*?\bmem=\d+)MB\b", re.MULTILINE)


def submit_arguments(submission: Submission, now: float) -> list[str]:
    """Return the arguments of bsub, which reads the script from its input.

    What stands here wins over the script's directives. The script writes its log itself: LSF would do so
    when the job has ended, and by mail if the array is done by then, and its directory gone.
    """
    name = submission.name
    if submission.width > 1:
        throttle = f"%{submission.throttle}" if submission.throttle else ""
        name += f"[1-{submission.width}]{throttle}"
    arguments = ["-J", name]
    if submission.not_before is not None and submission.not_before > now:
        # Minutes are all it knows, and one that has passed would mean next year.
        start = 60 * math.ceil((max(submission.not_before, now + 1)) / 60)
        arguments += ["-b", time.strftime("%m:%d:%H:%M", time.localtime(start))]
    return [*arguments, "-o", "/dev/null"]


def job_id(stdout: str) -> str | None:
    """Return the id that bsub reported, or None. Sites add lines of their own."""
    found = _SUBMITTED.findall(stdout)
    return found[-1] if found else None


def submit_error(text: str) -> str:
    """Return the kind of error that bsub reports: see ``SchedulerError``."""
    if _LIMIT.search(text):
        return "limit"
    if _TRANSIENT.search(text):
        return "transient"
    return "unclear" if _UNCLEAR.search(text) else "permanent"


def requirement_refused(text: str) -> bool:
    """Whether bsub did not understand what resources are asked for."""
    return "Bad resource requirement" in text


def without_units(script: str) -> str:
    """Return a script that asks for memory in bare numbers, as versions before 10.1.0.2 and volclava want it."""
    return _UNITS.sub(r"\1", script)


def listing_arguments() -> list[str]:
    """Return the arguments of bjobs for everything of this user, one line per element.

    Of all forms, this one is the same in every version. ``-w``: names are not cut.
    """
    return ["-a", "-w"]


def listing(stdout: str, stderr: str) -> list[Element]:
    """Return the elements in a reply of ``bjobs -a -w``.

    Raises
    ------
    ValueError
        If there is neither a table nor the sentence that there is no job, or a row is cut, or bjobs says that it
        could not read all of them: its table then ends before that.
    """
    lines = stdout.splitlines()
    if unreachable(stderr):
        raise ValueError(f"the reply is cut: {stderr.strip()[:200]!r}")
    if not lines and _NOTHING.search(stderr):
        return []
    titles = next((i for i, line in enumerate(lines) if line.split() == _TITLES), None)
    if titles is None or not stdout.endswith("\n"):
        raise ValueError(f"the reply has no table or is cut: {(stdout or stderr)[:200]!r}")
    return [_element(line) for line in lines[titles + 1 :] if line[:1].isdigit()]


def _element(line: str) -> Element:
    fields = line.split()
    if len(fields) < 10:  # the time is three of them
        raise ValueError(f"a row is cut: {line!r}")
    name, index = name_and_index(" ".join(fields[6:-3]))
    native = fields[2]
    return Element(fields[0], index, name, _STATES.get(native, State.UNKNOWN), native)


def name_and_index(name: str) -> tuple[str, int | None]:
    """Return the name of a job as it was asked for, and the index that LSF writes into it, counted from 0."""
    if match := _NAMED.fullmatch(name):
        return match[1], int(match[2]) - 1
    match = _LITERAL.fullmatch(name)
    return match[1] if match else name, None


def unreachable(stderr: str) -> bool:
    """Whether a question failed altogether, rather than for one of several ids."""
    return bool(
        _TRANSIENT.search(stderr) or _UNCLEAR.search(stderr) or re.search(r"^l[sb]b?_\w+:", stderr, re.MULTILINE)
    )


def cancel_argument(job: str, elements: Iterable[Element], *, whole: bool) -> str:
    """Return what to give to bkill."""
    found = [e.index + 1 for e in elements if e.index is not None]
    return job if whole or not found else f"{job}[{indices.compress(found)}]"


def kill_error(stderr: str, stdout: str) -> bool:
    """Whether bkill failed, except that there was nothing to kill any more.

    Its exit code does not tell: it is 255 when one of several elements had ended, and for
    ``Operation is in progress`` while the others are being killed.
    """
    fine = (
        *("is being terminated", "Operation is in progress", "being signaled"),
        *("already finished", "No matching job", "is not found"),
    )
    lines = [line for line in (stdout + stderr).splitlines() if line.startswith("Job <")]
    return not lines or any(not any(text in line for text in fine) for line in lines)


def limits(parameters: str) -> Limits:
    """Return the limits in ``bparams -l``. Without a number, arrays have up to 1000 elements."""
    match = re.search(r"MAX_JOB_ARRAY_SIZE\s*=\s*(\d+)", parameters)
    return Limits(array=int(match[1]) if match else 1000)
