"""Plain text for people. No terminal library: status and poll answer at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click


def show(summary: dict[str, Any]) -> None:
    """Print where a campaign stands: one line per array, jobs that live, and what needs a person."""
    tasks = summary["tasks"]
    head = f"{summary['campaign']}: {summary['state']}"
    if summary["paused"]:
        head += " (paused: no new jobs; go on with hpcflow continue)"
    if summary["cancelled"]:
        head += " (cancelled; go on with hpcflow resume)"
    click.echo(head)
    failed = f", {tasks['failed']} failed" if tasks["failed"] else ""
    click.echo(f"{tasks['succeeded']} of {tasks['total']} tasks succeeded{failed}, {tasks['unfinished']} to go")
    rows = [("array", "class", "done", "failed", "to go", "workers", "s/task")]
    for array in summary["arrays"]:
        mean = array["mean_seconds"]
        rows.append(
            (
                array["name"],
                array["class"],
                str(array["succeeded"]),
                str(array["failed"] or ""),
                str(array["unfinished"] or ""),
                _workers(array),
                "" if mean is None else seconds(mean),
            )
        )
    for line in columns(rows):
        click.echo(line)
    for array in summary["arrays"]:
        if array["left_seconds"]:
            click.echo(f"{array['name']}: {about(array['left_seconds'])} left with the workers that are there now")
        if array["state"] == "live" and array["unfinished"] and not any(_lives(array, job) for job in array["jobs"]):
            click.echo(f"{array['name']}: no job of it is in the queue now")
        for job in array["jobs"]:
            if _lives(array, job):
                why = f": {job['reason']}" if job["reason"] else ""
                click.echo(f"job {job['id'] or job['name']} for {array['name']}: {job['state']}{why}")
        if array["ended_by"]:
            click.echo(f"workers of {array['name']} that ended early: {_counts(array['ended_by'])}")
        if array["failures"]:
            click.echo(f"attempts of {array['name']} that failed: {_counts(array['failures'])}")
        if array["never_started"] and array["state"] != "done":
            click.echo(_never_started(array["name"], array["never_started"]))
        if array["hold"]:
            click.echo(f"{array['name']} is held: {array['hold']}")
    if summary["unknown_states"] and summary["state"] != "done":
        words = ", ".join(f"{name} ({count})" for name, count in summary["unknown_states"].items())
        click.echo(f"scheduler states that this version does not know: {words}")
    for condition in summary["conditions"]:
        click.echo(condition)
    for message in summary["attention"].values():
        click.echo(f"\nNeeds attention: {message}")


def _counts(numbers: dict[str, int]) -> str:
    return ", ".join(f"{count} {word}" for word, count in numbers.items())


def _never_started(name: str, dead: dict[str, Any]) -> str:
    elements = f"{dead['elements']} elements" if dead["elements"] > 1 else "an element"
    text = f"{name}: {elements} ended before any worker could start, the last of job {dead['job']}: {dead['why']}"
    return f"{text}\n  {dead['said']}" if dead["said"] else text


def _workers(array: dict[str, Any]) -> str:
    running = array["running_workers"]
    live = sum(job["workers"] for job in array["jobs"] if _lives(array, job))
    return f"{running} of {live}" if live else ""


def _lives(array: dict[str, Any], job: dict[str, Any]) -> bool:
    """Whether a job is news. The last of a finished array leave by themselves, and often no tick ever looks again."""
    return job["state"] != "ended" and not (array["state"] == "done" and job["state"] in ("running", "submitted"))


def seconds(value: float) -> str:
    """Seconds for people: three digits, never a power of ten."""
    if value < 0.001:
        return "<0.001"
    return f"{value:.0f}" if value >= 999.5 else f"{value:.3g}"


def about(value: float) -> str:
    """An estimate in the unit in which people would say it: ``about 12 min``."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if value >= 1.5 * length:
            return f"about {value / length:.{1 if unit != 'min' and value < 10 * length else 0}f} {unit}"
    return f"about {max(1, round(value))} s"


def columns(rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Text columns; the first is left-aligned, numbers to the right."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = []
    for row in rows:
        cells = [row[0].ljust(widths[0]), row[1].ljust(widths[1])]
        cells += [cell.rjust(width) for cell, width in zip(row[2:], widths[2:], strict=True)]
        lines.append("  ".join(cells).rstrip())
    return lines
