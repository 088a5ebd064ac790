"""Slurm in text: command lines and what its programs print. Pure functions on values.

Measured on Slurm 22.05.8 unless a comment says otherwise; error texts from Slurm's own table.
"""

from __future__ import annotations

import dataclasses
import datetime
import math
import re
from collections.abc import Iterable, Mapping, Sequence

from . import indices, slurm_reasons
from .base import Cause, Element, Ending, Limits, State, Submission

LISTING_FORMAT = "%F|%K|%T|%r|%j|.%N"
"""Whole job, index, state, reason, name, nodes after a mark that the name is complete: a job's name
may hold bars and newlines."""

ACCOUNTING_FIELDS = ("JobID", "Cluster", "State", "ExitCode", "NodeList", "Start", "End", "JobName")

_QUEUED = "PENDING CONFIGURING EXPEDITING REQUEUED REQUEUE_FED POWER_UP_NODE"
_HELD = "REQUEUE_HOLD SPECIAL_EXIT RESV_DEL_HOLD"
_RUNNING = "RUNNING COMPLETING SUSPENDED STOPPED SIGNALING STAGE_OUT RESIZING"
_CAUSES = {
    "COMPLETED": Cause.COMPLETED,
    "FAILED": Cause.FAILED,
    "TIMEOUT": Cause.WALLTIME,
    "OUT_OF_MEMORY": Cause.OOM,
    "NODE_FAIL": Cause.NODE,
    "BOOT_FAIL": Cause.NODE,
    "LAUNCH_FAILED": Cause.NODE,
    "RECONFIG_FAIL": Cause.NODE,
    "PREEMPTED": Cause.PREEMPTED,
    "REQUEUED": Cause.PREEMPTED,  # only in accounting: an earlier life of an element
    "CANCELLED": Cause.CANCELLED,
    "REVOKED": Cause.CANCELLED,
    "DEADLINE": Cause.CANCELLED,
}
_STATES = {
    **dict.fromkeys(_CAUSES, State.ENDED),
    **dict.fromkeys(_QUEUED.split(), State.QUEUED),
    **dict.fromkeys(_HELD.split(), State.HELD),
    **dict.fromkeys(_RUNNING.split(), State.RUNNING),
}
# Reasons for which a pending job waits until a person does something, or for ever.
_NEVER = re.compile(
    r"JobHeld|held state|requeued held|DependencyNeverSatisfied|BadConstraints"
    r"|Partition(Time|Node)Limit|PartitionConfig|NotAllowed|Invalid(Account|QOS)"
    r"|(QOS|Assoc)M(ax|in)\w*Per(Job|Node)|QOSMin\w+NotSatisfied|AssocGrp(?!\w*Run)\w*Minutes"
)

_ROW = re.compile(r"(\d+)\|(N/A|[\[\]\d,:%-]+)\|([A-Z_]+)\|(.*)\|(.*)\|\.([^|]*)")
_TITLE = re.compile(r"[A-Z_]+(\|[A-Z_ ()]+){4}\|\.[A-Z]*")
_END = re.compile(r"\|\.[^|]*\Z")
_CLUSTER = re.compile(r"CLUSTER: (\S+)")
_JOB_ID = re.compile(r"(\d+)(?:;(\S+))?")
_ACCOUNT_ID = re.compile(r"(\d+)(?:_(\d+|\[.*\]))?")

_VERDICT = re.compile(r"submission failed: (.*)")
_UNCLEAR = re.compile(
    r"timed out|\((send|receive|shutdown) failure\)|Zero Bytes|Unexpected message|not connected"
    r"|Communication shutdown|Message (send|receive) failure|Connection reset|socket error",
    re.IGNORECASE,
)
_LIMIT = re.compile(r"\w*(Max|Grp)\w*Submit\w*|MaxJobCount limit|maximum number of jobs", re.IGNORECASE)
_POLICY = re.compile(r"Job violates accounting/QOS policy")
_POLICY_REASON = re.compile(r"error: ((?:QOS|Assoc|Max|Grp)\w+)\s*$", re.MULTILINE)
_TRANSIENT = re.compile(
    r"connect failure|connection failure|Unable to contact slurm controller|Rate limit exceeded"
    r"|backup controller in standby|temporarily un(able|available)|Temporary authentication"
    r"|Protocol authentication error|[Mm]unge|configuration source|Unable to resolve"
    r"|I/O error writing script|Slurm internal error|Required (partition|node) not available"
    r"|Requested nodes are busy|ports are in use|reservation not usable now|shutting down"
    r"|try again later",
    re.IGNORECASE,
)


