"""Run a command of hpcflow in a fork of the test's process, which has imported all it needs already.

The fork can be told to kill or to stop itself at its Nth file operation. Nothing in the product knows of this: the
interpreter's audit events tell of files opened for writing, renamed, linked, removed, of directories and of
programs started; writes and syncs are counted by wrapping them.
"""

from __future__ import annotations

import os
import selectors
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


@dataclass
class Stop:
    """At which file operation (from 1) a command gets a signal; 0 means never."""

    at: int = 0
    signal: int = signal.SIGKILL


class Fork:
    """A command that runs in a fork.

    Parameters
    ----------
    before
        Called in the fork first.
    """

    def __init__(
        self,
        arguments: tuple[str, ...],
        directory: Path,
        environment: Mapping[str, str],
        stop: Stop,
        before: Callable[[], object] | None = None,
    ) -> None:
        pipes = [os.pipe() for _ in range(3)]  # what it prints, and a byte for each operation
        self.pid = os.fork()
        if self.pid == 0:
            try:
                for reading, _ in pipes:
                    os.close(reading)
                _redirect(pipes[0][1], pipes[1][1])
                os.environ.clear()
                os.environ.update(environment)
                os.chdir(directory)
                if before is not None:
                    before()
                code = _command(arguments, stop, pipes[2][1])
                for stream in (sys.stdout, sys.stderr):
                    stream.flush()
                os._exit(code)
            except BaseException:  # noqa: BLE001 a fork must never come back into pytest
                traceback.print_exc()
                sys.stderr.flush()
            finally:
                os._exit(70)
        for _, writing in pipes:
            os.close(writing)
        self._pipes = [reading for reading, _ in pipes]

    def stops(self) -> bool:
        """Wait until it has stopped; False if it ended instead."""
        return os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT).si_code == os.CLD_STOPPED

    def wait(self) -> Finished:
        """Wait for its end."""
        stdout, stderr, operations = _read(self._pipes)
        _, status = os.waitpid(self.pid, 0)
        code = -os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        return Finished(code, stdout.decode("utf-8", "replace"), stderr.decode("utf-8", "replace"), len(operations))


def _read(pipes: list[int]) -> list[bytes]:
    """Read pipes until all are closed."""
    found = dict.fromkeys(pipes, b"")
    with selectors.DefaultSelector() as selector:
        for pipe in pipes:
            selector.register(pipe, selectors.EVENT_READ)
        while selector.get_map():
            for key, _ in selector.select():
                data = os.read(key.fd, 1 << 16)
                found[key.fd] += data
                if not data:
                    selector.unregister(key.fd)
                    os.close(key.fd)
    return list(found.values())


def _redirect(stdout: int, stderr: int) -> None:
    os.dup2(stdout, 1)
    os.dup2(stderr, 2)
    for fd in (stdout, stderr):
        os.close(fd)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 it lives as long as the process
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False)  # noqa: SIM115


def _command(arguments: tuple[str, ...], stop: Stop, tell: int) -> int:
    sys.argv = ["hpcflow", *arguments]
    _arm(stop, tell)
    try:
        hpcflow.cli.main.main()
    except SystemExit as leave:
        return int(leave.code or 0)
    return 0


def _arm(stop: Stop, tell: int) -> None:
    write, fsync = os.write, os.fsync
    count = 0

    def operation() -> None:
        nonlocal count
        count += 1
        if count == stop.at:
            os.kill(os.getpid(), stop.signal)
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
