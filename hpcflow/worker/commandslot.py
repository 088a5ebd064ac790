"""A slot that runs shell commands."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from hpcflow.worker.commands import command_of
from hpcflow.worker.directories import Scratch
from hpcflow.worker.flight import MOST_READS, Flight, Setup, Work, read
from hpcflow.worker.lastwords import last_words
from hpcflow.worker.output import Ring
from hpcflow.worker.processes import SHELL, reap, spawn
from hpcflow.worker.programs import Programs
from hpcflow.worker.resources import Share


class CommandSlot:
    """Runs shell commands, one at a time.

    Parameters
    ----------
    share
        What it may use.
    setup
        What all slots share.
    environment
        The environment of its tasks.
    """

    def __init__(self, share: Share, setup: Setup, environment: dict[str, str]) -> None:
        self.share = share
        self.number = share.number
        self.pid = 0
        self.ready = True
        self.used = False
        self.signalled = False
        self.flight = Flight()
        self._setup = setup
        self._environment = environment
        self._programs = Programs(environment)
        self._scratch = Scratch(setup.scratch, self.number)
        self.stdout, self._stdout = os.pipe()
        self.stderr, self._stderr = os.pipe()
        for fd in (self.stdout, self.stderr):
            os.set_blocking(fd, False)
        self.printed = Ring()
        """The kept part of the standard output."""
        self._both = Ring()
        self._errors = Ring()

    def give(self, works: Sequence[Work]) -> None:
        """Start the command of one task. Whatever its input makes impossible is raised."""
        (work,) = works
        self.used = True
        self.signalled = False
        self.printed, self._both, self._errors = Ring(), Ring(), Ring()
        self.flight.give(works)
        setup = self._setup
        directory = self._scratch.path
        if setup.attempts.needed:
            directory = setup.attempts.prepare(work.task, work.attempt, work.list.origin(work.task))
        command = command_of(setup.array, work.task, work.list.parameters, directory)
        environment = {
            **self._environment,
            "HPCFLOW_TASK": str(work.task),
            "HPCFLOW_ATTEMPT": str(work.attempt),
            "HPCFLOW_SEED": str(setup.array.task_seed(work.task)),
            "HPCFLOW_SCRATCH": self._scratch.path,
        }
        if setup.task_walltime:
            end = time.time() + setup.task_walltime
            environment["HPCFLOW_DEADLINE"] = str(int(min(end, setup.deadline or end)))
        os.chdir(directory)  # inherited; the worker itself uses absolute paths only
        self.pid = self._spawn(command, environment)

    def _spawn(self, command: str, environment: dict[str, str]) -> int:
        standard = (self._setup.null, self._stdout, self._stderr)
        words = self._programs.words(command)
        if words:
            try:
                return spawn(words, {**environment, "PWD": os.getcwd()}, standard, cpus=self.share.cpus)
            except OSError:
                pass  # gone, or a script that does not say what runs it: the shell knows what to do or to say
        return spawn([SHELL, "-c", command], environment, standard, cpus=self.share.cpus)

    def read_output(self) -> bool:
        """Take some of what was printed; return whether there was anything."""
        printed = read(self.stdout)
        if printed:
            self.printed.feed(printed)
            self._both.feed(printed)
        errors = read(self.stderr)
        if errors:
            self._errors.feed(errors)
            self._both.feed(errors)
        return bool(printed or errors)

    def bury(self) -> int:
        """Reap the ended command and return its exit status or minus its signal."""
        code = reap(self.pid)
        self.pid = 0
        self._drain()
        return code

    def output_since_mark(self) -> bytes:
        """Return the kept part of standard output and error, in the order they arrived."""
        return self._both.content()

    def last_error(self) -> str:
        """Return the line of the standard error that says best what went wrong."""
        return last_words(self._errors.content().decode("utf-8", "replace"))[:200]

    def tidy(self) -> None:
        """Empty the scratch directory."""
        self._scratch.clear()

    def _drain(self) -> None:
        for _ in range(MOST_READS):
            if not self.read_output():
                break
