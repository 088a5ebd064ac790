"""A slot process: runs the Python function of an array on one task after another.

Orders come as lines of JSON, answers leave as messages (``messages.py``), through two pipes that
children of tasks do not inherit. What is printed goes into a third pipe, with a mark after each task.
"""

from __future__ import annotations

import ctypes
import faulthandler
import json
import os
import signal
import sys
import time
import traceback
from types import FrameType
from typing import Any

from hpcflow.database import records
from hpcflow.worker.array import Array
from hpcflow.worker.directories import Attempts, Scratch
from hpcflow.worker.functions import Function, encode_output
from hpcflow.worker.image import short_digest
from hpcflow.worker.messages import (
    BATCH_FAILED,
    CANNOT_START,
    FAILURE,
    READY,
    RECORD,
    TERMINATED,
    Message,
    pack,
)

MESSAGE_LENGTH = 500
_IOLBF = 1
_dumps = json.JSONEncoder(separators=(",", ":")).encode


class Terminated(BaseException):
    """SIGTERM arrived while a task ran. Not an Exception: a task that catches those must still stop."""


def describe(error: BaseException) -> str:
    """Return one line that names an exception and its first line of text."""
    lines = str(error).strip().splitlines()
    text = f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
    return text[:MESSAGE_LENGTH]