def submit_arguments(submission: Submission, clusters: Sequence[str], now: float) -> list[str]:
    """Return the arguments of sbatch. What stands here wins over the script's directives."""
    arguments = ["--parsable", f"--job-name={submission.name}"]
    if submission.width > 1:
        throttle = f"%{submission.throttle}" if submission.throttle else ""
        arguments.append(f"--array=0-{submission.width - 1}{throttle}")
    if submission.not_before is not None and submission.not_before > now:
        # Relative: the date forms are read in this machine's time zone and jump twice a year.
        arguments.append(f"--begin=now+{math.ceil(submission.not_before - now)}")
    if len(clusters) == 1:  # among several, the script says which
        arguments.append(f"--clusters={clusters[0]}")
    output = "/dev/null"
    if submission.log is not None:
        output = output_path(str(submission.log.absolute() / f"{submission.name}.out"))
    # Appending: one file for all elements, and a requeued one does not erase its first life.
    return [*arguments, f"--output={output}", "--open-mode=append", str(submission.script.absolute())]


def output_path(path: str) -> str:
    """Return a path for ``--output`` in which Slurm replaces nothing."""
    if "\\" in path:  # one backslash anywhere turns replacement off, and backslashes are taken out
        return path.replace("\\", "\\\\")
    return path.replace("%", "%%")


def job_id(stdout: str, clusters: Sequence[str]) -> str | None:
    """Return the id that sbatch printed, ``ID`` or with several clusters ``ID;CLUSTER``, or None.

    A site may print banners around it. Where several lines look like an id, none is certain.
    """
    matches = [match for line in stdout.splitlines() if (match := _JOB_ID.fullmatch(line.strip()))]
    if len({match[0] for match in matches}) != 1:
        return None
    number, named = matches[0].groups()
    cluster = named or (clusters[0] if len(clusters) == 1 else "")
    return f"{number};{cluster}" if clusters and cluster else str(number)


def submit_error(text: str) -> str:
    """Return the kind of error that sbatch reports: see ``SchedulerError``."""
    # What it said while it tried again by itself does not matter, only how that ended.
    verdict = _VERDICT.findall(text)[-1] if _VERDICT.search(text) else text
    if _UNCLEAR.search(verdict):
        return "unclear"  # seen: the job was accepted although the reply timed out
    if _POLICY.search(verdict):
        # The same words stand for limits that pass and for a job that is too large or too long;
        # newer versions name the limit on a line of its own.
        reason = _POLICY_REASON.search(text)
        return "limit" if reason is None or _LIMIT.search(reason[1]) else "permanent"
    if _LIMIT.search(verdict):
        return "limit"
    return "transient" if _TRANSIENT.search(verdict) else "permanent"


def listing_arguments(user: int, clusters: Sequence[str]) -> list[str]:
    """Return the arguments of squeue for everything of one user, one line per element."""
    # Titles are wanted: an empty reply that has them is empty, one that lacks them is broken.
    # By number: a name is looked up on this machine, and --me is younger than some clusters.
    arguments = [f"--user={user}", "--array", "--states=all", f"--format={LISTING_FORMAT}"]
    return [*arguments, f"--clusters={','.join(clusters)}"] if clusters else arguments


