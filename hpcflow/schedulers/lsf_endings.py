"""How jobs of LSF ended, in text: from the fields of LSF 10, or from the long form of older ones. Pure functions."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .base import Cause, Element, Ending
from .lsf_text import name_and_index

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


def accounting_arguments(jobs: Iterable[str]) -> list[str]:
    """Return the arguments of bjobs for the ends of whole jobs, as LSF 10 understands them."""
    fields = "jobid jobindex stat exit_code exit_reason exec_host start_time finish_time job_name delimiter='|'"
    return ["-a", "-noheader", "-o", fields, *sorted(set(jobs), key=int)]


def fields_refused(text: str) -> bool:
    """Whether this bjobs does not know those fields."""
    return "not a valid field name" in text or "Usage:" in text or "invalid option" in text


def accounting(stdout: str, elements: Iterable[Element]) -> dict[tuple[str, int | None], Ending]:
    """Return what a reply with these fields says of elements that have ended."""
    asked = list(elements)
    found: dict[tuple[str, int | None], Ending] = {}
    for line in stdout.splitlines():
        fields = line.split("|", 8)
        if len(fields) == 9 and fields[2] in ("DONE", "EXIT"):
            code = int(fields[3]) if fields[3].isdecimal() else None
            hosts = re.findall(r"(?:\d+\*)?([^:\s]+)", fields[5].strip("-"))
            ending = _ending(fields[2], code, fields[4], hosts, fields[6] not in ("", "-"))
            found |= _answers(asked, fields[0], fields[8], ending)
    return found


def _answers(asked: Iterable[Element], job: str, written: str, ending: Ending) -> dict[tuple[str, int | None], Ending]:
    """Return for which of the elements an ending is: for all of an array that LSF made one plain job of."""
    name, index = name_and_index(written)
    return {(e.job, e.index): ending for e in asked if (e.job, e.name) == (job, name) and index in (None, e.index)}


def long_arguments(jobs: Iterable[str]) -> list[str]:
    """Return the arguments of ``bjobs`` and ``bhist`` for everything about whole jobs."""
    return ["-l", *sorted(set(jobs), key=int)]


def history_arguments(jobs: Iterable[str]) -> list[str]:
    """Return the arguments of bhist for everything about whole jobs.

    Of the files that LSF has written its events to, it reads only the newest unless told to; a busy cluster begins
    one every thousand jobs.
    """
    return ["-n", "10", *long_arguments(jobs)]


def long_accounting(stdout: str, elements: Iterable[Element]) -> dict[tuple[str, int | None], Ending]:
    """Return what a reply of ``bjobs -l`` or ``bhist -l`` says of elements that have ended."""
    asked = list(elements)
    found: dict[tuple[str, int | None], Ending] = {}
    # Long lines are broken at a blank, which is lost, and continued behind 21 of them.
    text = re.sub(r"\n {21}", " ", stdout)
    for block in re.split(r"^Job <", text, flags=re.MULTILINE)[1:]:
        head = re.match(r"(\d+)(?:\[\d+\])?>, Job Name <(.*?)>, User <", block)
        if head is not None and (ending := _long_ending(block)) is not None:
            found |= _answers(asked, head[1], head[2], ending)
    return found


_STARTS = re.compile(r"(?:[Ss]tarted|[Dd]ispatched)\b[^<;\n]*((?:<[^>]*>[ ,]*)+)")
"""``Started on <a>``, ``[1] started on 2 Hosts/Processors <a> <b>``; LSF 10: ``Started 2 Task(s) on Host(s) <2*a>``."""


def _long_ending(block: str) -> Ending | None:
    events = block.partition("\n")[2]  # the first line holds the script: there is no telling what it says
    starts = list(_STARTS.finditer(events))
    if starts:  # a job that was put back into the queue has had other lives before
        events = events[starts[-1].end() :]
    done = re.search(r"Done successfully\.|Completed <done>", events)
    code = re.search(r"Exited with exit code (\d+)\.", events)
    signal = re.search(r"Exited by signal (\d+)\.", events)
    bare = re.search(r": Exited\b(?! (with|by))|Completed <exit>", events)
    if not (done or code or signal or bare):
        return None
    hosts = re.findall(r"<(?:\d+\*)?([^>]*)>", starts[-1][1]) if starts else []
    reason = re.search(r"\b(TERM_\w+)", events)
    number = int(code[1]) if code else 128 + int(signal[1]) if signal else None
    return _ending("DONE" if done else "EXIT", number, reason[1] if reason else "", hosts, bool(starts))


def _ending(state: str, code: int | None, reason: str, hosts: Iterable[str], started: bool) -> Ending:
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
    return Ending(cause=cause, native=native, exit_code=code, signal=signal, nodes=",".join(dict.fromkeys(hosts)))