class Slot:
    """The state of one slot process.

    Parameters
    ----------
    array
        The array.
    number
        Number of this slot in its worker.
    worker
        Name of the worker.
    scratch
        The worker's scratch directory.
    answers
        File descriptor for messages.
    mark
        Written to the output after each task.
    task_walltime
        The bound of each task in seconds; 0 means none.
    """

    def __init__(
        self,
        array: Array,
        number: int,
        worker: str,
        scratch: str,
        answers: int,
        mark: bytes,
        task_walltime: float,
    ) -> None:
        self.array = array
        self.number = number
        self.attempts = Attempts(array, worker)
        self.scratch = Scratch(scratch, number)
        self.answers = answers
        self.mark = mark
        self.task_walltime = task_walltime
        self.image = short_digest(worker)
        self.pid = os.getpid()
        self.output = os.dup(1)  # a task may point 1 and 2 elsewhere
        self.streams = (sys.stdout, sys.stderr)
        self.function: Function
        self.parameters: dict[str, Any] = {}
        self.deadline = float(os.environ.get("HPCFLOW_DEADLINE", "inf"))
        self.attempt = 0
        self.running = False
        self.terminated = False

    def start(self) -> bool:
        """Import the function and say whether that worked."""
        try:
            os.chdir(self.scratch.path)
            self.function = Function(self.array)
        except Exception as error:  # noqa: BLE001  importing runs code of others: whatever it raises is reported
            self._print_traceback(error)
            self._flush()
            self._send(Message(CANNOT_START, 0, 0.0, 0.0, describe(error).encode()))
            return False
        self._flush()
        self._write(self.output, self.mark)
        self._send(Message(READY, 0, 0.0, 0.0, b""))
        return True

    def serve(self, orders: int) -> None:
        """Carry out orders until there are no more."""
        with open(orders, "rb") as stream:
            for line in stream:
                order = json.loads(line)
                signal.signal(signal.SIGTERM, self.on_sigterm)  # the last task may have set its own
                if "parameters" in order:
                    self.parameters = order["parameters"]
                tasks = list(zip(order["tasks"], order["attempts"]))
                if self.function.batch:
                    self._run(order["list"], tasks, "")
                else:
                    for entry in tasks:
                        self._run(order["list"], [entry], order["from"].get(str(entry[0]), ""))

    def on_sigterm(self, number: int, frame: FrameType | None) -> None:
        """Stop the task that runs, or else the next before it begins, so that it can be said which it was."""
        if os.getpid() != self.pid:
            os._exit(128 + number)  # a child that a task forked and that inherited this function
        self.terminated = True
        if self.running:
            raise Terminated

    def _run(self, listed: int, tasks: list[tuple[int, int]], origin: str) -> None:
        """Run one task, or one batch of tasks, and answer."""
        header: dict[str, Any] = {
            "kind": "task",
            "list": listed,
            "task": tasks[0][0],
            "attempt": tasks[0][1],
            "state": "succeeded",
            "slot": self.number,
            "start": round(time.time(), 3),
            "seconds": 0.0,
            **self.image,
        }
        begun = time.perf_counter()
        error: BaseException | None = None
        values: list[Any] = []
        try:
            try:
                self.running = True
                if self.terminated:
                    raise Terminated
                self._prepare(tasks[0], origin)
                values = self.function.call([task for task, _ in tasks], self.parameters)
            finally:
                self.running = False
            seconds = (time.perf_counter() - begun) / len(tasks)
            answers = [self._success(header, task, seconds, value) for task, value in zip(tasks, values)]
        except BaseException as problem:  # noqa: BLE001  a task may raise anything, SystemExit included
            error = problem
        if os.getpid() != self.pid:
            os._exit(1)  # a forked child of the task came back here; only its parent may answer
        if error is not None:
            header["seconds"] = round(time.perf_counter() - begun, 6)
            answers = [self._failure(header, tasks, error)]
        self._flush()
        for answer in answers:
            self._write(self.output, self.mark)
            self._send(answer)
        if isinstance(error, Terminated):
            os._exit(0)  # the rest of the order goes back to the worker
        self._tidy()

    def _prepare(self, entry: tuple[int, int], origin: str) -> None:
        task, attempt = entry
        variables = os.environ
        variables["HPCFLOW_TASK"] = str(task)
        if attempt != self.attempt:
            variables["HPCFLOW_ATTEMPT"] = str(attempt)
            self.attempt = attempt
        variables["HPCFLOW_SEED"] = str(self.array.task_seed(task))
        if self.task_walltime:
            variables["HPCFLOW_DEADLINE"] = str(int(min(self.deadline, time.time() + self.task_walltime)))
        os.chdir(self.attempts.prepare(task, attempt, origin) if self.attempts.needed else self.scratch.path)

    def _success(self, header: dict[str, Any], entry: tuple[int, int], seconds: float, value: Any) -> Message:
        task, attempt = entry
        sizes, payload = encode_output(value)
        own = {**header, "task": task, "attempt": attempt, "seconds": round(seconds, 6), **sizes}
        if self.attempts.needed:
            files = self.attempts.keep(task, attempt)
            if files:
                own["files"] = files
        return Message(RECORD, task, seconds, _since_boot(), records.encode(own, payload))

    def _failure(self, header: dict[str, Any], tasks: list[tuple[int, int]], error: BaseException) -> Message:
        task, attempt = tasks[0]
        kind = FAILURE
        if isinstance(error, Terminated):
            kind = TERMINATED
            header["state"] = "unfinished"
        elif len(tasks) > 1:
            kind = BATCH_FAILED  # which task it was shows when each is run alone
        elif getattr(error, "hpcflow_state", "") == "unfinished":
            header["state"] = "unfinished"
        else:
            header["state"] = "failed"
            default = "oom" if isinstance(error, MemoryError) else "error"
            header["reason"] = getattr(error, "hpcflow_reason", default)
            header["message"] = describe(error)
            self._print_traceback(error)
        if header["state"] != "unfinished":
            self.attempts.discard(task, attempt)
        return Message(kind, task, header["seconds"], _since_boot(), _dumps(header).encode())

    def _tidy(self) -> None:
        """Undo what the task did to this process."""
        sys.stdout, sys.stderr = self.streams
        # A child whose handle nobody holds any more was left behind. One that is still held (a
        # calculator's server, say) may serve the next task, and ends with this process.
        for child in list(getattr(sys.modules.get("subprocess"), "_active", None) or ()):
            child.kill()
            child.wait()
        self.scratch.clear()
        if os.environ["HPCFLOW_SCRATCH"] != self.scratch.path:
            os.environ["HPCFLOW_SCRATCH"] = self.scratch.path

    def _flush(self) -> None:
        for stream in self.streams:
            try:
                stream.flush()
            except ValueError:
                pass  # the task closed it; what it printed before is in the pipe already

    def _print_traceback(self, error: BaseException) -> None:
        self._flush()
        trace = error.__traceback__
        while trace is not None and trace.tb_frame.f_globals.get("__name__", "").startswith(__package__ + "."):
            trace = trace.tb_next  # our own frames say nothing about the task
        text = "".join(traceback.format_exception(type(error), error, trace))
        self._write(self.output, text.encode("utf-8", "backslashreplace"))

    def _send(self, message: Message) -> None:
        self._write(self.answers, pack(message))

    def _write(self, fd: int, data: bytes) -> None:
        rest = memoryview(data)
        try:
            while rest:
                rest = rest[os.write(fd, rest) :]
        except BrokenPipeError:
            os._exit(1)  # the worker is gone; so is whoever could use the result


def _since_boot() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _line_buffering() -> None:
    """Let what C code prints appear where it belongs, although the output is a pipe."""
    libc = ctypes.CDLL(None)
    libc.setvbuf(ctypes.c_void_p.in_dll(libc, "stdout"), None, _IOLBF, ctypes.c_size_t(0))
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]


def main(argv: list[str]) -> int:
    """Run a slot process: ``slot ARRAY WORKER NUMBER SCRATCH ORDERS ANSWERS MARK TASK_WALLTIME``."""
    array, worker, number, scratch, orders, answers, mark, task_walltime = argv
    for fd in (int(orders), int(answers)):
        os.set_inheritable(fd, False)
    faulthandler.enable()
    _line_buffering()
    slot = Slot(Array(array), int(number), worker, scratch, int(answers), bytes.fromhex(mark), float(task_walltime))
    signal.signal(signal.SIGTERM, slot.on_sigterm)
    if not slot.start():
        return 1
    slot.serve(int(orders))
    return 0