def listing(stdout: str, clusters: Sequence[str]) -> list[Element]:
    """Return the elements in a reply of squeue.

    Raises
    ------
    ValueError
        If the reply is not complete: no titles, a cluster missing, the last line cut.
    """
    if not stdout.endswith("\n"):
        raise ValueError("the reply is cut: its last line does not end")
    elements = []
    titles = 0
    cluster = ""
    seen = []
    complete = False
    for line in stdout.splitlines():
        complete = _END.search(line) is not None
        if match := _ROW.fullmatch(line):
            if not titles:
                raise ValueError(f"the reply does not start with titles: {stdout[:200]!r}")
            elements += _elements(match, cluster)
        elif match := _CLUSTER.fullmatch(line):
            cluster = match[1]
            seen.append(cluster)
        elif _TITLE.fullmatch(line):
            titles += 1
        # Anything else is part of the name of somebody's job, or a banner of the site.
    if not titles or titles < len(clusters):
        raise ValueError(f"the reply has no titles: {stdout[:200]!r}")
    if missing := sorted(set(clusters) - set(seen)):
        raise ValueError(f"the reply says nothing of cluster {', '.join(missing)}")
    if not complete:
        raise ValueError(f"the reply is cut: its last line is {stdout.splitlines()[-1]!r}")
    return elements


def _elements(row: re.Match[str], cluster: str) -> list[Element]:
    number, index, native, reason, name, nodes = row.groups()
    job = f"{number};{cluster}" if cluster else number
    state = _STATES.get(native, State.UNKNOWN)
    if state is State.QUEUED and _NEVER.search(reason):
        state = State.HELD
    # Even with --array, what was cancelled while it waited can be one row for a range of elements.
    found = [None] if index == "N/A" else list(indices.expand(index))
    reason = "" if reason == "None" else reason
    plain = slurm_reasons.plain(reason, number) if state in (State.QUEUED, State.HELD) else ""
    return [Element(job, i, name, state, native, reason, plain, nodes) for i in found]


def accounting_arguments(elements: Iterable[Element], clusters: Sequence[str], since: str) -> list[str]:
    """Return the arguments of sacct for all lives of whole jobs, steps left out.

    By id, which is what a database finds at once; by name if the id of any is not known.
    """
    asked = list(elements)
    # Without a start time the window begins at midnight; --duplicates shows lives before a requeue.
    arguments = ["--allocations", "--parsable2", "--noheader", "--duplicates", f"--starttime={since}"]
    arguments.append(f"--format={','.join(ACCOUNTING_FIELDS)}")
    if all(e.job for e in asked):
        arguments.append(f"--jobs={','.join(sorted({e.job.partition(';')[0] for e in asked}, key=int))}")
    else:
        arguments.append(f"--name={','.join(sorted({e.name for e in asked}))}")
    return [*arguments, f"--clusters={','.join(clusters)}"] if clusters else arguments


def accounting(
    stdout: str, elements: Iterable[Element], clusters: Sequence[str] = ()
) -> dict[tuple[str, int | None], Ending]:
    """Return what a reply of sacct says of elements that have ended, and of names without an id.

    Rows whose name is another are of other jobs: a killed controller hands out the ids of jobs
    that it lost again. Rows that show a whole array without an index are placeholders, right
    for no element. Of a requeued element the last life that ended is the answer, and has the others with it.
    """
    asked = list(elements)
    wanted = {(e.job, e.index): e for e in asked}
    nameless = {e.name for e in asked if not e.job}
    found: dict[tuple[str, int | None], Ending] = {}
    lives: dict[tuple[str, int | None], list[Ending]] = {}
    for line in stdout.splitlines():
        fields = dict(zip(ACCOUNTING_FIELDS, line.split("|", len(ACCOUNTING_FIELDS) - 1), strict=False))
        number = _ACCOUNT_ID.fullmatch(fields["JobID"])
        if len(fields) < len(ACCOUNTING_FIELDS) or number is None:
            continue  # part of a name with a newline in it
        cause = _CAUSES.get(fields["State"].partition(" ")[0])  # CANCELLED by 1000
        if fields["JobName"] in nameless:
            job = f"{number[1]};{fields['Cluster']}" if clusters else number[1]
            found.setdefault((fields["JobName"], None), Ending(cause or Cause.UNKNOWN, fields["State"], job=job))
        ending = _ending(fields, cause or Cause.UNKNOWN)
        for index in [None] if number[2] is None else indices.expand(number[2]):
            for job in (number[1], f"{number[1]};{fields['Cluster']}"):
                element = wanted.get((job, index))
                if element is not None and element.name == fields["JobName"]:
                    lives.setdefault((job, index), []).append(ending)
    for key, known in lives.items():
        ended = sorted((life for life in known if life.cause is not Cause.UNKNOWN), key=lambda life: life.end or 0)
        if ended:  # else it lives, or its end is not known yet
            begun = sorted((life for life in known if life.start is not None), key=lambda life: life.start or 0)
            found[key] = dataclasses.replace(ended[-1], lives=tuple(begun) if len(begun) > 1 else ())
    return found


