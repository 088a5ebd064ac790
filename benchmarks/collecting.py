"""What it costs to collect a small record, against parsing the same bytes as JSON."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from benchmarks.made_up import begin, make_array, work
from benchmarks.ratios import Row, best
from hpcflow.database.state import WorkerState
from hpcflow.engine.collect import collect_array
from hpcflow.engine.engine import open_engine

COUNT = 200_000


def measure() -> list[Row]:
    """Return the time per record of reading a worker's file anew, as a tick does."""
    with tempfile.TemporaryDirectory() as name, open_engine(begin(Path(name) / "campaign", COUNT)) as engine:
        array = make_array(engine)
        _, content = work(engine, array)
        headers = [line for line in content.splitlines() if line.startswith(b"{")]

        def collect() -> None:
            array.workers = {"w": WorkerState()}
            array.succeeded = 0
            engine.state.status[array.number] = bytearray(COUNT)
            collect_array(engine, array)
            if array.succeeded != COUNT:
                raise RuntimeError(f"{array.succeeded} records were collected")

        def parse() -> None:
            for line in headers:
                json.loads(line)

        collecting, parsing = (value * 1e6 / COUNT for value in best([collect, parse], 5))
    against = f"json.loads of it: {parsing:.1f} µs"
    return [Row("collect a small record", f"{collecting:.1f} µs", against, collecting / parsing, "20 µs")]
