"""The private Slurm of the tests, as Python objects."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hpcflow.schedulers.slurm import Slurm

SCRIPT = Path(__file__).with_name("cluster")
PROGRAMS = ("sbatch", "slurmctld", "slurmd", "munged")
NODES = ("n1", "n2", "n3", "n4")
PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"


class Cluster:
    """The running test cluster: what a test may do to it."""

    def __init__(self, directory: Path, *, accounting: bool) -> None:
        self.directory = directory
        self.accounting = accounting
        self.environment = {"SLURM_CONF": str(directory / "etc" / "slurm.conf"), "PATH": PATH}

    def run(self, *command: str) -> str:
        """Run a client and return what it prints; it must succeed."""
        env = {**os.environ, **self.environment, "SLURM_TIME_FORMAT": "%s"}
        done = subprocess.run(command, env=env, capture_output=True, text=True)
        assert done.returncode == 0, f"{command}: {done.stderr or done.stdout}"
        return done.stdout

    def signal(self, name: str, *parts: str) -> None:
        """Send a signal (``KILL``, ``STOP``, ``CONT``) to daemons."""
        self.run(str(SCRIPT), "signal", str(self.directory), name, *parts)

    def up(self, *parts: str) -> None:
        """Start daemons again, or let them go on."""
        self.run(str(SCRIPT), "up", str(self.directory), *parts)

    def slurm(self, **keys: object) -> Slurm:
        """Return a scheduler for this cluster."""
        return Slurm(environment=self.environment, **keys)  # type: ignore[arg-type]

    def until(self, condition: Callable[[], object], seconds: float = 60) -> None:
        """Wait for something that Slurm will do."""
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "Slurm never did it:\n" + self.run("squeue", "--states=all")
            time.sleep(0.1)

    def calm(self) -> None:
        """Bring everything back: all daemons up, no job left, all nodes usable."""
        parts = ["munged", "mariadbd", "slurmdbd"] if self.accounting else ["munged"]
        parts += ["slurmctld", *NODES]
        self.up(*parts)
        if self.run("squeue", "--noheader"):
            for state in ("PENDING", "RUNNING", "SUSPENDED"):  # without a filter scancel wants an id
                self.run("scancel", f"--state={state}")
        self.until(lambda: self._usable() and not self.run("squeue", "--noheader"))

    def _usable(self) -> bool:
        """Whether no node is down; one that is gets a push, which may come too early or too late."""
        ill = self.run("sinfo", "--noheader", "--Node", "--states=down,drain", "--format=%N").split()
        if ill:
            env = {**os.environ, **self.environment}
            command = ["scontrol", "update", f"nodename={','.join(sorted(set(ill)))}", "state=resume"]
            subprocess.run(command, env=env, capture_output=True)
        return not ill


def missing_programs() -> list[str]:
    """Return the programs of Slurm that are not installed here."""
    return [program for program in PROGRAMS if shutil.which(program, path=PATH) is None]


@contextmanager
def running_cluster() -> Iterator[Cluster]:
    """Start a Slurm of four nodes, with accounting if its packages are installed, and stop it at the end."""
    accounting = all(shutil.which(program, path=PATH) for program in ("slurmdbd", "mariadbd"))
    directory = Path(tempfile.mkdtemp(prefix="slurm-"))  # not below that of pytest, which is private
    command = [str(SCRIPT), "start", str(directory), "--users=nobody", f"--nodes={len(NODES)}"]
    try:
        subprocess.run([*command, "--accounting"] if accounting else command, check=True)
        yield Cluster(directory, accounting=accounting)
    finally:
        subprocess.run([str(SCRIPT), "stop", str(directory)], check=True)
        shutil.rmtree(directory, ignore_errors=True)
