"""One worker: takes chunks, keeps its slots busy, writes down what comes of it, and leaves in time."""

from __future__ import annotations

import json
import math
import selectors
import signal
import time
from typing import Any

from hpcflow.worker.arguments import Options
from hpcflow.worker.array import Array, InputChanged
from hpcflow.worker.commands import BadCommand
from hpcflow.worker.commandslot import CommandSlot
from hpcflow.worker.directories import Attempts
from hpcflow.worker.estimate import BATCH, HAND_OVER, Durations, HandOver
from hpcflow.worker.flight import Work, ask, press
from hpcflow.worker.judge import Judge, Slot
from hpcflow.worker.ledger import Ledger
from hpcflow.worker.memory import Kills
from hpcflow.worker.messages import BATCH_FAILED, CANNOT_START, READY, RECORD, TERMINATED, Message
from hpcflow.worker.orphans import Orphans
from hpcflow.worker.processes import ended, send
from hpcflow.worker.pythonslot import PythonSlot
from hpcflow.worker.recordfile import RecordFile
from hpcflow.worker.signals import Signals
from hpcflow.worker.supply import Supply
from hpcflow.worker.verdict import say, stopped

PATIENCE = 30.0
"""Seconds to wait for room on a full disk, at most."""
RETRY = 1.0
STARTS = 3
"""If so many slots in a row cannot start, the worker leaves."""
SECOND_LOOK = 0.02
"""Seconds until processes are looked at again that did not say which task they belong to."""
COALESCE = 0.002
"""Seconds to let answers of short tasks gather: waking up for each costs more than the task."""
MANY = 50
"""Tasks are short if a slot still has so many of its hand-over."""


