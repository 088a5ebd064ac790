"""What of a wish to cancel is still true."""

from __future__ import annotations

from hpcflow.schedulers.base import Element, State
from hpcflow.schedulers.targets import cancel_targets


def element(job: str, index: int | None, name: str) -> Element:
    return Element(job, index, name, State.UNKNOWN, "")


def test_only_what_lives_under_id_and_name_is_cancelled() -> None:
    live = [
        Element("7", 0, "ours", State.RUNNING, "RUNNING"),
        Element("7", 1, "ours", State.ENDED, "COMPLETED"),
        Element("7", 2, "ours", State.QUEUED, "PENDING"),
        Element("8", None, "foreign", State.RUNNING, "RUNNING"),
    ]
    asked = [element("7", 0, "ours"), element("7", 1, "ours"), element("8", None, "ours")]
    assert cancel_targets(asked, live) == {"7": live[:1]}
    assert cancel_targets([element("7", None, "ours")], live) == {"7": [live[0], live[2]]}
