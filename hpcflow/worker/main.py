"""Setting a worker up and taking it down: its file, its scratch directory, its guard."""

from __future__ import annotations

import math
import os
import random
import signal
import sys
import tempfile
import time
from typing import Any

from hpcflow.worker import arguments, farewell, memory, resources
from hpcflow.worker.arguments import Options
from hpcflow.worker.array import Array
from hpcflow.worker.claims import Board
from hpcflow.worker.commandslot import CommandSlot
from hpcflow.worker.directories import Attempts, remove
from hpcflow.worker.estimate import Durations
from hpcflow.worker.flight import Setup
from hpcflow.worker.image import image_of
from hpcflow.worker.judge import Slot
from hpcflow.worker.loop import Loop
from hpcflow.worker.orphans import Orphans, start_ticks
from hpcflow.worker.processes import Guard, adopt_orphans
from hpcflow.worker.pythonslot import PythonSlot
from hpcflow.worker.recordfile import RecordFile
from hpcflow.worker.signals import Signals
from hpcflow.worker.supply import Supply

_LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
_RANDOM = random.SystemRandom()


def main(argv: list[str]) -> int:
    """Run one worker; the exit status is 0 unless it was told to stop, left as broken or had no room to write."""
    _open_standard_streams()
    options = arguments.read(argv, os.environ)
    board = Board(options.array, options.resources)
    if not board.unclaimed():
        return 0  # a late job, or a copy of one: it leaves no trace
    signals = Signals()
    try:
        array = Array(options.array)
        name, file = _create_file(array, options)
    except FileNotFoundError:
        return 0  # the array was finished just now
    except OSError as error:
        print(f"{options.array}: this worker cannot create its file: {error}", file=sys.stderr)
        return 1
    return _work(options, array, board, name, file, signals)


def _work(options: Options, array: Array, board: Board, name: str, file: RecordFile, signals: Signals) -> int:
    root, own = memory.own_cgroup()
    devices = os.listdir("/dev")
    shares = resources.cut(
        options,
        resources.usable_cpus(),
        resources.visible_gpus(options.gpu_variable, os.environ, devices),
        memory.limit(root, own),
        os.cpu_count() or 0,
    )
    file.add(_hello(options, name, len(shares)))
    file.sync()
    try:
        adopt_orphans()
        if options.scratch:
            os.makedirs(options.scratch, exist_ok=True)
        scratch = tempfile.mkdtemp(prefix="hpcflow-", dir=options.scratch or None)
    except OSError as error:
        message = f"no scratch directory: {error}"
        file.close({**_goodbye("broken", message), "broken": []})
        return 1
    orphans = Orphans(scratch)
    guard = Guard(scratch)
    stop_at = options.end - options.margin if options.end else 0.0
    durations = Durations()
    attempts = Attempts(array, name)
    setup = Setup(
        array=array,
        worker=name,
        scratch=scratch,
        null=os.open(os.devnull, os.O_RDONLY),
        attempts=attempts,
        deadline=stop_at,
        task_walltime=options.task_walltime,
        slot_command=_slot_command(options.slot_python),
    )
    base = dict(os.environ)
    base["HPCFLOW_CAMPAIGN"] = array.campaign
    base.pop("HPCFLOW_DEADLINE", None)
    if stop_at:
        base["HPCFLOW_DEADLINE"] = str(int(stop_at))
    kind = CommandSlot if array.function["kind"] == "command" else PythonSlot
    slots: list[Slot] = [kind(s, setup, resources.environment(s, options, base)) for s in shares]
    loop = Loop(
        options,
        array,
        slots,
        file=file,
        supply=Supply(board, name, durations, stop_at or math.inf),
        durations=durations,
        attempts=attempts,
        orphans=orphans,
        kills=memory.Kills(own),
        signals=signals,
        guard=guard.pid,
    )
    loop.run()
    goodbye = _goodbye(loop.reason, loop.message)
    if loop.reason == "broken":
        goodbye["broken"] = loop.broken
    if loop.output:
        goodbye["output"] = len(loop.output)
    written = file.close(goodbye, loop.output)
    attempts.leave()
    os.chdir("/")
    try:
        remove(scratch)
        guard.dismiss()
    except OSError:
        pass  # something still writes there: the guard tries again when this process has ended
    said = f"{name}: {loop.ledger.finished} tasks succeeded; leaves: {loop.reason}; {loop.message}"
    print(said.rstrip("; "), flush=True)
    in_order = written and loop.reason in ("no work", "walltime")
    if options.tick and in_order and farewell.last_at_work(options.array, name, options.beat):
        farewell.tick(options.tick, options.end, signals)
    if loop.reason == "signal":
        # As a shell would say it: of who ended a job, some schedulers know nothing but its exit status.
        return 128 + signal.Signals[loop.message]
    return 0 if written and loop.reason not in ("broken", "no space") else 1


def _create_file(array: Array, options: Options) -> tuple[str, RecordFile]:
    while True:
        name = f"{options.job}.{options.element}-" + "".join(_RANDOM.choices(_LETTERS, k=6))
        try:
            return name, RecordFile(os.path.join(array.out, name))
        except FileExistsError:
            continue  # another worker of the same job drew the same six letters


def _hello(options: Options, name: str, slots: int) -> dict[str, Any]:
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as stream:
        boot = stream.read().strip()
    return {
        "kind": "hello",
        "worker": name,
        "job": options.job,
        "element": options.element,
        "scheduler_id": options.scheduler_id,
        "host": os.uname().nodename,
        "boot": boot,
        "pid": os.getpid(),
        "start": start_ticks(os.getpid()),
        "time": round(time.time(), 3),
        "deadline": options.end or None,
        "slots": slots,
        "cores": options.cores,
        "gpus": options.gpus,
        "resources": options.resources,
        "python": "{}.{}.{}".format(*sys.version_info),
        "beat": options.beat,
        **image_of(options.job),
    }


def _goodbye(reason: str, message: str) -> dict[str, Any]:
    return {"kind": "goodbye", "time": round(time.time(), 3), "reason": reason, "message": message}


def _slot_command(python: str) -> tuple[str, ...]:
    """Return what starts a slot process: the same archive, or the same package outside of one."""
    archive = os.path.abspath(sys.argv[0])
    if archive.endswith(".pyz"):
        return (python, archive, "slot")
    return (python, "-m", "hpcflow.worker", "slot")


def _open_standard_streams() -> None:
    """Make sure that no pipe gets the number of a standard stream that is closed."""
    fd = os.open(os.devnull, os.O_RDWR)
    while fd < 3:
        fd = os.dup(fd)
    os.close(fd)
