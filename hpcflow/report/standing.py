"""Where a campaign stands: its arrays, what failed, and what needs a person."""

from __future__ import annotations

import shlex
from collections import Counter
from dataclasses import dataclass

from hpcflow.database.results import read_records
from hpcflow.database.state import ArrayState, CampaignState
from hpcflow.engine.engine import Engine
from hpcflow.engine.retry import failed_tasks
from hpcflow.report.formats import count, duration, percent, plural, sentence
from hpcflow.report.page import Bar, Section, Table, Text

MANY = 16
"""From so many arrays on, steps of the same name are one line, and the list of all is folded."""

STATES = {
    "done": ("finished", "All its steps are finished."),
    "running": ("running", "Workers are at work."),
    "waiting": ("waiting", "No worker is running at the moment; the campaign goes on with the next tick."),
    "attention": ("needs attention", "It goes on when somebody has looked at it."),
}
"""What the states of a campaign are called, and what that means."""


def arrays_of(campaign: CampaignState) -> list[ArrayState]:
    """The arrays that people ask about: no light calls, and of a step that was run again the newest."""
    return [array for array in campaign.arrays.values() if array.current and not array.call]


def stage(array: ArrayState) -> str:
    """What an array is a part of in every iteration: ``label`` of ``iterations[3]/label``."""
    return array.key.rsplit("/", 1)[-1]


def attention(campaign: CampaignState) -> Section | None:
    """What hpcflow wants a person to look at, in its own words."""
    held = [f"{a.key} is held: {a.hold}" for a in arrays_of(campaign) if a.hold]
    messages = [*campaign.attention.values(), *held]
    if campaign.paused:
        messages.append("The campaign is paused: no new jobs are submitted. Go on with: hpcflow continue")
    if campaign.cancelled:
        messages.append("The campaign was cancelled. Go on with: hpcflow resume")
    if not messages:
        return None
    return Section("Needs attention", [Text(message) for message in dict.fromkeys(messages)])


def standing(engine: Engine) -> Section | None:
    """The arrays with their counts, and what failed for which reason."""
    arrays = arrays_of(engine.state.campaign)
    if not arrays:
        return None
    section = Section("Where it stands", [])
    caption = "Steps of the campaign. A failed task was given up after its retries; a step goes on without it."
    if len(arrays) > MANY:
        section.blocks.append(_arrays_table(_by_stage(arrays), caption + " Iterations are added up."))
        folded = _arrays_table([(a.key, [a]) for a in arrays], caption)
        folded.folded = f"All {len(arrays)} arrays"
        section.blocks.append(folded)
    else:
        section.blocks.append(_arrays_table([(a.key, [a]) for a in arrays], caption))
    failures = [line for array in arrays for line in _failures(engine, array)]
    if failures:
        section.blocks.append(_failures_table(failures))
    return section


def _by_stage(arrays: list[ArrayState]) -> list[tuple[str, list[ArrayState]]]:
    groups: dict[str, list[ArrayState]] = {}
    for array in arrays:
        groups.setdefault(stage(array), []).append(array)
    return [(f"{name} ({plural(len(mine), 'array')})", mine) for name, mine in groups.items()]


def _arrays_table(lines: list[tuple[str, list[ArrayState]]], caption: str) -> Table:
    rows: list[list[str | Bar]] = []
    for name, arrays in lines:
        total = sum(a.count for a in arrays)
        good, bad = sum(a.succeeded for a in arrays), sum(a.failed for a in arrays)
        seconds = sum(a.seconds for a in arrays)
        bar = Bar([(good / total, "good"), (bad / total, "bad")] if total else [])
        rows.append(
            [
                name,
                sentence(sorted({a.task_class for a in arrays})),
                _state(arrays),
                bar,
                count(total),
                count(good),
                count(bad),
                count(total - good - bad),
                duration(seconds / good) if good else "–",
            ]
        )
    head = ["step", "task class", "state", "", "tasks", "succeeded", "failed", "to go", "mean time per task"]
    return Table(head, rows, "lllrrrrrr", caption)


def _state(arrays: list[ArrayState]) -> str:
    if any(a.hold for a in arrays):
        return "held"
    if all(a.done for a in arrays):
        return "done"
    running = sum(1 for a in arrays for w in a.workers.values() if w.job and w.hello and not (w.settled or w.goodbye))
    return f"live, {plural(running, 'worker')}" if running else "live"


@dataclass
class _Failure:
    """Tasks of one array that failed for the same reason."""

    array: ArrayState
    reason: str
    tasks: list[int]
    message: str


def _failures(engine: Engine, array: ArrayState) -> list[_Failure]:
    if not array.failed:
        return []
    tasks = failed_tasks(engine, array)
    path, status = engine.path(array), engine.state.status.get(array.number)
    reasons = {task: array.reasons.get(task, "lost") for task in tasks}
    messages: dict[int, str] = {}
    for record in read_records(path, array, status, tasks):
        reasons[record.task] = array.reasons.get(record.task) or str(record.header.get("reason", "error"))
        text = str(record.header.get("message") or "").strip()
        messages[record.task] = text.splitlines()[0][:200] if text else ""
    groups: dict[str, list[int]] = {}
    for task in tasks:
        groups.setdefault(reasons[task], []).append(task)
    found = []
    for reason, mine in sorted(groups.items(), key=lambda item: -len(item[1])):
        usual = Counter(messages.get(task, "") for task in mine).most_common(1)[0][0]
        found.append(_Failure(array, reason, mine, usual))
    return found


def _failures_table(failures: list[_Failure]) -> Table:
    rows: list[list[str | Bar]] = [
        [
            f.array.key,
            f.reason,
            count(len(f.tasks)),
            percent(len(f.tasks) / f.array.count),
            f.message or "–",
            f"hpcflow explain {shlex.quote(f'{f.array.key}/{f.tasks[0]}')}",
        ]
        for f in failures
    ]
    caption = (
        "Failed tasks by reason, with the message that is most frequent among them, and the command that tells more "
        "about one of them. Try them again with: hpcflow resume --retry-failed"
    )
    head = ["step", "reason", "tasks", "share", "most frequent message", "more"]
    return Table(head, rows, "llrrll", caption)
