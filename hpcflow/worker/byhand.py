"""One task by hand, as ``hpcflow explain`` suggests: ``python DIGEST.pyz task ARRAY TASK``.

It runs in a new directory that stays, in this process, with nothing caught and nothing recorded.
"""

from __future__ import annotations

import os
import sys
import tempfile

from hpcflow.worker.array import Array
from hpcflow.worker.commands import command_of
from hpcflow.worker.functions import Function, encode_output
from hpcflow.worker.processes import SHELL


def main(argv: list[str]) -> int:
    """Run one task and print its result; a command replaces this process."""
    array, task = Array(argv[0]), int(argv[1])
    directory = tempfile.mkdtemp(prefix=f"hpcflow-task-{task}-")
    print(f"task {task} of {array.path} in {directory}", file=sys.stderr)
    os.environ.update(
        HPCFLOW_TASK=str(task),
        HPCFLOW_ATTEMPT="1",
        HPCFLOW_SEED=str(array.task_seed(task)),
        HPCFLOW_SCRATCH=directory,
        HPCFLOW_CAMPAIGN=array.campaign,
    )
    for name, value in (("CORES", str(len(os.sched_getaffinity(0)))), ("GPUS", "0"), ("LAUNCH", "")):
        os.environ.setdefault(f"HPCFLOW_{name}", value)
    os.chdir(directory)
    if array.function["kind"] == "command":
        command = command_of(array, task, {}, directory)
        print(command, file=sys.stderr, flush=True)
        os.execv(SHELL, [SHELL, "-c", command])
    (value,) = Function(array).call([task], array.parameters)
    _, payload = encode_output(value)
    sys.stdout.flush()
    sys.stdout.buffer.write(payload if payload.endswith(b"\n") else payload + b"\n")
    return 0
