"""Array directories made by hand after docs/reference/database.md, and real workers from a real archive."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from hashlib import blake2b
from pathlib import Path
from typing import Any

import pytest

from hpcflow.database import records
from hpcflow.worker import archive
from hpcflow.worker.orphans import scratch_of

PYTHON = {
    "kind": "python",
    "module": "flow",
    "version": "1",
    "keep": [],
    "checkpoint": False,
    "batch": False,
    "spread": False,
}


class Task(dict[str, Any]):
    """The header of a task record, with its payload."""

    result: Any
    frames: bytes
    output: str


class HandMade:
    """One campaign with one array, and the workers that were started on it."""

    def __init__(self, root: Path) -> None:
        self.campaign = root / "campaign"
        self.code = self.campaign / ".hpcflow" / "code"
        self.array = self.campaign / ".hpcflow" / "arrays" / "0001-test"
        self.scratch = root / "scratch"
        self.workers: list[subprocess.Popen[bytes]] = []
        for path in (self.code, self.array, self.scratch):
            path.mkdir(parents=True)
        for name in ("chunks", "claims", "out", "log"):
            (self.array / "work" / name).mkdir(parents=True)

    # Making the array

    def source(self, text: str) -> None:
        """Write the campaign's flow.py."""
        (self.campaign / "flow.py").write_text(text)

    def make(
        self,
        inputs: list[Any] | list[bytes],
        function: dict[str, Any],
        parameters: dict[str, Any] | None = None,
        chunk: int | None = None,
        frames: bool = False,
    ) -> None:
        """Write array.json, inputs, ids, and a first list with chunks of so many tasks."""
        data = index = ids = b""
        for number, item in enumerate(inputs):
            entry = item if isinstance(item, bytes) else json.dumps(item).encode() + b"\n"
            digest = blake2b(entry, digest_size=16).digest()
            index += len(data).to_bytes(8, "little") + len(entry).to_bytes(4, "little") + digest
            ids += blake2b(b"%d" % number, digest_size=16).digest()
            data += entry
        name = "inputs.xyz" if frames else "inputs.jsonl"
        (self.array / name).write_bytes(data)
        (self.array / "inputs.index").write_bytes(index)
        (self.array / "ids").write_bytes(ids)
        description = {
            "version": 1,
            "number": 1,
            "key": "test",
            "name": "test",
            "count": len(inputs),
            "task_class": "default",
            "seed": 7,
            "code": archive.build(self.campaign, self.code, {}),
            "created": time.time(),
            "function": {**PYTHON, **function} if function.get("kind") != "command" else function,
            "parameters": parameters or {},
            "inputs": {"kind": "frames" if frames else "json", "path": name},
            "fingerprint": "",
            "what": "",
        }
        (self.array / "array.json").write_text(json.dumps(description))
        self.list(1, [[0, len(inputs)]], chunk)

    def python(self, name: str, inputs: list[Any], source: str, **options: Any) -> None:
        """Make an array of a Python function whose source is given."""
        self.source(source)
        make = {key: options.pop(key) for key in ("parameters", "chunk", "frames") if key in options}
        self.make(inputs, {"name": name, **options}, **make)

    def command(self, command: str, inputs: list[Any], **options: Any) -> None:
        """Make an array of a shell command."""
        make = {key: options.pop(key) for key in ("parameters", "chunk", "frames") if key in options}
        self.make(inputs, {"kind": "command", "command": command, **options}, **make)

    def list(self, number: int, tasks: list[list[int]], chunk: int | None = None, **more: Any) -> None:
        """Write one list of chunks."""
        total = sum(high - low for low, high in tasks)
        bounds = sorted({*range(0, total, chunk or max(1, total)), total})
        content = {"list": number, "resources": "r0", "tasks": tasks, "bounds": bounds, "attempt": 1}
        content.update({"attempts": {}, "from": {}, "parameters": {}, "request": {}}, **more)
        (self.array / "work" / "chunks" / f"{number}.json").write_text(json.dumps(content))

    # Running workers

    def start(self, *options: str, python: str = sys.executable, **variables: str) -> subprocess.Popen[bytes]:
        """Start a worker in the background."""
        digest = json.loads((self.array / "array.json").read_text())["code"]
        words = [python, str(self.code / f"{digest}.pyz"), "worker", "--array", str(self.array)]
        words += ["--job", "0001", "--resources", "r0", "--scratch", str(self.scratch)]
        words += ["--slots", "1", "--grace", "5", *options]
        environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME")}
        worker = subprocess.Popen(
            words, env={**environment, **variables}, stdin=subprocess.DEVNULL, start_new_session=True
        )
        self.workers.append(worker)
        return worker

    def run(self, *options: str, timeout: float = 120, **more: str) -> int:
        """Run a worker to its end and return its exit status."""
        return self.start(*options, **more).wait(timeout)

    # What came of it

    def files(self) -> list[Path]:
        """Return the workers' files."""
        return sorted(path for path in (self.array / "work" / "out").iterdir() if path.is_file())

    def headers(self, kind: str = "") -> list[dict[str, Any]]:
        """Return the headers of all whole records, of one kind if that is given."""
        found = [record.header for path in self.files() for record in records.scan(path.read_bytes())]
        return [header for header in found if kind in ("", header["kind"])]

    def tasks(self) -> list[Task]:
        """Return all task records in the order of tasks."""
        found = []
        for path in self.files():
            data = path.read_bytes()
            for record in records.scan(data):
                if record.header["kind"] == "task":
                    task = Task(record.header)
                    payload = data[record.payload : record.end - 1]
                    task.result, task.frames, output = records.parts(record.header, payload)
                    task.output = output.decode("utf-8", "replace")
                    found.append(task)
        return sorted(found, key=lambda task: int(task["task"]))

    def goodbye(self) -> dict[str, Any]:
        """Return the only goodbye."""
        (header,) = self.headers("goodbye")
        return header

    def wait(self, condition: Callable[[], object], timeout: float = 60) -> None:
        """Wait until something is true."""
        end = time.monotonic() + timeout
        while not condition():
            assert time.monotonic() < end, "it never became true"
            time.sleep(0.02)

    def processes(self) -> list[int]:
        """Return the pids of all processes that were started as tasks of these workers."""
        pids = [int(name) for name in os.listdir("/proc") if name.isdigit()]
        return [pid for pid in pids if scratch_of(pid).startswith(f"{self.scratch}/")]

    def close(self) -> None:
        """End what a failed test left running."""
        for worker in self.workers:
            if worker.poll() is None:
                os.kill(worker.pid, signal.SIGKILL)
                worker.wait()
        for pid in self.processes():
            os.kill(pid, signal.SIGKILL)


def find_python(version: str) -> str:
    """Return another Python of this machine, or skip the test."""
    found = shutil.which(f"python{version}")
    candidates = [found] if found else []
    candidates += [str(p) for p in Path.home().glob(f".pyenv/versions/{version}.*/bin/python")]
    for path in candidates:
        words = [path, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
        done = subprocess.run(words, capture_output=True, text=True, check=False)
        if done.stdout.strip() == version:  # and not a shim that leads nowhere
            return path
    pytest.skip(f"there is no Python {version} here")


@pytest.fixture
def old_python() -> Callable[[str], str]:
    return find_python


@pytest.fixture
def array(tmp_path: Path) -> Iterator[HandMade]:
    """A hand-made array in a directory whose name is meant to hurt."""
    made = HandMade(tmp_path / "a b%s'\"ü")
    yield made
    made.close()
