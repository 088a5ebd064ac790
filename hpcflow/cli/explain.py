"""``hpcflow explain``: cause, evidence, last lines, script, and the command that runs it by hand."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import click

from hpcflow.cli.campaign import campaign_option, look_at, open_database, pick_array, pick_tasks
from hpcflow.cli.completion import arrays
from hpcflow.cli.table import seconds as for_people
from hpcflow.database.arrays import describe
from hpcflow.database.inputs import read_input
from hpcflow.database.results import Accepted, read_records, worker_records
from hpcflow.database.state import FAILED, OPEN, ArrayState
from hpcflow.engine.engine import Engine
from hpcflow.engine.retry import failed_tasks
from hpcflow.sites.container_failures import explain_failure

DIFFER = " (numbers differ)"
MOST_CAUSES = 10
"""Of failures that are shown to people."""


@click.command()
@campaign_option
@click.argument("what", required=False, shell_complete=arrays)
@click.option("--json", "as_json", is_flag=True, help="For programs.")
def explain(directory: Path | None, what: str | None, as_json: bool) -> None:
    """Say why an array (``label``) or a task (``label/17``) is as it is.

    Example: hpcflow explain label/17
    """
    name, _, tail = (what or "").rpartition("/")
    one_task = bool(name) and tail.isdigit()

    def ask(engine: Engine) -> dict[str, Any]:
        if not one_task:
            return explain_array(engine, pick_array(engine, what))
        array, tasks = pick_tasks(engine, what or "")
        return explain_task(engine, array, tasks[0])

    found = look_at(open_database(directory), ask)
    text = _task_text(found) if one_task else _array_text(found)
    click.echo(json.dumps(found, indent=1) if as_json else text)


def explain_array(engine: Engine, array: ArrayState) -> dict[str, Any]:
    """What is known of an array: counts, kinds of failure with an example, how its workers and jobs ended."""
    path = engine.path(array)
    status = engine.state.status.get(array.number)
    failures: Counter[str] = Counter()
    examples: dict[str, tuple[str, int]] = {}
    failed = failed_tasks(engine, array)
    for record in read_records(path, array, status, failed):
        text = _short(record)
        kind = re.sub(r"\d+", "N", text)  # numbers differ from task to task
        failures[kind] += 1
        example, task = examples.setdefault(kind, (text, record.task))
        if text != example.removesuffix(DIFFER):
            examples[kind] = (example.removesuffix(DIFFER) + DIFFER, task)
    for task in failed:
        if sum(failures.values()) == len(failed):
            break
        reason = array.reasons.get(task, "lost")
        if status is not None and not any(True for _ in read_records(path, array, status, [task])):
            failures[reason] += 1
            examples.setdefault(reason, (reason, task))
    jobs = [job for job in engine.state.campaign.jobs.values() if job.array == array.number]
    scripts = sorted(path.glob("jobs/*/job.sh"))
    return {
        "array": array.key,
        "directory": str(path),
        "state": "done" if array.done else "held" if array.hold else "live",
        "hold": array.hold,
        "attention": engine.state.campaign.attention.get(f"array {array.number}", ""),
        "succeeded": array.succeeded,
        "failed": array.failed,
        "unfinished": array.open,
        "failures": [
            {"what": examples[kind][0], "tasks": n, "example": examples[kind][1]} for kind, n in failures.most_common()
        ],
        "trouble": _trouble(engine, array),
        "workers": [
            {"worker": name, "host": w.host, "end": w.goodbye or array.closed.get(name, ""), "message": w.message}
            for name, w in array.workers.items()
            if w.settled or w.goodbye
        ][-10:],
        "jobs": [{"id": j.id, "name": j.token, "cause": j.cause, "error": j.error} for j in jobs][-10:],
        "script": str(scripts[-1]) if scripts else str(path / "jobs.txt"),
    }


def _trouble(engine: Engine, array: ArrayState) -> list[str]:
    """Failures of tasks that are still being tried."""
    if array.done:
        return []
    status = engine.state.status[array.number]
    counts: Counter[str] = Counter()
    for task, charges in array.charges.items():
        if status[task] == OPEN:
            counts.update(charges)
    return [f"{count} attempts ended with {reason}" for reason, count in counts.most_common() if count > 0]


def _short(record: Accepted) -> str:
    return str(record.header.get("message") or record.header.get("reason", "failed")).strip().splitlines()[0][:300]


def explain_task(engine: Engine, array: ArrayState, task: int) -> dict[str, Any]:
    """What is known of one task: its attempts, what it printed, its input, and how to run it by hand."""
    path = engine.path(array)
    status = engine.state.status.get(array.number)
    description = describe(path)
    if status is None:
        attempts = [(record, "") for record in read_records(path, array, None, [task])]
    else:
        attempts = list(worker_records(path, array, task))
    try:
        excerpt = read_input(path, description["inputs"], engine.campaign, task)[:400].decode("utf-8", "replace")
    except OSError as error:
        excerpt = f"cannot be read: {error}"
    decided = {None: "done", OPEN: "undecided", FAILED: "failed"}.get(
        None if status is None else status[task], "succeeded"
    )
    if status is None and attempts:
        decided = attempts[-1][0].header["state"]
    archive = engine.database.directory / "code" / f"{description['code']}.pyz"
    return {
        "array": array.key,
        "task": task,
        "state": decided,
        "reason": array.reasons.get(task, ""),
        "attempts": [_attempt(record, worker, array) for record, worker in attempts],
        "input": excerpt,
        "escalation": array.escalation.get(task, {}),
        "by_hand": f"{_python(engine, array)} {_quoted(archive)} task {_quoted(path)} {task}",
    }


def _python(engine: Engine, array: ArrayState) -> str:
    """What runs tasks of an array by hand: Python, in the image of the class if its workers run in one."""
    from hpcflow.sites.containers import Job, around_worker
    from hpcflow.sites.shell import expanded, literal

    site = engine.site(engine.state.campaign.site)
    task_class = None if array.call else site.classes.get(array.task_class)
    container = task_class.container if task_class else None
    if task_class is None or container is None or site.container is None or container.wraps == "command":
        return sys.executable
    words = around_worker(site.container, container, Job([literal(str(engine.campaign))], task_class.gpus > 0))
    return f"{words} {expanded(task_class.python or 'python3')}"


def _attempt(record: Accepted, worker: str, array: ArrayState) -> dict[str, Any]:
    header = record.header
    host = header.get("host") or (array.workers[worker].host if worker in array.workers else "")
    return {
        "attempt": header["attempt"],
        "state": header["state"],
        "reason": header.get("reason", ""),
        "message": header.get("message", ""),
        "seconds": header.get("seconds"),
        "host": host,
        "image": header.get("image", ""),
        "hint": explain_failure(record.output),
        "output": record.output,
    }


def _quoted(path: Path) -> str:
    return shlex.quote(str(path))


def _array_text(found: dict[str, Any]) -> str:
    counts = f"{found['succeeded']} succeeded, {found['failed']} failed, {found['unfinished']} to go"
    lines = [f"{found['array']}: {found['state']}, {counts}"]
    if found["hold"]:
        lines.append(f"held: {found['hold']}")
    if found["attention"]:
        lines.append(found["attention"])
    for failure in found["failures"][:MOST_CAUSES]:
        lines.append(f"{failure['tasks']} failed: {failure['what']}")
        one = shlex.quote(f"{found['array']}/{failure['example']}")
        lines.append(f"    look at one with: hpcflow explain {one}")
    more = len(found["failures"]) - MOST_CAUSES
    if more > 0:
        lines.append(f"and {more} more cause{'s' if more > 1 else ''}")
    if found["failures"]:
        lines.append("when the cause is mended: hpcflow resume --retry-failed")
    lines += found["trouble"]
    for worker in found["workers"]:
        if worker["end"] not in ("no work", ""):
            message = f": {worker['message']}" if worker["message"] else ""
            lines.append(f"worker {worker['worker']} on {worker['host']} ended: {worker['end']}{message}")
    for job in found["jobs"]:
        if job["error"] or job["cause"]:
            lines.append(f"job {job['id'] or job['name']}: {job['error'] or job['cause']}")
    lines.append(f"script: {found['script']}")
    return "\n".join(lines)


def _task_text(found: dict[str, Any]) -> str:
    head = f"{found['array']}/{found['task']}: {found['state']}"
    if found["reason"]:
        head += f" ({found['reason']})"
    lines = [head]
    for attempt in found["attempts"]:
        why = attempt["message"] or attempt["reason"]
        where = f" on {attempt['host']}" if attempt["host"] else ""
        where += f" in image {attempt['image']}" if attempt["image"] else ""
        seconds = "" if attempt["seconds"] is None else f" after {for_people(attempt['seconds'])} s"
        lines.append(f"attempt {attempt['attempt']}{where}: {attempt['state']}{seconds}{': ' + why if why else ''}")
        tail = attempt["output"].strip().splitlines()[-30:]
        lines += [f"    {line}" for line in tail]
        lines += [attempt["hint"]] if attempt["hint"] else []
    if not found["attempts"]:
        lines.append("no attempt has been recorded yet")
    lines += ["input begins:", *(f"    {line}" for line in found["input"].splitlines()[:4])]
    lines += ["run it by hand (records nothing):", f"    {found['by_hand']}"]
    return "\n".join(lines)
