"""A campaign in a directory of its own, driven through the real command line.

Commands have a home directory of their own, so nothing of the person who runs the tests counts, and
whatever a campaign leaves running is found by that directory and ended.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from forked import Finished, Fork, Stop

from hpcflow.database.journal import Journal

ROOT = Path(__file__).resolve().parent.parent
LAUNCHER = "from hpcflow.cli.main import main\nmain()\n"


class Campaign:
    """One campaign.

    Parameters
    ----------
    directory
        Made if it is not there.
    home
        Home directory of its commands and workers.
    """

    def __init__(self, directory: Path, home: Path) -> None:
        self.directory = directory
        self.home = home
        directory.mkdir(parents=True, exist_ok=True)
        home.mkdir(parents=True, exist_ok=True)
        self._launcher = home / "launch_hpcflow.py"
        self._launcher.write_text(LAUNCHER)
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(home),
            "XDG_CONFIG_HOME": str(home / "config"),
            "XDG_CACHE_HOME": str(home / "cache"),
            "PYTHONPATH": str(ROOT),
            "OMP_NUM_THREADS": "1",
            "LANG": "C.UTF-8",
        }

    # -- the user's files

    def write(self, name: str, text: str) -> Path:
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def at(self, directory: Path) -> Campaign:
        """The same campaign, or a copy of it, elsewhere."""
        return Campaign(directory, self.home)

    # -- commands

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, str(self._launcher), *arguments]

    def hpcflow(self, *arguments: str, kill_at: int = 0, **environment: str) -> Finished:
        """Run one command to its end, whatever that is, or kill it at one of its file operations."""
        return self.fork(*arguments, stop=Stop(kill_at), **environment).wait()

    def fork(
        self,
        *arguments: str,
        stop: Stop | None = None,
        before: Callable[[], object] | None = None,
        **environment: str,
    ) -> Fork:
        """Start one command in a fork."""
        return Fork(arguments, self.directory, {**self.environment, **environment}, stop or Stop(), before)

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start a command and do not wait for it."""
        return subprocess.Popen(
            self.command(*arguments),
            cwd=self.directory,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def good(self, *arguments: str) -> str:
        """Run a command that must not complain, and return what it printed."""
        done = self.hpcflow(*arguments)
        assert done.returncode in (0, 3), f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr, done.stderr
        return done.stdout

    def refused(self, *arguments: str) -> str:
        """Run a command that must end with one message to the user, and return the message."""
        done = self.hpcflow(*arguments)
        assert done.returncode == 2, f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr, done.stderr
        assert done.stderr.startswith("Error: "), done.stderr
        return done.stderr

    def status(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.good("status", "--json"))
        return found

    def poll(self) -> Finished:
        done = self.hpcflow("poll")
        assert done.returncode in (0, 3, 4, 75), done.stdout + done.stderr
        return done

    def run_to_end(self, limit: float = 90.0) -> Finished:
        """Poll until the campaign is done or needs a person."""
        end = time.monotonic() + limit
        while True:
            done = self.poll()
            if done.returncode in (0, 4):
                return done
            assert time.monotonic() < end, f"still not done: {self.status()}"
            time.sleep(0.05)

    def poll_until(self, reached: Callable[[dict[str, Any]], Any], limit: float = 90.0) -> dict[str, Any]:
        """Poll until the status is as wanted, and return it."""

        def look() -> dict[str, Any] | None:
            self.poll()
            status = self.status()
            return status if reached(status) else None

        found: dict[str, Any] = wait_for(look, limit)
        return found

    def finish(self, limit: float = 90.0) -> dict[str, Any]:
        """Poll until the campaign is done without a complaint, and return its status."""
        done = self.run_to_end(limit)
        assert done.returncode == 0, done.stdout + done.stderr
        return self.status()

    def results(self, array: str | None = None) -> list[Any]:
        """The results of an array in input order."""
        text = self.good("results", "--json", *([array] if array else []))
        return [json.loads(line)["result"] for line in text.splitlines()]

    # -- what is on disk

    @property
    def database(self) -> Path:
        return self.directory / ".hpcflow"

    def array(self, name: str) -> Path:
        """The directory of the newest array of this name."""
        return sorted((self.database / "arrays").glob(f"*-{name}"))[-1]

    def journal(self) -> list[dict[str, Any]]:
        """Decisions that count: not what a sleeper wrote after its epoch was over."""
        return list(Journal(self.database).read())

    def snapshot(self) -> dict[str, tuple[int, int, bytes]]:
        """Everything in the database: what is equal before and after was not touched."""
        found = {}
        for path in sorted(self.database.rglob("*")):
            status = path.lstat()
            content = path.read_bytes() if path.is_file() else b""
            found[str(path.relative_to(self.database))] = (status.st_ino, status.st_mtime_ns, content)
        return found

    # -- processes

    def processes(self) -> Iterator[tuple[int, dict[str, str]]]:
        """Pid and environment of all that belongs to jobs of this campaign."""
        mark = f"HOME={self.home}\0".encode()
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                environ = Path(f"/proc/{entry}/environ").read_bytes()
            except OSError:
                continue
            if b"HPCFLOW_JOB=" in environ and mark in environ:
                pairs = (part.split("=", 1) for part in environ.decode(errors="replace").split("\0") if "=" in part)
                yield int(entry), dict(pairs)  # type: ignore[arg-type]

    def workers(self) -> list[int]:
        """Pids of the elements' own processes, which are the workers once they have begun."""
        return [pid for pid, env in self.processes() if env.get("HPCFLOW_LEADER") == str(pid)]

    def slots(self) -> list[int]:
        """Pids of slot processes."""
        found = []
        for pid, _ in self.processes():
            try:
                words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            except OSError:
                continue
            if b"slot" in words:
                found.append(pid)
        return found

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Nothing of the campaign moves inside the block."""
        pids = [pid for pid, _ in self.processes()]
        for number in (signal.SIGSTOP, None, signal.SIGCONT):
            if number is None:
                yield
                continue
            for pid in pids:
                try:
                    os.kill(pid, number)
                except ProcessLookupError:
                    pass  # it ended by itself

    def end_processes(self) -> None:
        """Kill whatever is left. Twice, for what was being started."""
        for _ in range(3):
            pids = [pid for pid, _ in self.processes()]
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    pass  # it ended by itself
            if not pids:
                return
            time.sleep(0.02)


def wait_for(what: Callable[[], Any], limit: float = 60.0, say: str = "") -> Any:
    """Ask until the answer is true, and return it."""
    end = time.monotonic() + limit
    while not (answer := what()):
        assert time.monotonic() < end, say or "waited in vain"
        time.sleep(0.02)
    return answer


MakeCampaign = Callable[..., Campaign]
"""Type of the fixture ``make_campaign``."""
