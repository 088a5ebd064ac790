"""The one place that runs scheduler programs.

They run without what a surrounding job left in the environment (inside a Slurm job,
``SBATCH_*`` and ``SLURM_*`` would silently change the next job), in the C locale, in a session of
their own, and they die with the engine: an orphaned sbatch would submit a minute later.
"""

from __future__ import annotations

import ctypes
import errno
import fnmatch
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from .base import SchedulerError, Submission

SUBMIT_TIMEOUT = 180.0
"""Seconds for a submission. sbatch retries by itself for 120 s when the controller is full or busy,
and then succeeds: a shorter patience would kill submissions that work."""

QUERY_TIMEOUT = 120.0
"""Seconds for everything else. Some clients hang for ever while their server is away (LSF)."""

_SLURM = ("SLURM_*", "SBATCH_*", "SQUEUE_*", "SACCT_*", "SALLOC_*", "SCANCEL_*", "SINFO_*", "SRUN_*")
_OF_JOBS = (*_SLURM, "SCONTROL_*", "SPANK_*", "PBS_*", "LSB_*", "LS_*", "BSUB_*")
_OF_THE_MACHINE = ("SLURM_CONF", "SLURM_CONF_SERVER", "PBS_CONF_FILE", "PBS_EXEC", "PBS_SERVER", "PBS_DEFAULT")
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Reply:
    """What a program said. ``exit_code`` is negative for a signal, as in ``subprocess``."""

    command: tuple[str, ...]
    exit_code: int
    stdout: str
    stderr: str
    timed_out: bool
    seconds: float

    @property
    def said(self) -> str:
        """Both outputs, errors first, for a person to read."""
        return "\n".join(part.strip() for part in (self.stderr, self.stdout) if part.strip())

    @property
    def fate(self) -> str:
        """How it ended, in a few words."""
        if self.timed_out:
            return f"did not answer in {self.seconds:.0f} s"
        if self.exit_code < 0:
            return f"was killed by signal {-self.exit_code}"
        return f"ended with exit code {self.exit_code}"


def environment(
    extra: Mapping[str, str] | None = None,
    keep: Iterable[str] = (),
    drop: Iterable[str] = (),
) -> dict[str, str]:
    """Return the environment for scheduler programs.

    Parameters
    ----------
    extra
        Variables that the site sets.
    keep
        Names (or patterns) of inherited scheduler variables that the site wants to keep. Those
        that only say where the scheduler's configuration is are always kept.
    drop
        Names (or patterns) of further inherited variables that must not reach the programs.
    """
    keep = (*_OF_THE_MACHINE, *keep)
    drop = (*_OF_JOBS, *drop)
    kept = {k: v for k, v in os.environ.items() if _matches(k, keep) or not _matches(k, drop)}
    kept.pop("LANGUAGE", None)
    return {**kept, "LC_ALL": "C", **(extra or {})}


def run(
    argv: Sequence[str],
    *,
    timeout: float = QUERY_TIMEOUT,
    env: Mapping[str, str] | None = None,
    input: str | None = None,
    cwd: Path | None = None,
) -> Reply:
    """Run a program to its end and return what it said.

    Call it from the thread that lives as long as the engine does: the kernel ends the program
    with the thread that started it.

    Raises
    ------
    SchedulerError
        ``permanent`` if the program cannot be started at all, ``transient`` if this machine has
        no room for a process now. In both cases nothing has happened.
    """
    command = tuple(argv)
    variables = environment() if env is None else env
    began = time.monotonic()
    try:
        child = subprocess.Popen(
            command,
            env=variables,
            cwd=cwd,
            stdin=subprocess.DEVNULL if input is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            errors="replace",
            start_new_session=True,
            preexec_fn=_die_with(os.getpid()),
        )
    except OSError as error:
        raise _not_started(command, error, variables) from error
    timed_out = False
    try:
        stdout, stderr = child.communicate(input, timeout=timeout)
    except subprocess.TimeoutExpired:
        timed_out = True
        stdout, stderr = _end(child)
    except BaseException:  # an interrupt must not leave a submission running behind our back
        _end(child)
        raise
    exit_code = -signal.SIGKILL if child.returncode is None else child.returncode
    return Reply(command, exit_code, stdout, stderr, timed_out, time.monotonic() - began)


def failure(kind: str, reply: Reply, what: str = "") -> SchedulerError:
    """Return the error for a program that did not do what it was asked, with its last words."""
    text = re.split(r"^usage:", reply.stderr.strip() or reply.stdout.strip(), flags=re.I | re.M)[0]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    # The last lines hold the verdict, and before it what it is about.
    said = what or "; ".join(lines[-2:]) or "it said nothing"
    return SchedulerError(kind, f"{reply.command[0]} {reply.fate}: {said}", reply.command, reply.said)


def submit_directory(submission: Submission) -> Path:
    """Return where to run a submission, after making it if need be.

    Schedulers start jobs where they were submitted, and a log directory that does not exist ends
    some before they can say why.

    Raises
    ------
    SchedulerError
        ``permanent`` if it cannot be made.
    """
    directory = (submission.log or submission.script.parent).absolute()
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise SchedulerError("permanent", f"cannot make the log directory {directory}: {error}") from error
    return directory


def _die_with(parent: int) -> Callable[[], None]:
    """Return what the child does before it becomes the program.

    Everything is looked up beforehand: no import and no lock of another thread is touched there.
    A set-user-id program drops the wish, and what a wrapper script starts never had it: the
    engine still looks for the token before it submits again.
    """
    prctl, getppid, leave, number = _libc.prctl, os.getppid, os._exit, int(signal.SIGKILL)

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)
        if getppid() != parent:  # it died before we asked
            leave(127)

    return ask


def _end(child: subprocess.Popen[str]) -> tuple[str, str]:
    """Kill a program with everything it started, and return what it had said."""
    try:
        os.killpg(child.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass  # it ended by itself in the last moment
    try:
        return child.communicate(timeout=2)
    except subprocess.TimeoutExpired as stuck:
        # Something that it started in another session holds the pipe, or it hangs in the kernel.
        for pipe in (child.stdin, child.stdout, child.stderr):
            if pipe is not None:
                pipe.close()
        child.poll()
        said = (stuck.stdout or b"", stuck.stderr or b"")
        return said[0].decode(errors="replace"), said[1].decode(errors="replace")


def _not_started(command: Sequence[str], error: OSError, env: Mapping[str, str]) -> SchedulerError:
    name = command[0]
    # A directory on PATH that may not be read turns "not found" into "permission denied".
    if isinstance(error, (FileNotFoundError, PermissionError)) and not shutil.which(name, path=env.get("PATH")):
        message = f"{name} was not found on this machine (PATH={env.get('PATH', '')}): "
        message += "is this the right site, and is the scheduler's module loaded?"
        return SchedulerError("permanent", message, command)
    passing = error.errno in (errno.EAGAIN, errno.ENOMEM, errno.ENFILE, errno.EMFILE)
    kind = "transient" if passing else "permanent"
    return SchedulerError(kind, f"cannot start {name}: {error}", command)


def _matches(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)
