"""LSF in text: command lines and what its programs print. Pure functions on values.

Measured on volclava 2.1 and 2.2, which has the commands of LSF 7; what IBM's LSF 10 adds is taken
from its documentation. LSF counts array elements from 1, everything else here from 0.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterable

from . import indices
from .base import Cause, Element, Ending, Limits, State, Submission

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
_REASONS = {
    "TERM_RUNLIMIT": Cause.WALLTIME,
    "TERM_DEADLINE": Cause.WALLTIME,
    "TERM_WINDOW": Cause.WALLTIME,
    "TERM_MEMLIMIT": Cause.OOM,
    "TERM_SWAP": Cause.OOM,
    "TERM_PREEMPT": Cause.PREEMPTED,
    "TERM_REQUEUE_OWNER": Cause.PREEMPTED,
    "TERM_REQUEUE_ADMIN": Cause.PREEMPTED,
    "TERM_LOAD": Cause.PREEMPTED,
    "TERM_OWNER": Cause.CANCELLED,
    "TERM_FORCE_OWNER": Cause.CANCELLED,
    "TERM_ADMIN": Cause.CANCELLED,
    "TERM_FORCE_ADMIN": Cause.CANCELLED,
    "TERM_RMSUNKWN": Cause.NODE,
    "TERM_ZOMBIE": Cause.NODE,
}
_RUN_LIMIT_EXIT = 140  # 128 + SIGUSR2, which LSF sends when the run time is over
_KILLED_EXIT = 130  # 128 + SIGINT, the first signal of bkill

_SUBMITTED = re.compile(r"^Job <(\d+)> is submitted to ", re.MULTILINE)
_NAMED = re.compile(r"(.+)\[(\d+)\]")
_LITERAL = re.compile(r"(.+)\[\d+-\d+\](?:%\d+)?")
_TITLES = ["JOBID", "USER", "STAT", "QUEUE", "FROM_HOST", "EXEC_HOST", "JOB_NAME", "SUBMIT_TIME"]
_NOTHING = re.compile(r"^No (unfinished |matching )?job found$", re.MULTILINE)
_WAITING = re.compile(r"^.*(not responding|still trying|Please wait).*\n?", re.MULTILINE)

_LIMIT = re.compile(r"limit.*(reached|exceeded)|Pending job threshold|job slot limit", re.IGNORECASE)
_TRANSIENT = re.compile(
    r"is down|not responding|Cannot (connect|contact)|temporarily|timed? ?out|LSF daemon|Failed in an LSF library"
    r"|Unable to (contact|connect)|try again",
    re.IGNORECASE,
)


def submit_arguments(submission: Submission, now: float) -> list[str]:
    """Return the arguments of bsub, which reads the script from its input.

    What stands here wins over the script's directives. The output path is relative to the
    directory bsub runs in, since ``%`` means something in it.
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
    output = "/dev/null" if submission.log is None else f"{submission.name}.out"
    return [*arguments, "-o", output]


def job_id(stdout: str) -> str | None:
    """Return the id that bsub reported, or None. Sites add lines of their own."""
    found = _SUBMITTED.findall(stdout)
    return found[-1] if found else None


