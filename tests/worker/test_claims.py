import itertools
import json
import os
import subprocess
import sys
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from hpcflow.database.chunks import chunk_bounds, tasks_of
from hpcflow.worker import claims
from hpcflow.worker.claims import ALIKE, Board, ChunkList

ROOT = Path(__file__).resolve().parents[2]


def make_lists(tmp_path, *lists):
    for name in ("chunks", "claims"):
        (tmp_path / "work" / name).mkdir(parents=True, exist_ok=True)
    for number, content in enumerate(lists, 1):
        base = {"list": number, "resources": "r0", "tasks": [[0, 4]], "bounds": [0, 2, 4], "attempt": 1}
        (tmp_path / "work" / "chunks" / f"{number}.json").write_text(json.dumps({**base, **content}))
    return Board(str(tmp_path), "r0")


ranges = st.lists(st.tuples(st.integers(0, 20), st.integers(1, 9)), min_size=1, max_size=6)


@given(ranges, st.lists(st.integers(0, 60), max_size=5))
def test_chunks_hold_the_same_tasks_as_the_engine_thinks(pairs, cuts):
    tasks, start = [], 0
    for gap, length in pairs:
        tasks.append([start + gap, start + gap + length])
        start += gap + length
    total = sum(high - low for low, high in tasks)
    bounds = sorted({0, total, *(cut for cut in cuts if cut < total)})
    content = {"list": 1, "resources": "r0", "tasks": tasks, "bounds": bounds}
    for chunk in range(len(bounds) - 1):
        assert list(ChunkList(content).tasks(chunk)) == tasks_of(content, chunk)


def test_attempts_and_origins_are_those_of_the_list():
    content = {"list": 3, "resources": "r0", "tasks": [[0, 3]], "bounds": [0, 3], "attempt": 2}
    entry = ChunkList({**content, "attempts": {"1": 5}, "from": {"1": "w.d/1.4"}})
    assert [entry.attempt(task) for task in range(3)] == [2, 5, 2]
    assert [entry.origin(task) for task in range(3)] == ["", "w.d/1.4", ""]


def test_the_oldest_list_comes_first_and_other_resources_never(tmp_path):
    board = make_lists(tmp_path, {"resources": "r1"}, {}, {})
    assert [(chunk.list.number, chunk.number) for chunk in board.unclaimed()] == [(2, 0), (2, 1), (3, 0), (3, 1)]


def test_large_chunks_are_taken_before_small_ones(tmp_path):
    bounds = chunk_bounds(400, 8)
    board = make_lists(tmp_path, {"tasks": [[0, 400]], "bounds": bounds})
    left = [high - low for low, high in itertools.pairwise(bounds)]
    while left:
        taken = board.take("me").tasks
        assert taken >= ALIKE * max(left)
        left.remove(taken)


def test_every_chunk_is_taken_once_and_says_by_whom(tmp_path):
    board = make_lists(tmp_path, {}, {})
    taken = [board.take("me") for _ in range(4)]
    assert sorted((chunk.list.number, chunk.number) for chunk in taken) == [(1, 0), (1, 1), (2, 0), (2, 1)]
    assert board.take("me") is None
    links = tmp_path / "work" / "claims"
    assert {os.readlink(links / name) for name in os.listdir(links)} == {"me"}


def test_a_claim_that_only_seems_to_fail_is_ours(tmp_path, monkeypatch):
    board = make_lists(tmp_path, {"bounds": [0, 4]})
    real = os.symlink

    def repeated(target, link):  # a file server that executes a request twice
        real(target, link)
        real(target, link)

    monkeypatch.setattr(claims.os, "symlink", repeated)
    assert board.take("me") is not None


def test_a_chunk_that_somebody_else_took_is_left_to_him(tmp_path):
    board = make_lists(tmp_path, {"bounds": [0, 4]})
    (chunk,) = board.unclaimed()
    os.symlink("other", tmp_path / "work" / "claims" / "1.0")
    assert not board._claim(chunk, "me")


def test_there_is_no_work_in_an_array_that_is_gone(tmp_path):
    assert Board(str(tmp_path / "nothing"), "r0").take("me") is None
    board = make_lists(tmp_path, {})
    (tmp_path / "work" / "claims").rmdir()
    assert board.take("me") is None


def test_temporary_files_beside_the_lists_are_not_read(tmp_path):
    board = make_lists(tmp_path, {})
    (tmp_path / "work" / "chunks" / ".2.json.x1.tmp").write_text("{")
    assert len(board.unclaimed()) == 2


_RACER = """
import sys
from hpcflow.worker.claims import Board
board = Board(sys.argv[1], "r0")
sys.stdin.readline()
chunk = board.take(sys.argv[2])
while chunk is not None:
    print(chunk.list.number, chunk.number)
    chunk = board.take(sys.argv[2])
"""


def test_eight_processes_that_race_take_every_chunk_once(tmp_path):
    make_lists(tmp_path, {"tasks": [[0, 200]], "bounds": list(range(201))})
    words = [sys.executable, "-c", _RACER, str(tmp_path)]
    racers = [
        subprocess.Popen(
            [*words, f"w{i}"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={"PYTHONPATH": str(ROOT)}
        )
        for i in range(8)
    ]
    for racer in racers:
        racer.stdin.write(b"go\n")
        racer.stdin.flush()
    taken = [line for racer in racers for line in racer.communicate()[0].splitlines()]
    assert len(taken) == 200
    assert len(set(taken)) == 200


def test_a_listing_that_is_out_of_date_is_not_asked_for_ever(tmp_path, monkeypatch):
    board = make_lists(tmp_path, {})
    for name in ("1.0", "1.1"):
        os.symlink("other", tmp_path / "work" / "claims" / name)
    real = os.listdir
    monkeypatch.setattr(claims.os, "listdir", lambda path: [] if path.endswith("claims") else real(path))
    assert board.take("me") is None
