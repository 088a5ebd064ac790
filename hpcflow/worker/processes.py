"""Starting processes and ending them."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Iterable, Sequence

SHELL = "/bin/sh"
# Python ignores these; programs expect them to have their usual effect.
_IGNORED_BY_PYTHON = (signal.SIGPIPE, signal.SIGXFSZ)
_PR_SET_CHILD_SUBREAPER = 36

# Runs beside every worker, sees the pipe close when it dies, and ends what it could not.
_GUARD = """trap '' HUP INT QUIT TERM USR1 USR2
read -r line
for round in 1 2 3; do
  for file in $(grep -lsF "HPCFLOW_SCRATCH=$1/" /proc/[0-9]*/environ); do
    pid=${file#/proc/}
    kill -KILL "${pid%/environ}" 2>/dev/null
  done
done
chmod -R u+rwx "$1"
rm -rf "$1"
"""


def adopt_orphans() -> None:
    """Let processes whose parent has died become ours instead of init's."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def spawn(
    words: Sequence[str],
    environment: dict[str, str],
    standard: tuple[int, int, int],
    passed: Iterable[int] = (),
    cpus: Sequence[int] = (),
) -> int:
    """Start a program in a process group of its own and return its pid.

    Parameters
    ----------
    words
        Absolute path of the program, and its arguments.
    environment
        All of its environment.
    standard
        File descriptors that become its standard input, output and error.
    passed
        Other file descriptors that stay open in it, under the same numbers.
    cpus
        Cores to bind it to; empty means to leave it free.

    Notes
    -----
    ``posix_spawn`` does not copy the page tables of this process, as ``fork`` does.
    """
    own = os.sched_getaffinity(0) if cpus else None
    passed = list(passed)
    for fd in passed:
        os.set_inheritable(fd, True)
    try:
        if cpus:
            os.sched_setaffinity(0, cpus)  # inherited
        return os.posix_spawn(
            words[0],
            list(words),
            environment,
            file_actions=[(os.POSIX_SPAWN_DUP2, fd, number) for number, fd in enumerate(standard)],
            setpgroup=0,
            setsigmask=[],
            setsigdef=_IGNORED_BY_PYTHON,
        )
    finally:
        if own is not None:
            os.sched_setaffinity(0, own)
        for fd in passed:
            os.set_inheritable(fd, False)


def send(pid: int, number: int) -> None:
    """Send a signal to the process group of a process that was started by ``spawn``."""
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        pass  # it has ended, which is what is wanted


def ended(pid: int) -> bool:
    """Return whether a child has ended. It is not reaped: its pid and its group stay its own."""
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def reap(pid: int) -> int:
    """End what is left in the group of an ended child, and return its exit status or minus its signal."""
    send(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)


class Guard:
    """A small shell beside the worker that cleans up if the worker is killed with SIGKILL.

    Parameters
    ----------
    scratch
        The worker's scratch directory: every process with it in its environment is a task's.
    """

    def __init__(self, scratch: str) -> None:
        reading, self._writing = os.pipe()
        null = os.open(os.devnull, os.O_RDWR)
        try:
            words = [SHELL, "-c", _GUARD, "hpcflow-guard", scratch]
            self.pid = spawn(words, {"PATH": os.defpath}, (reading, null, null))
        finally:
            os.close(reading)
            os.close(null)

    def dismiss(self) -> None:
        """End the guard: the worker has cleaned up itself."""
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._writing)
