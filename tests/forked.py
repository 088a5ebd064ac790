"""Run a command of hpcflow in a fork of the test's process, which has imported all it needs already.

The fork can be told to kill itself at its Nth file operation. Nothing in the product knows of this: the
interpreter's audit events tell of files opened for writing, renamed, linked, removed, of directories and of
programs started; writes and syncs are counted by wrapping them.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hpcflow.cli.main
import hpcflow.cli.poll
import hpcflow.cli.resume
import hpcflow.cli.submit
import hpcflow.engine.replay
import hpcflow.engine.submit
import hpcflow.schedulers.local
import hpcflow.sites.layers
import hpcflow.sites.scripts

_EVENTS = {
    "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.utime",
    "subprocess.Popen",
}  # fmt: skip
_WRITING = os.O_WRONLY | os.O_RDWR


@dataclass
class Finished:
    """How a command ended: its exit code (or minus the signal), what it said, and how many operations it got to."""

    returncode: int
    stdout: str
    stderr: str
    operations: int


def run(
    arguments: tuple[str, ...],
    directory: Path,
    environment: Mapping[str, str],
    outputs: Path,
    kill_at: int = 0,
    before: Callable[[], object] | None = None,
) -> Finished:
    """Run one command in a fork, killed at its ``kill_at``-th operation (0: never).

    Parameters
    ----------
    outputs
        Directory for what it prints.
    before
        Called in the fork first.
    """
    told, tell = os.pipe()
    stdout, stderr = outputs / "stdout", outputs / "stderr"
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            os.close(told)
            _redirect(stdout, stderr)
            os.environ.clear()
            os.environ.update(environment)
            os.chdir(directory)
            if before is not None:
                before()
            code = _command(arguments, kill_at, tell)
        except BaseException:  # noqa: BLE001 a fork must never come back into pytest
            traceback.print_exc()
        finally:
            for stream in (sys.stdout, sys.stderr):
                stream.flush()
            os._exit(code)
    os.close(tell)
    with open(told, "rb") as stream:
        operations = len(stream.read())
    _, status = os.waitpid(pid, 0)
    code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    return Finished(code, stdout.read_text("utf-8", "replace"), stderr.read_text("utf-8", "replace"), operations)


def _redirect(stdout: Path, stderr: Path) -> None:
    for fd, path in ((1, stdout), (2, stderr)):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), fd)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 it lives as long as the process
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115


def _command(arguments: tuple[str, ...], kill_at: int, tell: int) -> int:
    sys.argv = ["hpcflow", *arguments]
    _arm(kill_at, tell)
    try:
        hpcflow.cli.main.main()
    except SystemExit as leave:
        return int(leave.code or 0)
    return 0


def _arm(kill_at: int, tell: int) -> None:
    write, fsync = os.write, os.fsync
    count = 0

    def operation() -> None:
        nonlocal count
        count += 1
        if count == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        write(tell, b".")

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _EVENTS or (event == "open" and isinstance(arguments[2], int) and arguments[2] & _WRITING):
            operation()

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            operation()
            return function(*arguments)

        return call

    sys.addaudithook(hook)
    os.write = counted(write)
    os.fsync = counted(fsync)
