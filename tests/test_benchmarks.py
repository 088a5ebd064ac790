"""Benchmarks run: with few tasks, and without an opinion on what they measure."""

import pytest

pytest.importorskip("benchmarks", reason="benchmarks are part of the repository and not of the package")

from benchmarks import collecting, commands, files, indexing


def test_collecting_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collecting, "COUNT", 50)
    (row,) = collecting.measure()
    assert row.ratio is not None
    assert row.ratio > 0


def test_commands_are_measured_on_finished_and_on_live_campaigns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commands, "TASKS", 20)
    monkeypatch.setattr(commands, "ROUNDS", 1)
    rows = {row.what: row for row in commands.measure()}
    assert set(rows) >= {"status, finished, 20 tasks", "poll, finished, 20 tasks", "poll, tasks at work"}
    assert rows["status, finished, 20 tasks: memory"].value.endswith(" MB")


def test_files_of_a_finished_array_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "ROWS", 5)
    (row,) = files.measure()
    assert int(row.value) <= int(row.goal)


def test_indexing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "FRAMES", 20)
    assert [row.ratio is not None for row in indexing.measure()] == [True, True]
