"""What becomes of tasks that ended: results, failures, and what was merely stopped."""

from __future__ import annotations

import json
import time
from typing import Any, Union

from hpcflow.worker.arguments import Options
from hpcflow.worker.commandslot import CommandSlot
from hpcflow.worker.directories import Attempts
from hpcflow.worker.estimate import Durations
from hpcflow.worker.flight import Work
from hpcflow.worker.image import short_digest
from hpcflow.worker.ledger import Ledger, as_unfinished
from hpcflow.worker.memory import Kills
from hpcflow.worker.output import Ring
from hpcflow.worker.pythonslot import PythonSlot
from hpcflow.worker.verdict import CHECKPOINTED, say, stopped

Slot = Union[PythonSlot, CommandSlot]


class Judge:
    """Decides what is written down about each task.

    Parameters
    ----------
    options
        Of the worker.
    checkpoint
        Whether the array's function writes checkpoints.
    attempts, ledger, kills, durations
        See their classes.
    """

    def __init__(
        self,
        options: Options,
        checkpoint: bool,
        attempts: Attempts,
        ledger: Ledger,
        kills: Kills,
        durations: Durations,
    ) -> None:
        self._bound = options.task_walltime
        self._checkpoint = checkpoint
        self._attempts = attempts
        self._ledger = ledger
        self._kills = kills
        self._durations = durations
        self._kills_before: dict[int, int] = {}
        self._successes: list[tuple[Work, dict[str, Any], Ring]] = []
        self._image = short_digest(options.job)

    def starts(self, slot: Slot) -> None:
        """A slot is about to be given tasks."""
        self._kills_before[slot.number] = self._kills.count()

    def command_ended(self, slot: CommandSlot, work: Work, code: int) -> None:
        """A command ended with an exit status, or minus a signal."""
        asked = slot.flight.asked
        if code == 0 and not asked:
            self._successes.append((work, self.header(slot, work, ""), slot.printed))
        elif code == CHECKPOINTED and self._checkpoint and asked != "timeout":
            self.unfinished(work, self.header(slot, work, ""))
        else:
            last = slot.last_error()
            header = self.header(slot, work, f"{say(code)}: {last}" if last else say(code))
            header["exit"] = code
            self.failed(slot, work, header, slot.output_since_mark(), stopped(code))

    def write_successes(self) -> None:
        """Write down the commands that succeeded: done when their slots are busy again, it costs no time."""
        for work, header, printed in self._successes:
            try:
                files = self._attempts.keep(work.task, work.attempt) if self._attempts.needed else []
            except OSError as error:  # what it was to keep cannot be read
                header["message"] = f"{type(error).__name__}: {error}"
                self._ledger.failure(header, printed.content(), stopped=False)
                continue
            text = printed.content().decode("utf-8", "replace")
            payload = json.dumps({"exit_status": 0, "stdout": text}, separators=(",", ":")).encode()
            header.update(state="succeeded", result=len(payload))
            del header["reason"], header["message"]
            if files:
                header["files"] = files
            self._ledger.success(header, payload)
            self._durations.add(header["seconds"])
        self._successes.clear()

    def header(self, slot: Slot, work: Work, message: str) -> dict[str, Any]:
        """Return the header of a task that failed with an error just now."""
        return {
            "kind": "task",
            "list": work.list.number,
            "task": work.task,
            "attempt": work.attempt,
            "state": "failed",
            "slot": slot.number,
            "start": round(slot.flight.started, 3),
            "seconds": round(time.monotonic() - slot.flight.began, 6),
            "reason": "error",
            "message": message,
            **self._image,
        }

    def unfinished(self, work: Work, header: dict[str, Any]) -> None:
        """A task stopped, by its own account or by ours."""
        self._attempts.discard(work.task, work.attempt)
        self._ledger.unfinished(as_unfinished(header))

    def failed(self, slot: Slot, work: Work, header: dict[str, Any], output: bytes, stopped: bool) -> None:
        """A task failed, unless this worker itself is what ended it.

        Parameters
        ----------
        slot, work
            Where it ran, and what it was.
        header
            Of its record, with reason and message.
        output
            The kept part of what it printed.
        stopped
            Whether it ended as if somebody had stopped it.
        """
        asked = slot.flight.asked
        if asked == "stop" and header["reason"] != "input changed":
            self.unfinished(work, header)
            return
        header["state"] = "failed"
        if asked == "timeout":
            header["reason"] = "timeout"
            header["message"] = f"stopped after {self._bound:g} s, the max_walltime of its class"
        elif header["reason"] == "error" and self._kills.count() > self._kills_before.get(slot.number, 0):
            header["reason"] = "oom"
        self._attempts.discard(work.task, work.attempt)
        self._ledger.failure(header, output, stopped)
