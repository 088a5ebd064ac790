"""How long an answer about limits counts, and what a missing one changes."""

from types import SimpleNamespace
from typing import Any, cast

from hpcflow.engine.engine import Engine
from hpcflow.engine.limits import PARTLY_VALID, VALID, site_limits
from hpcflow.schedulers.base import Limits, SchedulerError


class Cluster:
    """A site without limits in its file, whose cluster answers what it is told to."""

    def __init__(self, *answers: Limits | SchedulerError) -> None:
        self.answers = list(answers)
        self.time = 1000.0
        campaign = SimpleNamespace(allowances={})
        self.fields: dict[str, Any] = {
            "state": SimpleNamespace(campaign=campaign),
            "site": lambda name: SimpleNamespace(limits=Limits()),
            "scheduler": lambda name: self,
            "now": lambda: self.time,
            "say_while": lambda text: None,
        }

    def limits(self) -> Limits:
        answer = self.answers.pop(0)
        if isinstance(answer, SchedulerError):
            raise answer
        return answer

    def tick(self, later: float = 0.0) -> Limits:
        """What a tick believes, so many seconds after the one before, if it asks three times."""
        self.time += later
        engine = cast(Engine, SimpleNamespace(**self.fields, silent=set(), changed=False))
        first, *others = [site_limits(engine, "cluster") for _ in range(3)]
        assert others == [first, first]
        return first


def test_an_answer_counts_for_an_hour() -> None:
    cluster = Cluster(Limits(submit=5), Limits(submit=6))
    assert [cluster.tick(later).submit for later in (0, VALID - 1, 2)] == [5, 5, 6]


def test_a_part_that_was_missing_is_asked_for_soon_and_what_was_known_holds_until_then() -> None:
    part = Limits(array=10, whole=False)
    cluster = Cluster(part, Limits(submit=5, array=10), part, Limits(submit=7, array=10))
    assert cluster.tick().submit is None
    assert cluster.tick(PARTLY_VALID + 1).submit == 5
    assert cluster.tick(VALID + 1).submit == 5
    assert cluster.tick(PARTLY_VALID - 1).submit == 5
    assert cluster.tick(2).submit == 7


def test_a_cluster_that_is_away_is_asked_once_in_a_tick_and_again_in_the_next() -> None:
    away = SchedulerError("transient", "no answer")
    cluster = Cluster(away, Limits(submit=5), away)
    assert cluster.tick().submit is None
    assert cluster.tick().submit == 5
    assert cluster.tick(VALID + 1).submit == 5