def _ending(fields: Mapping[str, str], cause: Cause) -> Ending:
    code, _, number = fields["ExitCode"].partition(":")
    # An out-of-memory kill is shown as signal 125. And sacct 22.05 takes 128 off exit codes from
    # 128 on (137 is shown as 9), of which nothing can be made.
    signal = int(number) if number.isdecimal() and 0 < int(number) < 65 else None
    return Ending(
        cause=cause,
        native=fields["State"],
        exit_code=int(code) if code.isdecimal() else None,
        signal=signal,
        nodes="" if fields["NodeList"] == "None assigned" else fields["NodeList"],
        start=_time(fields["Start"]),
        end=_time(fields["End"]),
    )


def _time(text: str) -> float | None:
    if text.isdecimal():  # SLURM_TIME_FORMAT=%s
        return float(text) or None
    try:
        return datetime.datetime.fromisoformat(text).timestamp()
    except ValueError:
        return None  # Unknown, None


def listed_endings(elements: Iterable[Element], listed: Iterable[Element]) -> dict[tuple[str, int | None], Ending]:
    """Return what a listing already says of elements that have ended."""
    wanted = {(e.job, e.index, e.name) for e in elements}
    return {
        (e.job, e.index): Ending(cause=_CAUSES[e.native], native=e.native, nodes=e.nodes)
        for e in listed
        if e.native in _CAUSES and (e.job, e.index, e.name) in wanted
    }


def has_accounting(config: str) -> bool:
    """Whether ``scontrol show config`` names accounting that can be asked for limits."""
    return re.search(r"^AccountingStorageType\s*= \S*slurmdbd", config, re.MULTILINE) is not None


def configured_limits(config: str) -> Limits:
    """Return the limits in ``scontrol show config``."""
    found = dict(re.findall(r"^(\w+)\s*= (.*?)\s*$", config, re.MULTILINE))
    largest = found.get("MaxArraySize", "")
    if not largest.isdecimal():
        raise ValueError(f"no MaxArraySize in {config[:200]!r}")
    # It bounds the index: with 1001, 0 to 1000. With 0 there are no arrays, only plain jobs.
    array = max(1, int(largest))
    if tasks := re.search(r"max_array_tasks=(\d+)", found.get("SchedulerParameters", "")):
        array = min(array, int(tasks[1]))
    return Limits(array=array)


def user_limits(associations: str, qualities: str, account: str | None) -> Limits:
    """Return what accounting allows one user.

    Parameters
    ----------
    associations
        ``sacctmgr show assoc`` with Account, Partition, MaxJobs, MaxSubmitJobs, DefaultQOS.
    qualities
        ``sacctmgr show qos`` with Name, MaxJobsPerUser, MaxSubmitJobsPerUser.
    account
        Count only this account's associations; without one, the most generous counts.
    """
    running, submit = [], []
    by_name = {row[0]: row[1:3] for row in _rows(qualities, 3)}
    for name, partition, most_jobs, most_submit, quality in _rows(associations, 5):
        if partition or (account and name != account):
            continue
        of_quality = by_name.get(quality or "normal", ["", ""])
        running.append(_least(most_jobs, of_quality[0]))
        submit.append(_least(most_submit, of_quality[1]))
    return Limits(submit=_most(submit), running=_most(running))


def _rows(text: str, columns: int) -> list[list[str]]:
    rows = (line.split("|") for line in text.splitlines())
    return [row[:columns] for row in rows if len(row) >= columns]


def _least(*numbers: str) -> int | None:
    return min((int(n) for n in numbers if n.isdecimal()), default=None)


def _most(limits: Sequence[int | None]) -> int | None:
    """Return the largest limit; None, which is no limit at all, is larger than any."""
    known = [limit for limit in limits if limit is not None]
    return max(known) if known and len(known) == len(limits) else None