def submit_error(text: str) -> str:
    """Return the kind of error that bsub reports: see ``SchedulerError``."""
    if _LIMIT.search(text):
        return "limit"
    if "Job not submitted" in text and not _TRANSIENT.search(text):
        return "permanent"
    return "transient" if _TRANSIENT.search(text) else "permanent"


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
        If there is neither a table nor the sentence that there is no job, or a row is cut.
    """
    lines = stdout.splitlines()
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
    name = " ".join(fields[6:-3])
    native = fields[2]
    # The index stands only in the name. And volclava makes one plain job, with the brackets in
    # its name, of an array that is too large.
    index = None
    if match := _NAMED.fullmatch(name):
        name, index = match[1], int(match[2]) - 1
    elif match := _LITERAL.fullmatch(name):
        name = match[1]
    return Element(fields[0], index, name, _STATES.get(native, State.UNKNOWN), native)


def accounting_arguments(jobs: Iterable[str]) -> list[str]:
    """Return the arguments of bjobs for the ends of whole jobs, as LSF 10 understands them."""
    fields = "jobid jobindex stat exit_code exit_reason exec_host start_time finish_time job_name delimiter='|'"
    return ["-a", "-noheader", "-o", fields, *sorted(set(jobs), key=int)]


def fields_refused(text: str) -> bool:
    """Whether this bjobs does not know those fields."""
    return "not a valid field name" in text or "Usage:" in text or "invalid option" in text


def accounting(stdout: str, elements: Iterable[Element]) -> dict[tuple[str, int | None], Ending]:
    """Return what a reply with these fields says of elements that have ended."""
    wanted = {(e.job, e.index): e for e in elements}
    found = {}
    for line in stdout.splitlines():
        fields = line.split("|", 8)
        if len(fields) < 9 or fields[2] not in ("DONE", "EXIT"):
            continue
        number = int(fields[1]) if fields[1].isdecimal() else 0
        key = (fields[0], number - 1 if number else None)
        name = fields[8].removesuffix(f"[{number}]")
        if key in wanted and wanted[key].name == name:
            code = int(fields[3]) if fields[3].isdecimal() else None
            found[key] = _ending(fields[2], code, fields[4], fields[5], fields[6] not in ("", "-"))
    return found


def long_arguments(jobs: Iterable[str]) -> list[str]:
    """Return the arguments of ``bjobs`` and ``bhist`` for everything about whole jobs."""
    return ["-l", *sorted(set(jobs), key=int)]


def long_accounting(stdout: str, elements: Iterable[Element]) -> dict[tuple[str, int | None], Ending]:
    """Return what a reply of ``bjobs -l`` or ``bhist -l`` says of elements that have ended."""
    wanted = {(e.job, e.index): e for e in elements}
    found = {}
    # Long lines are continued on the next, behind 21 blanks.
    text = re.sub(r"\n {21}", "", stdout)
    for block in re.split(r"^Job <", text, flags=re.MULTILINE)[1:]:
        head = re.match(r"(\d+)(?:\[(\d+)\])?>, Job Name <(.*?)>, User <", block, re.DOTALL)
        if head is None:
            continue
        key = (head[1], int(head[2]) - 1 if head[2] else None)
        name = head[3].removesuffix(f"[{head[2]}]")
        if key not in wanted or wanted[key].name != name:
            continue
        ending = _long_ending(block)
        if ending is not None:
            found[key] = ending
    return found


def _long_ending(block: str) -> Ending | None:
    events = block.partition("\n")[2]  # the first line holds the script: there is no telling what it says
    done = re.search(r"Done successfully\.|Completed <done>", events)
    code = re.search(r"Exited with exit code (\d+)\.", events)
    signal = re.search(r"Exited by signal (\d+)\.", events)
    bare = re.search(r": Exited\b(?! (with|by))|Completed <exit>", events)
    if not (done or code or signal or bare):
        return None
    host = re.search(r"(?:[Ss]tarted on|Dispatched to) <([^>]*)>", events)
    reason = re.search(r"\b(TERM_\w+)", events)
    number = int(code[1]) if code else 128 + int(signal[1]) if signal else None
    state = "DONE" if done else "EXIT"
    return _ending(state, number, reason[1] if reason else "", host[1] if host else "", host is not None)


def _ending(state: str, code: int | None, reason: str, host: str, started: bool) -> Ending:
    words = re.search(r"TERM_\w+", reason)
    cause = _REASONS.get(words[0], Cause.FAILED) if words else Cause.FAILED
    if state == "DONE":
        cause, code = Cause.COMPLETED, 0
    elif cause is Cause.FAILED and not words:
        if code == _RUN_LIMIT_EXIT:
            cause = Cause.WALLTIME
        elif code == _KILLED_EXIT or (not code and not started):
            cause = Cause.CANCELLED
    signal = code - 128 if code is not None and 128 < code < 193 else None
    native = " ".join(part for part in (state, reason.strip(" -;")) if part)
    return Ending(cause=cause, native=native, exit_code=code, signal=signal, nodes=host.strip("-"))


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


def hung(stderr: str) -> bool:
    """Whether the client waited for a daemon that is away."""
    return bool(_WAITING.search(stderr))


def limits(parameters: str) -> Limits:
    """Return the limits in ``bparams -l``. Without a number, arrays have up to 1000 elements."""
    match = re.search(r"MAX_JOB_ARRAY_SIZE\s*=\s*(\d+)", parameters)
    return Limits(array=int(match[1]) if match else 1000)
