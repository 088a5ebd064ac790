"""Whatever stands in metrics.jsonl, there is a report, and it says what was left out."""

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from page_reader import Reader

from hpcflow.cli.campaign import view
from hpcflow.database.database import Database
from hpcflow.report import accuracy, exploration, labelling, training, write_report
from hpcflow.report.page import Page, render
from hpcflow.report.steps import read_metrics


def written(directory: Path) -> Reader:
    return Reader(write_report(view(Database(directory))).read_text("utf-8"))


def test_without_metrics_there_is_a_report_of_the_rest(copy: Path) -> None:
    (copy / "metrics.jsonl").unlink()
    page = written(copy)
    assert "How good the models are" not in page.headings
    assert "Where it stands" in page.headings
    assert "Predictions on the test set" in page.headings


@pytest.mark.parametrize(
    ("line", "note"),
    [
        ("{", "metrics.jsonl, line 4 is not JSON"),
        ('{"step": "iterations[2]", "test": {"energy', "metrics.jsonl, line 4 is not JSON"),
        ("[1, 2]", "metrics.jsonl, line 4 is not a JSON object"),
        ("\x00\ufffd", "metrics.jsonl, line 4 is not JSON"),
        ("[" * 100_000, "metrics.jsonl, line 4 is not JSON"),
    ],
)
def test_a_damaged_line_is_left_out_and_named(copy: Path, line: str, note: str) -> None:
    with open(copy / "metrics.jsonl", "a", encoding="utf-8") as stream:
        stream.write(line)
    page = written(copy)
    assert note in page.text
    assert [row[0] for row in page.table("iteration", "training frames")] == ["0", "1", "final"]


def test_bytes_that_are_no_text_are_left_out_and_named(copy: Path) -> None:
    with open(copy / "metrics.jsonl", "ab") as stream:
        stream.write(b"\xff\xfe\x00")
    assert "metrics.jsonl, line 4 is not JSON" in written(copy).text


def damaged(path: Path, change: Callable[[list[dict[str, Any]]], None]) -> None:
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    change(lines)
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


def test_a_value_of_the_wrong_kind_is_left_out_and_named(copy: Path) -> None:
    def change(lines: list[dict[str, Any]]) -> None:
        lines[1]["test"]["energy_mae"] = "small"

    damaged(copy / "metrics.jsonl", change)
    page = written(copy)
    assert 'metrics.jsonl, line 2, test.energy_mae: expected a number, found "small". It is left out.' in page.text
    assert page.table("iteration", "training frames")[1][4] == "–"


def test_an_error_that_is_not_finite_is_no_point_of_the_curve(copy: Path) -> None:
    def change(lines: list[dict[str, Any]]) -> None:
        lines[2]["curve"][1]["energy_rmse"] = float("nan")
        lines[1]["test"]["force_rmse"] = float("inf")
        lines[1]["test"]["force_mae"] = 10**400

    damaged(copy / "metrics.jsonl", change)
    assert written(copy).table("iteration", "training frames")[1][5:7] == ["–", "–"]


def test_frames_that_cannot_be_read_are_a_note(copy: Path) -> None:
    (results,) = (copy / ".hpcflow" / "arrays").glob("*-final-test/results")
    # The text of a frame, not the records around it: the number of atoms is wrong afterwards.
    results.write_bytes(results.read_bytes().replace(b"3\nProperties", b"9\nProperties"))
    page = written(copy)
    assert "The predictions of the test set cannot be read: frame 0" in page.text
    assert "How good the models are" in page.headings


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers(-3, 1000) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=4,
)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Where in a JSON value there is something."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, item in inner for place in places(item, (*path, key)))]


# Each example draws several figures.
@pytest.mark.slow
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_no_content_of_the_metrics_stops_a_report(finished: Path, tmp_path: Path, data: st.DataObject) -> None:
    lines = [json.loads(line) for line in (finished / "metrics.jsonl").read_text().splitlines()]
    for _ in range(data.draw(st.integers(1, 4))):
        line = data.draw(st.sampled_from(lines))
        path = data.draw(st.sampled_from(places(line)[1:]))
        inside: Any = line
        for key in path[:-1]:
            inside = inside[key]
        inside[path[-1]] = data.draw(JSON)
    file = tmp_path / "metrics.jsonl"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    metrics = read_metrics(file)
    make = (accuracy.accuracy, training.training, exploration.exploration, exploration.selection, labelling.labelling)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # matplotlib has an opinion of axes without a range
        sections = [section for m in make if (section := m(metrics.iterations)) is not None]
    text = render(Page("title", "lead", [], [], sections, metrics.notes))
    assert Reader(text).faults == []
