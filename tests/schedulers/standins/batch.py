"""A tiny batch system in a directory: what the stand-ins for PBS and LSF have in common.

$STANDIN_STATE is its directory, $STANDIN_SLOTS how many elements run at once (4). Every job has a
keeper, a process of its own that starts the elements as there is room, waits for them, ends them
at their walltime and writes down what became of them.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

STATE = Path(os.environ.get("STANDIN_STATE", "/nonexistent"))


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Hold a lock of the batch system."""
    STATE.mkdir(parents=True, exist_ok=True)
    with open(STATE / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def write(path: Path, value: object) -> None:
    """Write JSON in one step."""
    new = path.with_name(f"{path.name}.{os.getpid()}.{threading.get_ident()}")
    new.write_text(json.dumps(value))
    new.rename(path)


def submit(job: dict, script: str) -> int:
    """Take a job and return its number.

    Its keys: name, width, array (bool), throttle, begin, walltime, output, first, environment,
    directory, held, signals (names of those that end it, by what ends it).

    $STANDIN_MOST: elements that may be there at once. $STANDIN_MUTE and $STANDIN_AWAY name files: while
    the first is there, a job is taken and the program dies without a word, or fails with what stands in the
    file; while the second is, no question is answered. $STANDIN_MEMORY=1: what dies of SIGKILL had used up its memory.
    """
    if living() + job["width"] > int(os.environ.get("STANDIN_MOST", "1000000")):
        raise Full
    with locked("submit"):
        counter = STATE / "counter"
        number = int(counter.read_text()) + 1 if counter.exists() else 1
        counter.write_text(str(number))
    directory = STATE / str(number)
    directory.mkdir()
    (directory / "script").write_text(script)
    indices = range(job["first"], job["first"] + job["width"])
    for index in indices:
        write(directory / f"{index}.element", {"state": "waiting"})
    write(directory / "job", {**job, "number": number, "submitted": time.time()})
    # As a batch system does: nothing of whoever submitted reaches the job by itself.
    command = [sys.executable, __file__, str(number)]
    log = open(directory / "keeper.log", "wb")  # noqa: SIM115  (the keeper keeps it)
    child = subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, close_fds=True
    )
    child.returncode = 0
    mute = Path(os.environ.get("STANDIN_MUTE", "/nonexistent"))
    if mute.exists():
        if text := mute.read_text():
            print(text, file=sys.stderr)
            sys.exit(255)
        os.kill(os.getpid(), signal.SIGKILL)
    return number


def called() -> str:
    """Return the name of the program that was called, and write it down."""
    name = Path(sys.argv[0]).name
    STATE.mkdir(parents=True, exist_ok=True)
    with open(STATE / "calls", "a") as calls:
        calls.write(f"{name}\n")
    return name


def away() -> bool:
    """Whether nobody answers questions now."""
    return Path(os.environ.get("STANDIN_AWAY", "/nonexistent")).exists()


def out_of_memory(element: dict) -> bool:
    """Whether an element died because it used more memory than it had."""
    return os.environ.get("STANDIN_MEMORY") == "1" and element["exit"] in (-9, 137)


def node_file(directory: Path, name: str, nodes: int, lines: int) -> str:
    """Write down the nodes of a job, so many lines for each, and return the path."""
    path = directory / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"node{node}\n" * lines for node in range(nodes)))
    return str(path)


class Full(Exception):
    """There is no room for a job."""


def living() -> int:
    """Count the elements that wait or run."""
    return sum(e["state"] in ("waiting", "running") for job in jobs() for e in job["elements"].values())


def jobs() -> list[dict]:
    """Return all jobs with their elements, in the order of their numbers."""
    found = []
    for path in sorted(STATE.glob("*/job"), key=lambda p: int(p.parent.name)):
        elements = {int(p.stem): json.loads(p.read_text()) for p in path.parent.glob("*.element")}
        found.append({**json.loads(path.read_text()), "elements": dict(sorted(elements.items()))})
    return found


def end(number: int, index: int, by: str) -> None:
    """Ask an element to end: one that waits never starts, one that runs gets signals."""
    (STATE / str(number) / f"{index}.end").write_text(by)


class Keeper:
    """Runs the elements of one job."""

    def __init__(self, number: int) -> None:
        self.directory = STATE / str(number)
        self.job = json.loads((self.directory / "job").read_text())
        self.room = threading.Semaphore(self.job["throttle"] or self.job["width"])

    def run(self) -> None:
        """Run all elements and wait for them."""
        first = self.job["first"]
        threads = [threading.Thread(target=self.element, args=(first + i,)) for i in range(self.job["width"])]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def note(self, index: int, **keys: object) -> None:
        """Write down what is known of an element."""
        path = self.directory / f"{index}.element"
        write(path, {**json.loads(path.read_text()), **keys})

    def ending(self, index: int) -> str:
        """Who asked an element to end, if anybody did."""
        path = self.directory / f"{index}.end"
        return path.read_text() if path.exists() else ""

    def element(self, index: int) -> None:
        """Wait for room, run one element, and note how it ended."""
        while not self.may_start(index):
            if self.ending(index):
                self.note(index, state="deleted", end=time.time())
                return
            time.sleep(0.05)
        try:
            self.run_script(index)
        finally:
            self.room.release()
            (STATE / f"slot.{self.job['number']}.{index}").unlink()

    def may_start(self, index: int) -> bool:
        """Take a slot of the machine and one of the job, if both are free."""
        if self.job["held"] or time.time() < self.job["begin"] or not self.room.acquire(blocking=False):
            return False
        with locked("slots"):
            if len(list(STATE.glob("slot.*"))) < int(os.environ.get("STANDIN_SLOTS", "4")):
                (STATE / f"slot.{self.job['number']}.{index}").touch()
                return True
        self.room.release()
        return False

    def run_script(self, index: int) -> None:
        """Run the script as a process and wait until it or its time is over."""
        job = self.job
        environment = {k: v.replace("{index}", str(index)) for k, v in job["environment"].items()}
        output = self.directory / f"{index}.output"
        with open(output, "wb") as log:
            child = subprocess.Popen(
                ["bash", str(self.directory / "script")],
                env=environment,
                cwd=job["directory"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        started = time.time()
        self.note(index, state="running", pid=child.pid, start=started)
        killed, next_signal = "", []
        since = 0.0
        while child.poll() is None:
            time.sleep(0.05)
            if not killed:
                over = job["walltime"] and time.time() - started > job["walltime"]
                killed = "walltime" if over else self.ending(index)
                next_signal = [signal.Signals[f"SIG{name}"] for name in job["signals"].get(killed, ())]
            if killed and next_signal and time.time() - since > 5:
                os.killpg(child.pid, next_signal.pop(0))
                since = time.time()
        self.deliver(index, output)
        self.note(index, state="done", exit=child.returncode, killed=killed, end=time.time())

    def deliver(self, index: int, output: Path) -> None:
        """Bring the output to where it was wanted, when all is over."""
        target = Path(self.job["output"].replace("^array_index^", str(index)))
        mode = "ab" if self.job["append"] else "wb"
        if str(target) != "/dev/null" and target.parent.is_dir():
            with open(target, mode) as file:
                file.write(output.read_bytes())


if __name__ == "__main__":
    Keeper(int(sys.argv[1])).run()
