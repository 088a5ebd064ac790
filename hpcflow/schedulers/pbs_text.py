"""PBS Pro and OpenPBS in text: command lines and what its programs print. Pure functions on values.

Measured on OpenPBS 23.06.06 and the development version of April 2026 unless a comment says
otherwise. JSON is not used: in 23.06 it can be invalid (a job called ``nan``, UTF-8 in a
variable) and the development version prints only the first of several jobs. The ``dsv`` format
has neither problem.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable, Mapping

from . import indices
from .base import Cause, Element, Ending, Limits, State, Submission

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
_NEVER = re.compile(r"Can Never Run|held|hold", re.IGNORECASE)

_JOB_ID = re.compile(r"(\d+(?:\[\])?)(?:\.\S+)?")
_ELEMENT_ID = re.compile(r"(\d+)(?:\[(\d*)\])?(?:\.\S*)?")
_COLUMNS = re.compile(r"-+(?: +-+){9,}")

_UNCLEAR = re.compile(r"timed? ?out|End of File|Premature end|Protocol|Connection reset|15031|15033")
_TRANSIENT = re.compile(
    r"cannot connect|Connection refused|shutting down|No Permission to connect|Resource temporarily"
)
_LIMIT = re.compile(r"would exceed|Maximum number of jobs|per-user limit|exceeds? .*limit on (number of )?jobs", re.I)

_NOT_STARTED = range(-20, 0)  # PBS could not start it: a node's fault, or nobody's
_WALLTIME, _CPU_TIME, _MEMORY, _VIRTUAL_MEMORY = -29, -28, -27, -26


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
    output = "/dev/null"
    if submission.log is not None:
        # The files of elements are copied when they end: one name would leave only the last.
        name = f"{submission.name}.^array_index^.out" if width > 1 else f"{submission.name}.out"
        output = str(submission.log.absolute() / name)
    return [*arguments, "-o", output, str(submission.script.absolute())]


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
    """Return the arguments of qstat for everything of one user, one line per element."""
    # -w: wide columns; -s: with the scheduler's comment, without which -w is refused by some.
    return ["-t", "-w", "-s", "-u", user]


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
    match = _ELEMENT_ID.fullmatch(identity)
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
    waits = state in (State.QUEUED, State.HELD)
    return Element(element.job, element.index, element.name, state, element.native, comment if waits else "")


def accounting_arguments(jobs: Iterable[str]) -> list[str]:
    """Return the arguments of qstat for whole jobs with all their elements, finished ones included."""
    return ["-x", "-t", "-f", "-F", "dsv", *sorted(set(jobs))]


def accounting(stdout: str, elements: Iterable[Element]) -> dict[tuple[str, int | None], Ending]:
    """Return what a reply in ``dsv`` format says of elements that have ended.

    A record that the server made up (an element that was deleted while it waited, or is no
    longer stored) carries the exit status of its array; it has no ``array_index``, and says
    nothing. Deleting an array even turns the records of elements that had ended well into such.
    """
    wanted = {(e.job, e.index): e for e in elements}
    found: dict[tuple[str, int | None], Ending] = {}
    for line in stdout.splitlines():
        fields = _fields(line)
        match = _ELEMENT_ID.fullmatch(fields.get("Job Id", ""))
        if match is None or fields.get("job_state") not in ("E", "X", "F"):
            continue
        key = (match[1], None) if match[2] is None else (f"{match[1]}[]", int(match[2] or -1))
        # (the array itself has an id without an index: of it nobody asked)
        element = wanted.get(key)
        if element is None or element.name != fields.get("Job_Name"):
            continue
        if key[1] is None or "array_index" in fields:
            found[key] = _ending(fields)
    return found


def _fields(line: str) -> dict[str, str]:
    parts = re.split(r"(?<!\\)\|", line.replace("Job Id: ", "Job Id=", 1))
    pairs = (part.split("=", 1) for part in parts if "=" in part)
    return {name.strip(): value.replace("\\|", "|") for name, value in pairs}


def _ending(fields: Mapping[str, str]) -> Ending:
    comment = fields.get("comment", "")
    status = int(fields["Exit_status"]) if re.fullmatch(r"-?\d+", fields.get("Exit_status", "")) else None
    deleted = fields.get("substate") == "91" or "terminated by" in comment
    cause = Cause.FAILED
    signal = None
    if status is None:
        # It never ran: deleted while it waited, or what it depended on failed.
        cause = Cause.CANCELLED
    elif status == 0:
        cause = Cause.COMPLETED
    elif status == _WALLTIME or "exceeded resource walltime" in comment:
        cause = Cause.WALLTIME
    elif status in (_MEMORY, _VIRTUAL_MEMORY) or re.search(r"exceeded resource v?mem", comment):
        cause = Cause.OOM
    elif status == _CPU_TIME:
        cause = Cause.FAILED
    elif deleted:
        cause = Cause.CANCELLED
    elif status in _NOT_STARTED:
        cause = Cause.NODE
    elif status > 256 and _used_up(fields):
        cause = Cause.WALLTIME  # before version 22.05 nothing else says so
    if status is not None and status > 128:
        signal = status - 256 if status > 256 else status - 128
        signal = signal if signal < 65 else None
    return Ending(
        cause=cause,
        native=" ".join(part for part in (fields["job_state"], fields.get("substate", ""), comment) if part),
        exit_code=status if status is not None and 0 <= status <= 255 else None,
        signal=signal,
        nodes=fields.get("exec_host", ""),
        start=_time(fields.get("stime")),
        end=_time(fields.get("obittime") or fields.get("mtime")),
    )


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


def no_history(stderr: str) -> bool:
    """Whether the server keeps no finished jobs (the default)."""
    return "not configured to maintain job history" in stderr


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
    known = dict(re.findall(r"\[u:([^=\]]+)=(\d+)\]", match[1])) if match else {}
    number = known.get(user, known.get("PBS_GENERIC"))
    return int(number) if number else None
