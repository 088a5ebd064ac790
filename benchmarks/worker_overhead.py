"""What a worker adds to a task that does nothing: per Python task, and per shell command.

    python -m benchmarks.worker_overhead

Machines differ, so both are given as ratios to what cannot be avoided, measured side by side:
one JSON round trip over a pipe to a Python process, and the bare spawn-and-wait of the same command.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from hashlib import blake2b
from pathlib import Path
from typing import Any

from hpcflow.database import records
from hpcflow.worker import archive

PYTHON_TASKS = 20_000
SHELL_TASKS = 500
ROUND_TRIPS = 5_000
ROUNDS = 5
COMMAND = "true"
_ECHO = """
import json, sys
for line in sys.stdin.buffer:
    sys.stdout.buffer.write(json.dumps(json.loads(line)).encode() + b"\\n")
    sys.stdout.buffer.flush()
"""


def make_array(root: Path, function: dict[str, Any], count: int) -> tuple[Path, Path]:
    """Write an array of ``count`` small inputs in one chunk; return the archive and the array."""
    code = root / ".hpcflow" / "code"
    array = root / ".hpcflow" / "arrays" / "0001-noop"
    for path in (code, *(array / "work" / name for name in ("chunks", "claims", "out", "log"))):
        path.mkdir(parents=True)
    (root / "flow.py").write_text("def noop(x):\n    return x\n")
    data = index = b""
    for i in range(count):
        line = b'{"n":%d}\n' % i
        digest = blake2b(line, digest_size=16).digest()
        index += len(data).to_bytes(8, "little") + len(line).to_bytes(4, "little") + digest
        data += line
    (array / "inputs.jsonl").write_bytes(data)
    (array / "inputs.index").write_bytes(index)
    (array / "ids").write_bytes(bytes(16 * count))
    digest = archive.build(root, code, {})
    description = {"count": count, "seed": 0, "code": digest, "function": function, "parameters": {}}
    description["inputs"] = {"kind": "json", "path": "inputs.jsonl"}
    (array / "array.json").write_text(json.dumps(description))
    chunks = {"list": 1, "resources": "r0", "tasks": [[0, count]], "bounds": [0, count], "attempt": 1}
    (array / "work" / "chunks" / "1.json").write_text(json.dumps(chunks))
    return code / f"{digest}.pyz", array


def seconds_per_task(function: dict[str, Any], count: int) -> float:
    """Run one worker with one slot; return the time from its first hand-over to its goodbye, per task."""
    with tempfile.TemporaryDirectory() as name:
        program, array = make_array(Path(name), function, count)
        words = [sys.executable, str(program), "worker", "--array", str(array), "--job", "bench"]
        subprocess.run([*words, "--resources", "r0", "--slots", "1"], check=True, stdout=subprocess.DEVNULL)
        (out,) = (array / "work" / "out").iterdir()
        headers = [record.header for record in records.scan(out.read_bytes())]
    assert sum(h["kind"] == "task" and h["state"] == "succeeded" for h in headers) == count
    start = next(h["time"] for h in headers if h["kind"] == "start")
    return (float(headers[-1]["time"]) - float(start)) / count


def round_trip() -> float:
    """Return the seconds of one JSON round trip over a pipe."""
    with subprocess.Popen([sys.executable, "-c", _ECHO], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        begun = time.perf_counter()
        for i in range(ROUND_TRIPS):
            child.stdin.write(json.dumps({"task": i, "attempt": 1, "value": {"n": i}}).encode() + b"\n")
            child.stdin.flush()
            json.loads(child.stdout.readline())
        seconds = (time.perf_counter() - begun) / ROUND_TRIPS
        child.stdin.close()
    return seconds


def bare_command() -> float:
    """Return the seconds that it takes to spawn the command and wait for it."""
    begun = time.perf_counter()
    for _ in range(SHELL_TASKS):
        os.waitpid(os.posix_spawn("/bin/sh", ["sh", "-c", COMMAND], dict(os.environ)), 0)
    return (time.perf_counter() - begun) / SHELL_TASKS


def measure() -> dict[str, float]:
    """Return microseconds and ratios; each the best of several rounds, as other load only adds."""
    python = {"kind": "python", "module": "flow", "name": "noop"}
    shell = {"kind": "command", "command": COMMAND}
    rounds = [
        (seconds_per_task(python, PYTHON_TASKS), round_trip(), seconds_per_task(shell, SHELL_TASKS), bare_command())
        for _ in range(ROUNDS)
    ]
    task, trip, command, bare = (min(column) * 1e6 for column in zip(*rounds, strict=True))
    return {
        "python task, us": task,
        "JSON round trip, us": trip,
        "python task / round trip": task / trip,
        "shell task, us": command,
        "bare spawn and wait, us": bare,
        "shell task / bare": command / bare,
    }


if __name__ == "__main__":
    for label, value in measure().items():
        print(f"{label:28} {value:8.2f}")
