"""What a workflow reports, and what its tasks return, is JSON that any program reads."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from campaign_harness import MakeCampaign
from hypothesis import given
from hypothesis import strategies as st

from hpcflow.errors import UserError
from hpcflow.plain import dumps, plain

FLOW = """
import numpy as np

def half(x):
    return {"value": x / 2, "error": float("nan"), "bounds": [float("-inf"), 1.0]}

def flow(run):
    done = run.map(half, [1])
    with run.scope("end"):
        run.metrics({"rmse": np.float32(0.5), "count": np.int64(3), "good": np.bool_(True), "all": done.results()})
        run.metrics({"curve": np.arange(4.0).reshape(2, 2), "gap": np.nan, "by": {1: float("inf"), "x": (1, "a")}})
"""


def strict(text: str) -> Any:
    def refuse(word: str) -> None:
        raise AssertionError(f"{word} is no JSON")

    return json.loads(text, parse_constant=refuse)


def test_numpy_becomes_numbers_and_what_is_not_finite_null_in_all_that_programs_read(
    make_campaign: MakeCampaign,
) -> None:
    campaign = make_campaign(FLOW)
    campaign.good("submit")
    campaign.finish()
    result = {"value": 0.5, "error": None, "bounds": [None, 1.0]}
    line = {
        "step": "end", "rmse": 0.5, "count": 3, "good": True, "all": [result],
        "curve": [[0.0, 1.0], [2.0, 3.0]], "gap": None, "by": {"1": None, "x": [1, "a"]},
    }  # fmt: skip
    metrics = campaign.directory / "metrics.jsonl"
    assert strict(metrics.read_text()) == line
    assert strict(campaign.good("results", "--json"))["result"] == result
    metrics.write_text('{"step": "end", "gap": NaN}\n')  # as another program, or an older version, may have written it
    assert strict(campaign.good("status", "--json"))["metrics"] == [{"step": "end", "gap": None}]
    campaign.good("report")


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("{'models': {'best': run.campaign}}", "in iterations[0]: models.best: a PosixPath is no JSON"),
        ("{'seen': [1, {2}]}", "seen[1]: a set is no JSON"),
        ("{'made': run.map(f, [1])}", "made: a Handle is no JSON"),
        ("{(1, 2): 3}", "the key (1, 2) is no text"),
    ],
)
def test_what_is_no_json_is_refused_with_its_key(make_campaign: MakeCampaign, values: str, message: str) -> None:
    flow = f"def f(x): return x\ndef flow(run):\n    for i in run.iterations(1):\n        run.metrics({values})\n"
    said = make_campaign(flow).refused("submit")
    assert "run.metrics" in said
    assert message in said


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(VALUES)
def test_any_value_is_written_so_that_it_reads_back(value: Any) -> None:
    assert strict(dumps(value)) == plain(value)


@given(st.floats(width=32))
def test_numbers_of_numpy_keep_their_value(number: float) -> None:
    assert plain(np.float32(number)) == (number if math.isfinite(number) else None)
    assert plain({"a": np.array([number, 1.0])})["a"][1] == 1.0


def test_objects_that_only_python_has_are_named() -> None:
    with pytest.raises(UserError, match=r"a\[0\]\.b: a complex is no JSON"):
        plain({"a": [{"b": np.complex128(1j)}]})
    with pytest.raises(UserError, match="a: a PosixPath"):
        plain({"a": Path("x")})
