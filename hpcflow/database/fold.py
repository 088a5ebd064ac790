"""What each kind of journal line does to the state. Nothing else changes decisions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hpcflow.database.state import (
    FAILED,
    OPEN,
    ArrayState,
    Freeze,
    JobState,
    ListState,
    Loose,
    State,
    members,
)
from hpcflow.errors import DamagedDatabase

Entry = dict[str, Any]


def apply(state: State, entry: Entry) -> None:
    """Apply one journal entry."""
    try:
        rule = _RULES[entry["kind"]]
    except KeyError:
        raise DamagedDatabase(
            f"journal: a line of kind {entry.get('kind')!r} is unknown to this version; it was written by a newer "
            "hpcflow. Use that version, or a newer one."
        ) from None
    rule(state, entry)


def _campaign(state: State, entry: Entry) -> None:
    """The first line: when, by which version and for which site the campaign was made."""
    state.campaign.site = entry["site"]


def _site(state: State, entry: Entry) -> None:
    state.campaign.site = entry["site"]


def _array(state: State, entry: Entry) -> None:
    campaign = state.campaign
    for other in campaign.arrays.values():
        if other.key == entry["key"]:
            other.current = False
    campaign.arrays[entry["array"]] = ArrayState(
        number=entry["array"],
        key=entry["key"],
        name=entry["name"],
        directory=entry["directory"],
        count=entry["count"],
        task_class=entry["task_class"],
        what=entry["what"],
        fingerprint=entry["fingerprint"],
        created=entry["time"],
        policy=entry["policy"],
        requests=[(request, spans) for request, spans in entry.get("requests", [])],
        call=entry["call"],
        taken=entry.get("taken", 0),
    )
    state.status[entry["array"]] = bytearray(entry["count"])
    campaign.finished = False


def _cut(state: State, entry: Entry) -> None:
    array = state.campaign.arrays[entry["array"]]
    count = sum(stop - start for start, stop in entry["tasks"])
    array.lists[entry["list"]] = ListState(entry["resources"], entry["request"], len(entry["bounds"]) - 1, count)
    if entry["attempt"] > 1:
        for task in members(entry["tasks"]):
            array.attempts[task] = entry["attempt"]
    for task, attempt in entry["attempts"].items():
        array.attempts[int(task)] = attempt
    if array.loose:
        for task in members(entry["tasks"]):
            array.loose.pop(task, None)


def _close(state: State, entry: Entry) -> None:
    array = state.campaign.arrays[entry["array"]]
    array.closed[entry["worker"]] = entry["cause"]
    for task, reason in entry["charged"].items():
        charges = array.charges.setdefault(int(task), {})
        charges[reason] = charges.get(reason, 0) + 1


def _give_up(state: State, entry: Entry) -> None:
    array = state.campaign.arrays[entry["array"]]
    status = state.status[entry["array"]]
    for task in members(entry["tasks"]):
        if entry.get("dropped"):
            array.dropped[task] = array.attempts.get(task, 1)
        if status[task] == OPEN:
            status[task] = FAILED
            array.failed += 1
            array.reasons[task] = entry["reason"]
            array.loose.pop(task, None)


def _escalate(state: State, entry: Entry) -> None:
    array = state.campaign.arrays[entry["array"]]
    for task, escalation in entry["tasks"].items():
        array.escalation.setdefault(int(task), {}).update(escalation)


def _retry(state: State, entry: Entry) -> None:
    array = state.campaign.arrays[entry["array"]]
    status = state.status[entry["array"]]
    for task in members(entry["tasks"]):
        array.forgiven[task] = array.attempts.get(task, 1)
        array.charges.pop(task, None)
        for spent in ("cut_short", "oom"):
            array.escalation.get(task, {}).pop(spent, None)
        if status[task] == FAILED:
            status[task] = OPEN
            array.failed -= 1
            array.reasons.pop(task, None)
            array.loose[task] = Loose("retry")
    array.hold = ""
    array.barren = 0


def _duplicate(state: State, entry: Entry) -> None:
    array = state.campaign.arrays[entry["array"]]
    for worker, spans in entry["kept"].items():
        array.kept.update(dict.fromkeys(members(spans), worker))


def _pardon(state: State, entry: Entry) -> None:
    """A worker left as broken: its first failures were its own fault, once for each task."""
    array = state.campaign.arrays[entry["array"]]
    status = state.status[entry["array"]]
    array.pardoned.append(entry["worker"])
    for task in entry["tasks"]:
        if task in array.broken:
            continue
        array.broken.append(task)
        charges = array.charges.setdefault(task, {})
        charges["error"] = charges.get("error", 0) - 1
        if status[task] == FAILED:
            status[task] = OPEN
            array.failed -= 1
            array.reasons.pop(task, None)
            array.loose[task] = Loose("broken")


def _hold(state: State, entry: Entry) -> None:
    state.campaign.arrays[entry["array"]].hold = entry["reason"]


def _done(state: State, entry: Entry) -> None:
    array = state.campaign.arrays[entry["array"]]
    array.done = True
    for name in ("succeeded", "failed", "seconds", "core_seconds", "wasted", "repeated", "node_seconds"):
        setattr(array, name, entry[name])
    # A finished array costs nothing per task: its results file knows the rest.
    array.attempts, array.charges, array.forgiven, array.escalation = {}, {}, {}, {}
    array.dropped = {}
    array.seen, array.loose, array.kept, array.requests, array.broken, array.known = {}, {}, {}, [], [], []
    array.workers, array.lists, array.closed, array.reasons, array.pardoned = {}, {}, {}, {}, []
    state.status.pop(entry["array"], None)


def _reopen(state: State, entry: Entry) -> None:
    """A finished array is to be made anew with its failed tasks computed again; its reads stay frozen."""
    state.campaign.arrays[entry["array"]].current = False
    state.campaign.waiting = None
    state.campaign.finished = False


def _intent(state: State, entry: Entry) -> None:
    state.campaign.jobs[entry["job"]] = JobState(
        number=entry["job"],
        array=entry["array"],
        token=entry["token"],
        width=entry["width"],
        resources=entry["resources"],
        request=entry["request"],
        task_class=entry["task_class"],
        site=entry["site"],
        intended=entry["time"],
        walltime=entry["walltime"],
        slots=entry["slots"],
        cores=entry["cores"],
        nodes=entry["nodes"],
        throttle=entry.get("throttle"),
    )


def _submitted(state: State, entry: Entry) -> None:
    job = state.campaign.jobs[entry["job"]]
    job.id = entry["id"]
    job.submitted = entry["time"]


def _refused(state: State, entry: Entry) -> None:
    job = state.campaign.jobs[entry["job"]]
    job.error = entry["message"]
    job.ended = True


def _dismissed(state: State, entry: Entry) -> None:
    job = state.campaign.jobs[entry["job"]]
    job.dismissed = sorted({*job.dismissed, *members(entry["elements"])})


def _never_started(state: State, entry: Entry) -> None:
    job = state.campaign.jobs[entry["job"]]
    job.ends.update({int(index): ending for index, ending in entry["ends"].items()})


def _excluded(state: State, entry: Entry) -> None:
    """Nodes that jobs of a site are kept away from now, each with the time since when."""
    state.campaign.excluded[entry["site"]] = entry["nodes"]


def _ended(state: State, entry: Entry) -> None:
    job = state.campaign.jobs[entry["job"]]
    if job.array in state.campaign.arrays:
        state.campaign.arrays[job.array].barren = entry.get("barren", 0)
    job.ended = True
    if job.array not in state.campaign.arrays:
        # A link of the chain. There may be thousands: of those that ended, only the last is remembered.
        links = [j for j in state.campaign.jobs.values() if j.array == job.array and j.ended and j is not job]
        for link in links:
            del state.campaign.jobs[link.number]
    job.cause = entry["cause"]
    job.elements, job.absent, job.reason = {}, {}, ""


def _freeze(state: State, entry: Entry) -> None:
    state.campaign.freezes[entry["read"]] = Freeze(
        entry["array"], entry["accepted"], entry["frames"], entry["results"], entry["files"]
    )


def _answer(state: State, entry: Entry) -> None:
    campaign = state.campaign
    campaign.answers[entry["key"]] = [entry["fingerprint"], entry["answer"]]
    newest = max(campaign.arrays, default=0)
    campaign.answered.update(dict.fromkeys(entry.get("change", []), (entry["answer"], newest)))
    campaign.attention.pop(f"changed {entry['key']}", None)
    campaign.waiting = None
    if entry["answer"] == "rerun":
        campaign.changes.pop(entry["key"], None)
        for read in [r for r in campaign.freezes if r == entry["key"] or r.startswith(entry["key"] + "@")]:
            del campaign.freezes[read]


def _attention(state: State, entry: Entry) -> None:
    campaign = state.campaign
    campaign.attention[entry["subject"]] = entry["message"]
    if "step" in entry:
        campaign.changes[entry["step"]] = [entry["fingerprint"], *entry.get("change", [])]


def _resolved(state: State, entry: Entry) -> None:
    campaign = state.campaign
    if entry["subject"] is None:
        campaign.attention.clear()
    else:
        campaign.attention.pop(entry["subject"], None)
        campaign.changes.pop(entry["subject"].removeprefix("changed "), None)
    campaign.waiting = None


def _released(state: State, entry: Entry) -> None:
    for array in state.campaign.arrays.values():
        array.hold = ""
        array.barren = 0
    state.campaign.cancelled = False


def _paused(state: State, entry: Entry) -> None:
    state.campaign.paused = entry["paused"]


def _cancelled(state: State, entry: Entry) -> None:
    state.campaign.cancelled = True


def _chain(state: State, entry: Entry) -> None:
    state.campaign.chain = entry["interval"]


def _set(state: State, entry: Entry) -> None:
    state.campaign.settings.update(entry["settings"])


def _finished(state: State, entry: Entry) -> None:
    state.campaign.finished = True


_RULES: dict[str, Callable[[State, Entry], None]] = {
    "campaign": _campaign,
    "site": _site,
    "array": _array,
    "cut": _cut,
    "close": _close,
    "give_up": _give_up,
    "escalate": _escalate,
    "retry": _retry,
    "duplicate": _duplicate,
    "pardon": _pardon,
    "hold": _hold,
    "done": _done,
    "reopen": _reopen,
    "intent": _intent,
    "submitted": _submitted,
    "refused": _refused,
    "dismissed": _dismissed,
    "never_started": _never_started,
    "excluded": _excluded,
    "ended": _ended,
    "freeze": _freeze,
    "answer": _answer,
    "attention": _attention,
    "resolved": _resolved,
    "released": _released,
    "paused": _paused,
    "cancelled": _cancelled,
    "chain": _chain,
    "set": _set,
    "finished": _finished,
}
