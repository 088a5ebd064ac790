"""Run a command of hpcflow in a forked process that kills itself at its Nth file operation.

Nothing in the product knows of this: the interpreter's audit events tell of files opened for writing, renamed,
linked, removed, of directories and of programs started; writes and syncs are counted by wrapping them.
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any

from campaign_harness import Campaign

_EVENTS = {
    "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.truncate", "os.utime",
    "subprocess.Popen",
}  # fmt: skip
_WRITING = os.O_WRONLY | os.O_RDWR


class Outcome:
    """How a command ended: its exit code, or None if it was killed; and how many operations it got to."""

    def __init__(self, code: int | None, operations: int, said: str) -> None:
        self.code = code
        self.operations = operations
        self.said = said


def command(campaign: Campaign, *arguments: str, kill_at: int = 0) -> Outcome:
    """Run one command in a fork, killed at its ``kill_at``-th operation (0: never)."""
    told, tell = os.pipe()
    output = campaign.home / "output"
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            os.close(told)
            code = _child(campaign, arguments, kill_at, tell, str(output))
        except BaseException:
            os.write(2, traceback.format_exc().encode())
        finally:
            os._exit(code)
    os.close(tell)
    with open(told, "rb") as stream:
        operations = len(stream.read())
    _, status = os.waitpid(pid, 0)
    said = output.read_text(errors="replace") if output.exists() else ""
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL, said
        return Outcome(None, operations, said)
    return Outcome(os.WEXITSTATUS(status), operations, said)


def _child(campaign: Campaign, arguments: tuple[str, ...], kill_at: int, tell: int, output: str) -> int:
    from hpcflow.cli.main import main

    os.environ.clear()
    os.environ.update(campaign.environment)
    os.chdir(campaign.directory)
    out = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    for fd in (1, 2):
        os.dup2(out, fd)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdin = open(0)  # noqa: SIM115 it lives as long as the process
    sys.stdout = os.fdopen(os.dup(1), "w", buffering=1)
    sys.stderr = os.fdopen(os.dup(2), "w", buffering=1)
    sys.argv = ["hpcflow", *arguments]
    _arm(kill_at, tell)
    try:
        main()
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
