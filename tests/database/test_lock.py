"""The lock: one holder, who is replaced when dead, watched when it cannot be seen, and fenced when it only slept."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from campaign_harness import ROOT, wait_for

from hpcflow.database import lock as lock_module
from hpcflow.database.lock import Lock, LostLock
from hpcflow.errors import Busy

HOLD = """
import sys, time
from pathlib import Path
from hpcflow.database import lock
lock.LEASE, lock.BEAT = float(sys.argv[2]), float(sys.argv[3])
with lock.Lock(Path(sys.argv[1])) as held:
    print("held", flush=True)
    for line in sys.stdin:
        try:
            held.verify()
            print("verified", flush=True)
        except lock.LostLock:
            print("lost", flush=True)
"""


class Holder:
    """Another process that holds the lock until it is told to leave."""

    def __init__(self, path: Path, lease: float = 30.0, beat: float = 4.0) -> None:
        command = [sys.executable, "-c", HOLD, str(path), str(lease), str(beat)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        assert self.says() == "held"

    def says(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def verify(self) -> str:
        assert self.process.stdin is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return self.says()

    def leave(self) -> None:
        self.process.kill()
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "lock"


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lease short enough to wait it out."""
    monkeypatch.setattr(lock_module, "LEASE", 1.0)
    monkeypatch.setattr(lock_module, "BEAT", 0.1)


def test_it_is_free_again_when_it_was_released(path: Path) -> None:
    with Lock(path):
        assert path.exists()
    assert not path.exists()
    with Lock(path) as again:
        assert not again.raise_epoch


def test_a_holder_at_work_is_busy_and_named(path: Path) -> None:
    holder = Holder(path)
    try:
        with pytest.raises(Busy, match=str(holder.process.pid)), Lock(path):
            pass
    finally:
        holder.leave()


def test_patience_waits_for_the_release(path: Path) -> None:
    first = Lock(path).__enter__()
    threading.Timer(0.3, lambda: first.__exit__(None, None, None)).start()
    with Lock(path, patience=20) as second:
        second.verify()


def test_a_killed_holder_is_replaced_at_once(path: Path) -> None:
    holder = Holder(path)
    holder.leave()
    with Lock(path) as mine:
        assert not mine.raise_epoch  # it is dead for sure


def test_a_zombie_does_not_hold(path: Path) -> None:
    holder = Holder(path)
    holder.process.kill()
    stat = Path(f"/proc/{holder.process.pid}/stat")
    wait_for(lambda: stat.read_text().rpartition(")")[2].split()[0] == "Z")
    try:
        with Lock(path) as mine:
            assert not mine.raise_epoch
    finally:
        holder.leave()


def test_a_lock_file_that_was_made_and_never_written_is_taken_away(path: Path, short: None) -> None:
    path.touch()
    with Lock(path) as mine:
        mine.verify()


def foreign(path: Path) -> None:
    path.write_text("filelock/2\npid=12345\nhost=another-host\nmode=lease\ntoken=abc\nduration=1.0\nstart=1\n")


def test_a_silent_holder_on_another_host_is_replaced_after_the_lease_and_the_epoch_raised(
    path: Path, short: None
) -> None:
    foreign(path)
    begin = time.monotonic()
    with Lock(path) as mine:
        assert mine.raise_epoch
    assert time.monotonic() - begin >= 0.9


def test_a_beating_holder_on_another_host_is_busy(path: Path, short: None) -> None:
    foreign(path)
    stop = threading.Event()

    def beat() -> None:
        while not stop.wait(0.1):
            os.utime(path)

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        with pytest.raises(Busy, match="another-host"), Lock(path):
            pass
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("patience", [0.0, 10.0])
def test_a_sleeping_holder_is_replaced_and_knows_it_when_it_wakes_up(path: Path, short: None, patience: float) -> None:
    holder = Holder(path, lease=1.0, beat=0.1)
    try:
        assert holder.verify() == "verified"
        holder.process.send_signal(signal.SIGSTOP)
        time.sleep(1.2)
        with Lock(path, patience) as mine:
            assert mine.raise_epoch, "nobody knows that the sleeper is dead"
            holder.process.send_signal(signal.SIGCONT)
            assert holder.verify() == "lost"
            mine.verify()
            assert path.exists()
    finally:
        holder.leave()


def test_losing_the_file_is_noticed(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with Lock(path) as mine:
        path.unlink()
        monkeypatch.setattr(mine, "_verified", 0.0)
        with pytest.raises(LostLock):
            mine.verify()


def test_of_many_only_one_holds_at_a_time(path: Path, tmp_path: Path) -> None:
    """Each process adds one to a number that it read before: nothing is lost only if they take turns."""
    count = tmp_path / "count"
    count.write_text("0")
    code = (
        "import sys, time\nfrom pathlib import Path\nfrom hpcflow.database.lock import Lock\n"
        "path, count = map(Path, sys.argv[1:])\n"
        "for _ in range(5):\n"
        "    with Lock(path, patience=60):\n"
        "        seen = int(count.read_text()); time.sleep(0.002); count.write_text(str(seen + 1))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    processes = [
        subprocess.Popen([sys.executable, "-c", code, str(path), str(count)], env=environment) for _ in range(4)
    ]
    assert [process.wait(120) for process in processes] == [0] * 4
    assert count.read_text() == "20"
