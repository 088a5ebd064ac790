"""This machine as a scheduler that never queues: jobs are background processes.

They survive the shell, the engine and the terminal they came from. Nothing is remembered: the
token in their environment says whose they are, and ``HOST:TOKEN`` is the id of a job, so that
whoever looks, whenever, finds the same id that ``submit`` returned.
"""

from __future__ import annotations

import errno
import math
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

from . import processes
from .base import Element, Ending, Limits, SchedulerError, State, Submission

# The first shell notes its pid, which stays the same through every exec; the second waits until
# the job may start. Only the third is bash, so that a BASH_ENV is read once.
_LAUNCH = 'export {leader}=$$; exec sh -c \'[ "$1" = 0 ] || sleep "$1"; exec bash "$0"\' "$0" "$1"'
_FINISH = "import sys; sys.path.insert(0, sys.argv[1]); from hpcflow.schedulers import processes; "
_FINISH += "processes.finish(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))"
_FINISHING = "HPCFLOW_FINISHING"
_PASSING = (errno.EAGAIN, errno.ENOMEM, errno.ENOSPC, errno.EDQUOT, errno.ESTALE)

_children: set[int] = set()  # started by this process and not yet waited for


class Local:
    """Jobs as background processes of this machine.

    Parameters
    ----------
    cores
        How many elements may run at once; by default the cores this process may use.
    grace
        Seconds between SIGTERM and SIGKILL when an element is cancelled.
    """

    def __init__(self, *, cores: int | None = None, grace: float = 30.0) -> None:
        self.host = socket.gethostname()
        self.cores = cores or len(os.sched_getaffinity(0))
        self.grace = grace

    def submit(self, submission: Submission) -> str:
        """Start the elements, at most ``throttle`` of them: nothing queues here, and a tick tops up."""
        width = min(submission.width, submission.throttle or submission.width)
        delay = max(0, math.ceil((submission.not_before or 0) - time.time()))
        started = 0
        try:
            output = _open_log(submission)
            try:
                for element in range(width):
                    self._start(submission, element, delay, output)
                    started += 1
            finally:
                os.close(output)
        except OSError as error:
            if not started:  # otherwise the job exists, only narrower
                kind = "transient" if error.errno in _PASSING else "permanent"
                raise SchedulerError(kind, f"cannot start {submission.script}: {error}") from error
        return f"{self.host}:{submission.name}"

    def listing(self) -> list[Element]:
        """Return the elements whose own process lives on this host. Starts no process."""
        _reap()
        if not os.path.exists("/proc/self/stat"):
            raise SchedulerError("permanent", "the local scheduler needs the /proc file system of Linux")
        now = time.time()
        return [
            Element(
                job=f"{self.host}:{carrier.job}",
                index=carrier.element,
                name=carrier.job,
                state=State.QUEUED if carrier.starts and carrier.starts > now else State.RUNNING,
                native="waiting" if carrier.starts and carrier.starts > now else f"process {carrier.leader}",
            )
            for carrier in processes.leaders(processes.carriers())
        ]

    def endings(self, elements: Iterable[Element]) -> Mapping[tuple[str, int | None], Ending]:
        """Nobody keeps account of processes that are gone."""
        return {}

    def cancel(self, elements: Iterable[Element]) -> None:
        """SIGTERM to the elements, and SIGKILL after the grace time to what is left of them.

        Asking again changes nothing while the first request still waits for its grace to pass.
        """
        wanted = list(elements)
        found = processes.carriers()
        targets = {(c.job, c.element): c for c in found}
        targets |= {(c.job, c.element): c for c in processes.leaders(found)}
        ending = set(processes.values(_FINISHING))
        for (job, index), carrier in targets.items():
            asked = (e for e in wanted if e.name == job and e.job == f"{self.host}:{job}")
            if f"{job}.{index}" not in ending and any(e.index in (None, index) for e in asked):
                self._stop(carrier)
        elsewhere = sorted({e.job for e in wanted if e.job.rpartition(":")[0] != self.host})
        if elsewhere:
            raise SchedulerError(
                "permanent",
                f"{', '.join(elsewhere)} runs on another host and cannot be reached from {self.host}: "
                "log in there and cancel again",
            )

    def limits(self) -> Limits:
        """One element per core: the class's shape may ask for fewer."""
        return Limits(submit=self.cores, running=self.cores)

    def visible(self, host: str, pid: int, start: int) -> bool | None:
        """Look the process up in /proc. A worker in a pid namespace of its own cannot be seen."""
        if host != self.host:
            return None
        _reap()
        return processes.alive(pid, start)

    def _start(self, submission: Submission, element: int, delay: int, output: int) -> None:
        environment = _environment()
        environment[processes.JOB] = submission.name
        environment[processes.ELEMENT] = str(element)
        if delay:
            environment[processes.START] = str(time.time() + delay)
        launch = _LAUNCH.format(leader=processes.LEADER)
        command = ["sh", "-c", launch, str(submission.script.absolute()), str(delay)]
        _detach(command, environment, output, submission.script.absolute().parent)

    def _stop(self, carrier: processes.Carrier) -> None:
        label = f"{carrier.job}.{carrier.element}"
        whole = carrier.pid == carrier.leader
        for number in (signal.SIGTERM, signal.SIGCONT):  # a stopped process must wake up to end
            processes.send(carrier.leader if whole else carrier.pid, number, group=whole)
        root = str(Path(__file__).resolve().parent.parent.parent)
        arguments = [carrier.job, str(carrier.element), str(self.grace)]
        command = [sys.executable, "-I", "-c", _FINISH, root, *arguments]
        null = os.open(os.devnull, os.O_WRONLY)
        try:
            _detach(command, {**_environment(), _FINISHING: label}, null, Path("/"))
        except OSError as error:
            message = f"{label} was asked to stop but nobody will see to it: {error}"
            raise SchedulerError("transient", message, command) from error
        finally:
            os.close(null)


def _open_log(submission: Submission) -> int:
    if submission.log is None:
        return os.open(os.devnull, os.O_WRONLY)
    submission.log.mkdir(parents=True, exist_ok=True)
    path = submission.log / f"{submission.name}.out"
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)


def _detach(command: list[str], environment: Mapping[str, str], output: int, directory: Path) -> None:
    """Start a process in a session of its own that keeps nothing of ours open."""
    child = subprocess.Popen(
        command,
        env=environment,
        cwd=directory,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        start_new_session=True,
        close_fds=True,
    )
    child.returncode = 0  # it is waited for in _reap: its object must not complain when it goes away
    _children.add(child.pid)


def _reap() -> None:
    """Wait for children that have ended: a long-lived engine must not collect zombies."""
    for pid in list(_children):
        try:
            ended = os.waitpid(pid, os.WNOHANG)[0] == pid
        except ChildProcessError:
            ended = True  # somebody else waited for it
        if ended:
            _children.discard(pid)


def _environment() -> dict[str, str]:
    """Return our own environment without what marks a local job, in case we are one."""
    marks = (processes.JOB, processes.ELEMENT, processes.LEADER, processes.START, _FINISHING)
    return {name: value for name, value in os.environ.items() if name not in marks}
