"""Which nodes are left out, and for how long."""

from __future__ import annotations

from pathlib import Path

import pytest

from hpcflow.database.database import Database
from hpcflow.database.state import State
from hpcflow.engine.engine import Engine
from hpcflow.engine.excluded import LONGEST, MOST, exclude_node, excluded_nodes, include_all
from hpcflow.schedulers.base import Cause, Ending

SITE = "classes: {default: {walltime: 10m}}\nscheduler: {kind: slurm}\n"


class Clock(Engine):
    """An engine whose time the test sets."""

    time = 1e9

    def now(self) -> float:
        return self.time

    def fails(self, nodes: str) -> None:
        """An element ends because of its node."""
        exclude_node(self, "cluster", Ending(Cause.NODE, "NODE_FAIL", nodes=nodes))


@pytest.fixture
def engine(tmp_path: Path) -> Clock:
    (tmp_path / "sites").mkdir()
    (tmp_path / "sites" / "cluster.yaml").write_text(SITE)
    return Clock(Database(tmp_path), State(), None, None)


def test_a_node_is_left_out_for_a_day(engine: Clock) -> None:
    engine.fails("n1")
    assert excluded_nodes(engine, "cluster") == ["n1"]
    assert excluded_nodes(engine, "another") == []
    engine.time += LONGEST + 1
    assert excluded_nodes(engine, "cluster") == []


def test_only_the_newest_few_are_left_out(engine: Clock) -> None:
    for number in range(MOST + 2):
        engine.time += 1
        engine.fails(f"n{number}")
        engine.fails(f"n{number}")  # said twice, it is the same node
    assert excluded_nodes(engine, "cluster") == [f"n{number}" for number in range(2, MOST + 2)]


def test_of_several_nodes_nobody_knows_which_one_it_was(engine: Clock) -> None:
    for nodes in ("n[1-2]", "n1,n2", ""):
        engine.fails(nodes)
    assert excluded_nodes(engine, "cluster") == []


def test_all_may_be_taken_again(engine: Clock) -> None:
    engine.fails("n1")
    include_all(engine, "cluster")
    assert excluded_nodes(engine, "cluster") == []
