"""Campaigns as they look after, or during, a lot of work that nobody has done."""

from __future__ import annotations

import time
from pathlib import Path

from hpcflow.database import records
from hpcflow.database.database import Database
from hpcflow.database.state import ArrayState
from hpcflow.engine.collect import collect_array
from hpcflow.engine.decide import decide_array
from hpcflow.engine.engine import Engine, open_engine
from hpcflow.engine.replay import replay
from hpcflow.version import __version__

FLOW = """
def noop(x):
    return x

def flow(run, count: int):
    run.map(noop, range(count)).results()
"""


def begin(campaign: Path, count: int) -> Database:
    """Write a campaign of one array of no-op tasks."""
    campaign.mkdir(parents=True)
    (campaign / "flow.py").write_text(FLOW)
    (campaign / "hpcflow.yaml").write_text(f"workflow: flow.py:flow\nsite: local\nparameters: {{count: {count}}}\n")
    database = Database(campaign)
    database.create()
    return database


def make_array(engine: Engine) -> ArrayState:
    """Let the engine make the array, and cut it into chunks, without anybody to work on it."""
    engine.record("campaign", version=__version__, site="local")
    replay(engine)
    (array,) = engine.live_arrays()
    decide_array(engine, array)
    return array


def work(engine: Engine, array: ArrayState) -> tuple[Path, bytes]:
    """Write what a worker writes that does all tasks; return its file and the content."""
    hello = {"kind": "hello", "worker": "w", "job": "", "element": 0, "host": "", "time": time.time(), "cores": 1}
    parts = [records.encode(hello)]
    for task in range(array.count):
        result = b"%d" % task
        header = {"kind": "task", "list": 1, "task": task, "attempt": 1, "state": "succeeded", "slot": 0}
        header |= {"start": round(time.time(), 3), "seconds": 1.2e-05, "result": len(result)}
        parts.append(records.encode(header, result))
    parts.append(records.encode({"kind": "goodbye", "time": time.time(), "reason": "no work", "message": ""}))
    path = engine.path(array) / "work" / "out" / "w"
    content = b"".join(parts)
    path.write_bytes(content)
    return path, content


def finished(campaign: Path, count: int) -> None:
    """Make a finished campaign of so many tasks: all that the engine does is done by the engine."""
    with open_engine(begin(campaign, count)) as engine:
        array = make_array(engine)
        work(engine, array)
        collect_array(engine, array)
        decide_array(engine, array)
        replay(engine)
        if not engine.state.campaign.finished:
            raise RuntimeError("the campaign is not finished")
