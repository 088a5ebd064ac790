"""Jobs given to a stand-in, and what one wants to know of them."""

from __future__ import annotations

import itertools
import os
import shlex
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from hpcflow.schedulers.base import Element, Ending, Scheduler, State, Submission
from hpcflow.schedulers.lsf import LSF
from hpcflow.schedulers.pbs import PBS

STANDINS = Path(__file__).parent / "standins"
_numbers = itertools.count(1)


def until(condition: Callable[[], object], seconds: float = 30) -> None:
    """Wait for something that a stand-in will do."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.05)


def environment(directory: Path, **settings: str) -> dict[str, str]:
    """Return the variables under which the programs of a scheduler are its stand-ins."""
    found = {"PATH": f"{STANDINS}:{os.environ['PATH']}", "STANDIN_STATE": str(directory / "state")}
    return found | {f"STANDIN_{name.upper()}": value for name, value in settings.items()}


def end_keepers(directory: Path) -> None:
    """Kill what the stand-ins started."""
    for pid in _processes(f"STANDIN_STATE={directory / 'state'}".encode()):
        os.kill(pid, signal.SIGKILL)


def _processes(mark: bytes) -> Iterator[int]:
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                if mark in (entry / "environ").read_bytes().split(b"\0"):
                    yield int(entry.name)
            except OSError:
                continue  # gone, or not ours


class Jobs:
    """Submits scripts under names of their own."""

    def __init__(self, scheduler: Scheduler, directory: Path) -> None:
        self.scheduler = scheduler
        self.directory = directory
        self._submitted: list[tuple[str, str]] = []

    def submit(self, *lines: str, **keys: object) -> tuple[str, str]:
        """Return id and name."""
        name = f"hf{next(_numbers):03d}token"
        script = self.directory / f"{name}.sh"
        directives = [line for line in lines if line.startswith("#")]
        if isinstance(self.scheduler, (PBS, LSF)):  # as the templates of these do
            directives.append(f"exec >> {shlex.quote(str(self.directory / 'log' / name))}.out 2>&1")
        commands = [line for line in lines if not line.startswith("#")]
        script.write_text("\n".join(["#!/bin/bash", *directives, *commands, ""]))
        keys = {"width": 1, "log": self.directory / "log", **keys}
        self._submitted.append((self.scheduler.submit(Submission(script=script, name=name, **keys)), name))  # type: ignore[arg-type]
        return self._submitted[-1]

    def end(self) -> None:
        """Cancel everything that was submitted."""
        self.scheduler.cancel([Element(job, None, name, State.UNKNOWN, "") for job, name in self._submitted])

    def states(self, name: str) -> dict[int | None, State]:
        """Return the states of the elements of that name."""
        return {e.index: e.state for e in self.scheduler.listing() if e.name == name}

    def wait(self, name: str, *states: State) -> None:
        """Wait until the elements are in these states, in the order of their indices."""
        until(lambda: [s for _, s in sorted(self.states(name).items(), key=lambda i: i[0] or 0)] == list(states))

    def gone(self, name: str) -> None:
        """Wait until no element of that name lives any more."""
        until(lambda: set(self.states(name).values()) <= {State.ENDED})

    def ending(self, job: str, name: str, index: int | None = None) -> Ending | None:
        """Return what accounting says of an element."""
        element = Element(job, index, name, State.UNKNOWN, "")
        return self.scheduler.endings([element]).get((job, index))
