"""What a benchmark says, and how times are taken: side by side, the best of several, as other load only adds."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EMPTY = [sys.executable, "-c", "pass"]
"""The least that any command costs."""


@dataclass
class Row:
    """One line of the table.

    ``ratio`` is to what ``against`` names, measured in the same run; ``goal`` is what the project wants.
    """

    what: str
    value: str
    against: str = ""
    ratio: float | None = None
    goal: str = ""


def seconds(work: Callable[[], object]) -> float:
    """Return how long a call takes."""
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def best(works: Sequence[Callable[[], object]], rounds: int) -> list[float]:
    """Return the shortest time of each in seconds; they take turns, so that a slow minute hits all of them."""
    times = [[seconds(work) for work in works] for _ in range(rounds)]
    return [min(column) for column in zip(*times, strict=True)]


def environment(home: Path) -> dict[str, str]:
    """Return an environment without anything of the person's own set-up."""
    kept = {name: os.environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in os.environ}
    return {**kept, "HOME": str(home), "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


@dataclass
class Command:
    """One hpcflow command in a campaign."""

    campaign: Path
    words: Sequence[str]

    @property
    def line(self) -> list[str]:
        return [sys.executable, "-m", "hpcflow", *self.words]

    @property
    def environment(self) -> dict[str, str]:
        return environment(self.campaign.parent)

    def run(self, *, good: Sequence[int] = (0, 3)) -> str:
        """Run it to its end and return what it printed."""
        done = subprocess.run(
            self.line,
            cwd=self.campaign,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode not in good:
            raise RuntimeError(f"{self.line} ended with {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def empty(self) -> None:
        """Start Python in the same place and let it do nothing."""
        subprocess.run(EMPTY, cwd=self.campaign, env=self.environment, check=True)

    def peak(self) -> float:
        """Return the largest memory of the process in MB."""
        # Asked of a small process between: what a large parent has in memory counts for its children, too.
        line = [sys.executable, "-c", _PEAK, *self.line]
        done = subprocess.run(line, cwd=self.campaign, env=self.environment, capture_output=True, text=True, check=True)
        return int(done.stdout) * 1024 / 1e6


_PEAK = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""
