"""What ``status`` and ``poll`` cost where there is nothing to do, against Python doing nothing."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from benchmarks.made_up import finished
from benchmarks.ratios import EMPTY, Command, Row, best

TASKS = 1_000_000
ROUNDS = 15
SLEEPING = """
workflow: map
site: local
parameters:
  items: [{n: 0}, {n: 1}, {n: 2}, {n: 3}]
  command: sleep 600
"""


def measure() -> list[Row]:
    """Return rows about a finished campaign of many tasks, and about a live one whose tasks sleep."""
    rows = []
    with tempfile.TemporaryDirectory() as name:
        done = Path(name) / "done"
        finished(done, TASKS)
        what = f"finished, {TASKS:,} tasks"
        rows += _against_nothing(f"status, {what}", Command(done, ["status"]), "0.3 s", memory="200 MB")
        rows += _against_nothing(f"poll, {what}", Command(done, ["poll"]), "12 ×")
        live = Path(name) / "live"
        live.mkdir()
        (live / "hpcflow.yaml").write_text(SLEEPING)
        Command(live, ["submit", "--yes"]).run()
        try:
            Command(live, ["poll"]).run()
            poll = Command(live, ["poll"])
            rows += _against_nothing("poll, tasks at work", poll, "12 ×")
            rows += _traced("poll, tasks at work", poll)
        finally:
            _end(live)
    return rows


def _end(live: Path) -> None:
    """Cancel, and wait until the workers have written their last word, or their directory could not be removed."""
    Command(live, ["cancel"]).run()
    for _ in range(300):
        Command(live, ["poll"]).run()
        arrays = json.loads(Command(live, ["status", "--json"]).run())["arrays"]
        if not any(array["running_workers"] for array in arrays):
            return
        time.sleep(0.1)
    raise RuntimeError(f"{live}: workers do not end")


def _against_nothing(what: str, command: Command, goal: str, memory: str = "") -> list[Row]:
    command.run()  # what is written once, such as compiled modules and the cache of the site, is there afterwards
    took, nothing = best([command.run, command.empty], ROUNDS)
    rows = [Row(what, f"{1000 * took:.0f} ms", f"python -c pass: {1000 * nothing:.0f} ms", took / nothing, goal)]
    if memory:
        rows.append(Row(f"{what}: memory", f"{command.peak():.0f} MB", goal=memory))
    return rows


def _traced(what: str, command: Command) -> list[Row]:
    """System calls and processes, where there is strace."""
    if shutil.which("strace") is None:
        return [Row(f"{what}: system calls", "not measured: there is no strace here")]
    calls, processes = _trace(command, command.line)
    nothing, _ = _trace(command, EMPTY)
    return [
        Row(f"{what}: system calls", str(calls), f"python -c pass: {nothing}", calls / nothing),
        Row(f"{what}: processes it starts", str(processes)),
    ]


def _trace(command: Command, line: list[str]) -> tuple[int, int]:
    with tempfile.NamedTemporaryFile("r") as out:
        words = ["strace", "-f", "-qq", "-o", out.name, *line]
        subprocess.run(words, cwd=command.campaign, env=command.environment, stdout=subprocess.DEVNULL, check=False)
        text = Path(out.name).read_text(errors="replace")
    calls = re.findall(r"^\d+ +(\w+)\((.*)", text, re.M)
    # Threads are made by the same call, and are no processes.
    forks = [
        rest for call, rest in calls if call in ("fork", "vfork", "clone", "clone3") and "CLONE_THREAD" not in rest
    ]
    return len(calls), len(forks)