class Loop:
    """The loop of one worker. After ``run``, ``reason`` and ``message`` say why it left.

    Parameters
    ----------
    options, array
        What to do.
    slots
        Where tasks run.
    file, supply, attempts, orphans, kills, signals
        See their classes.
    durations
        Shared with ``supply``.
    guard
        Pid of the guard, which is no orphan.
    """

    def __init__(
        self,
        options: Options,
        array: Array,
        slots: list[Slot],
        *,
        file: RecordFile,
        supply: Supply,
        durations: Durations,
        attempts: Attempts,
        orphans: Orphans,
        kills: Kills,
        signals: Signals,
        guard: int,
    ) -> None:
        self.options = options
        self.array = array
        self.slots = slots
        self.file = file
        self.supply = supply
        self.durations = durations
        self.attempts = attempts
        self.orphans = orphans
        self.signals = signals
        self.guard = guard
        self.ledger = Ledger(file, array.count)
        self.judge = Judge(options, bool(array.function.get("checkpoint")), attempts, self.ledger, kills, durations)
        self.stop_at = options.end - options.margin if options.end else math.inf
        self.reason = ""
        self.message = ""
        self.output = b""
        """What a slot printed that could not start."""
        self.broken: list[int] = []
        """The tasks that failed for the worker's own fault."""
        self._batch = bool(array.function.get("batch")) and not attempts.needed
        self._sizes = HandOver(BATCH if self._batch else HAND_OVER)
        self._failed_starts = 0
        self._late = False
        self._next_beat = time.monotonic() + options.beat
        self._sweep_due = False
        self._gather = False
        self._selector = selectors.DefaultSelector()
        self._selector.register(signals.fd, selectors.EVENT_READ)
        for slot in slots:
            if isinstance(slot, CommandSlot):
                for fd in (slot.stdout, slot.stderr):
                    self._selector.register(fd, selectors.EVENT_READ, slot.read_output)

    def run(self) -> None:
        """Work until there is no work or no time left, or somebody says stop."""
        while True:
            moved = not self.reason and self._fill()
            self.judge.write_successes()
            self._blame()
            full = not self.file.flush()
            if full:
                self._no_room()
            waiting = self._busy() or self.ledger.waiting or (full and not self.reason)
            if not moved and not waiting:
                break
            ready = self._selector.select(self._patience() if waiting else 0.0)
            for key, _ in ready:
                if key.data is not None:
                    key.data()
            self._signalled()  # afterwards: it closes what is ready above
            if self._gather:
                self._gather = False
                time.sleep(COALESCE)
            if self._sweep_due:
                self._sweep()
            self._timers()
        self.ledger.release(math.inf)
        self._end_all()
        if self.reason == "broken":
            self.broken, _ = self.ledger.broken()
        if not self.reason:
            self.reason = "walltime" if self._late and self.supply.left() else "no work"

    def _busy(self) -> bool:
        return any(slot.flight.works for slot in self.slots) or self._starting() > 0

    def _starting(self) -> int:
        """Count the slots that will soon ask for work."""
        return 0 if self.reason else sum(1 for slot in self.slots if slot.pid and not slot.ready)

    # Handing over

    def _fill(self) -> bool:
        """Give every idle slot something to do, if there is something and time for it; return whether there was."""
        if self.file.trouble:
            return False
        moved = False
        starting = self._starting()
        busy = starting > 0 or any(slot.flight.works for slot in self.slots)
        for slot in self.slots:
            if slot.flight.works or (slot.pid and not slot.ready) or self.reason:
                continue
            if not self.supply.in_time(slot.used):
                self._late = True
            elif isinstance(slot, PythonSlot) and not slot.pid:
                if self._ensure(starting + 1, hurry=not busy):
                    self._start(slot)
                    starting += 1
                    moved = busy = True
            elif self._ensure(1, hurry=not busy):
                self._give(slot)
                moved = busy = True
        return moved

    def _ensure(self, wanted: int, hurry: bool) -> bool:
        try:
            return self.supply.ensure(wanted, hurry)
        except OSError as error:  # a claim is a file too
            self._stop("no space", f"cannot take a chunk: {error}")
            return False

    def _give(self, slot: Slot) -> None:
        python = isinstance(slot, PythonSlot)
        most = self._sizes.size if python and not self.attempts.needed else 1
        works = self.supply.take(most, len(self.slots))
        self.ledger.started(slot.number, works)
        if not self.file.flush():  # nobody could tell what it was doing
            self.supply.put_back(works)
            return
        self.judge.starts(slot)
        if isinstance(slot, PythonSlot):
            slot.give(works)
            return
        try:
            slot.give(works)
        except (InputChanged, BadCommand, OSError, ValueError) as error:
            header = self.judge.header(slot, works[0], f"{type(error).__name__}: {error}")
            header["reason"] = getattr(error, "hpcflow_reason", "error")
            slot.flight.works.clear()
            self.judge.failed(slot, works[0], header, b"", stopped=False)
            slot.tidy()

    def _start(self, slot: PythonSlot) -> None:
        try:
            slot.start()
        except OSError as error:
            self._start_failed(f"{self.options.slot_python}: {error.strerror}", b"")
            return
        self._selector.register(slot.answers, selectors.EVENT_READ, lambda: self._answers(slot))
        self._selector.register(slot.output, selectors.EVENT_READ, slot.read_output)

    def _start_failed(self, message: str, output: bytes) -> None:
        self._failed_starts += 1
        if self._failed_starts >= STARTS:
            self.output = output
            self._stop("broken", f"slots cannot start: {message}")

    # What comes back from Python slots

    def _answers(self, slot: PythonSlot) -> None:
        for message in slot.read_answers():
            self._answer(slot, message)
        self._gather = self._gather or len(slot.flight.works) > MANY

    def _answer(self, slot: PythonSlot, message: Message) -> None:
        flight = slot.flight
        if message.kind == READY:
            slot.ready = True
            slot.splitter.skip()
            self._failed_starts = 0
        elif message.kind == CANNOT_START:
            slot.excuse = message.body.decode("utf-8", "replace")
        elif message.kind == RECORD:
            slot.splitter.skip()
            flight.works.popleft()
            self.ledger.succeeded(message.body)
            self.durations.add(message.seconds)
            self._next(slot, message.ended)
        elif message.kind == BATCH_FAILED:
            slot.output_of_task()
            self.supply.put_back(flight.works, alone=True)
            flight.works.clear()
            self._next(slot, message.ended)
        elif message.kind == TERMINATED:
            self._terminated(slot, json.loads(message.body))
            self._next(slot, message.ended)
        else:
            work = flight.works.popleft()
            output = slot.output_of_task()
            header = json.loads(message.body)
            if header["state"] == "unfinished" and flight.asked != "timeout":
                self.judge.unfinished(work, header)
            else:
                header.setdefault("reason", "error")
                self.judge.failed(slot, work, header, output, stopped=False)
            self._next(slot, message.ended)

    def _terminated(self, slot: PythonSlot, header: dict[str, Any]) -> None:
        """SIGTERM ended a task, and with it the slot's process; the rest of the hand-over goes back."""
        works = list(slot.flight.works)
        slot.flight.works.clear()
        output = slot.output_of_task()
        slot.leave()
        if not slot.flight.asked and slot.signalled:
            # The signal was meant for the task before, which ended at the same moment.
            self.supply.put_back(works)
        elif self._together(slot, works):
            self.supply.put_back(works, alone=True)
        else:
            self.supply.put_back(works[1:])
            header.update(message=say(-signal.SIGTERM), reason="error", exit=-signal.SIGTERM)
            self.judge.failed(slot, works[0], header, output, stopped=True)

    def _together(self, slot: PythonSlot, works: list[Work]) -> bool:
        """Return whether tasks died as one batch, so that each has to show alone what it does."""
        return self._batch and len(works) > 1 and slot.flight.asked != "stop"

    def _next(self, slot: PythonSlot, boot: float) -> None:
        """One task of a hand-over came back: the next has begun, or the slot is idle."""
        flight = slot.flight
        if not flight.works:
            self._sizes.done(flight.given, time.monotonic() - flight.handed)
            self._sweep_due = True
        elif self.reason:
            slot.cut = True  # too late for the rest of what it was given, but answers may be on their way
            send(slot.pid, signal.SIGKILL)
        flight.next_begins(boot)

    # Ends of processes

    def _signalled(self) -> None:
        noted = self.signals.take()
        stops = [number for number in noted if number != signal.SIGCHLD]
        if stops:
            self._deaths()  # what ended before the signal ended by itself
            if not self.reason:
                self._stop("signal", signal.Signals(stops[0]).name)
        if noted:
            self._sweep_due = True
            self._deaths()

    def _deaths(self) -> None:
        for slot in self.slots:
            if not slot.pid or not ended(slot.pid):
                continue
            if isinstance(slot, PythonSlot):
                self._slot_died(slot)
            else:
                code = slot.bury()
                self.judge.command_ended(slot, slot.flight.works.popleft(), code)
                slot.tidy()

    def _slot_died(self, slot: PythonSlot) -> None:
        for message in slot.read_answers():
            self._answer(slot, message)
        output = slot.output_since_mark()
        was_ready = slot.ready
        self._selector.unregister(slot.answers)
        self._selector.unregister(slot.output)
        code = slot.bury()
        flight = slot.flight
        if not was_ready:
            if not self.reason and not slot.leaving:
                self._start_failed(slot.excuse or say(code), output)
            return
        if not flight.works:
            return
        works = list(flight.works)
        flight.works.clear()
        if slot.cut or not slot.delivered:
            self.supply.put_back(works)
            return
        if self._together(slot, works):
            self.supply.put_back(works, alone=True)
            return
        self.supply.put_back(works[1:])
        header = self.judge.header(slot, works[0], say(code))
        header["exit"] = code
        self.judge.failed(slot, works[0], header, output, stopped(code))

    # Stopping

    def _blame(self) -> None:
        """Leave if the first tasks say that this worker, and not they, is at fault."""
        tasks, message = self.ledger.broken()
        if tasks and not self.reason:
            self._stop("broken", message)

    def _stop(self, reason: str, message: str) -> None:
        """Start no task any more, and ask those that run to stop."""
        self.reason, self.message = reason, message
        if reason in ("signal", "walltime"):
            self.ledger.stopping()
        for slot in self.slots:
            if slot.flight.works:
                if not slot.flight.asked:
                    ask(slot, "stop", self.options.grace, twice=False)
            elif slot.pid:
                send(slot.pid, signal.SIGKILL)

    def _no_room(self) -> None:
        """The file could not be written: wait for a while, then leave."""
        patience = min(PATIENCE, self.options.beat)
        if not self.reason and time.monotonic() - self.file.since > patience:
            self._stop("no space", self.file.trouble)

    def _end_all(self) -> None:
        """Let nothing survive this worker."""
        for slot in self.slots:
            if slot.pid:
                send(slot.pid, signal.SIGKILL)
                slot.bury()
        for _ in range(100):
            if not self.orphans.end(self.guard):
                break
            time.sleep(0.01)  # the dead make orphans of their children

    def _sweep(self) -> None:
        pids = {slot.pid: slot.number for slot in self.slots if slot.pid}
        busy = {slot.number: slot.flight.boot for slot in self.slots if slot.flight.works}
        self._sweep_due = self.orphans.sweep(self.guard, pids, busy)

    # Time

    def _patience(self) -> float:
        """Return how long nothing needs to be done unless something happens, in seconds."""
        now = time.monotonic()
        due = [self._next_beat, self.ledger.due]
        if self.file.trouble:
            due.append(now + RETRY)
        if self._sweep_due:
            due.append(now + SECOND_LOOK)
        for slot in self.slots:
            flight = slot.flight
            if not flight.works:
                continue
            if flight.asked:
                due += [at for at in (flight.again_at, flight.kill_at) if at]
            elif self.options.task_walltime:
                due.append(flight.began + self.options.task_walltime)
        if not self.reason:
            due.append(now + self.stop_at - time.time())
        return min(max(0.0, min(due) - now), 3600.0)

    def _timers(self) -> None:
        now = time.monotonic()
        if now >= self._next_beat:
            self._beat(now)
        self.ledger.release(now)
        for slot in self.slots:
            flight = slot.flight
            if not flight.works:
                continue
            if flight.asked:
                press(slot, now)
            elif self.options.task_walltime and now >= flight.began + self.options.task_walltime:
                ask(slot, "timeout", self.options.grace, twice=bool(self.options.launch))
        if not self.reason and time.time() >= self.stop_at:
            self._deaths()
            self._stop("walltime", "")

    def _beat(self, now: float) -> None:
        self._next_beat = now + self.options.beat
        tasks = [slot.flight.works[0].task for slot in self.slots if slot.flight.works]
        self.file.add({"kind": "beat", "time": round(time.time(), 3), "tasks": tasks})
        self.file.sync()
        self._sweep_due = True
        if self.file.removed() and not self.reason:
            self._stop("no work", "the array is done")  # without what runs here: it was dropped, or done elsewhere
