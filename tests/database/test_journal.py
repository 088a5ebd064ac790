"""The journal: a torn last line is a crash and counts as absent; damage before it is an error; epochs fence."""

from pathlib import Path
from typing import Any

import pytest

from hpcflow.database.journal import Journal, decode_lines, encode_line
from hpcflow.errors import DamagedDatabase


def write(directory: Path, *kinds: str, new_epoch: bool = False) -> Journal:
    journal = Journal(directory)
    list(journal.read())
    journal.open_for_writing(new_epoch)
    for kind in kinds:
        journal.append({"kind": kind})
    journal.close()
    return journal


def kinds(directory: Path, *start: int) -> list[str]:
    return [entry["kind"] for entry in Journal(directory).read(*start)]


def test_entries_are_read_in_order(tmp_path: Path) -> None:
    write(tmp_path, "a", "b")
    write(tmp_path, "c")
    assert kinds(tmp_path) == ["a", "b", "c"]


def test_a_line_torn_at_any_byte_is_absent_and_written_over(tmp_path: Path) -> None:
    write(tmp_path, "a", "b")
    path = tmp_path / "journal.1.jsonl"
    whole = path.read_bytes()
    torn = encode_line({"kind": "torn", "text": "x" * 30})
    for cut in range(len(torn)):
        path.write_bytes(whole + torn[:cut])
        assert kinds(tmp_path) == ["a", "b"]
        write(tmp_path, "c")
        assert kinds(tmp_path) == ["a", "b", "c"]


def test_damage_before_the_end_names_file_and_line(tmp_path: Path) -> None:
    write(tmp_path, "a", "b", "c")
    path = tmp_path / "journal.1.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:2], lines[2].replace(b"b", b"x"), *lines[3:]]))
    with pytest.raises(DamagedDatabase, match=r"journal\.1\.jsonl, line 3"):
        kinds(tmp_path)


def test_every_changed_byte_of_a_line_is_noticed() -> None:
    line = encode_line({"kind": "cut", "tasks": [[0, 3]]})
    for position in range(len(line) - 1):
        damaged = bytearray(line)
        damaged[position] ^= 0x02
        with pytest.raises(DamagedDatabase):
            decode_lines(bytes(damaged) + encode_line({"kind": "next"}), "journal")


def test_a_checkpoint_continues_where_it_was_made(tmp_path: Path) -> None:
    journal = write(tmp_path, "a", "b")
    position = (journal.epoch, journal.length)
    write(tmp_path, "c")
    assert kinds(tmp_path, *position) == ["c"]


def test_damage_after_a_checkpoint_is_named_by_its_line_in_the_file(tmp_path: Path) -> None:
    journal = write(tmp_path, "a", "b")
    position = (journal.epoch, journal.length)
    write(tmp_path, "c")
    path = tmp_path / "journal.1.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:-1], lines[-1].replace(b"c", b"x", 1)]))
    with pytest.raises(DamagedDatabase, match=rf"journal\.1\.jsonl, line {len(lines)}:"):
        kinds(tmp_path, *position)


def test_a_checkpoint_beyond_the_journal_is_refused(tmp_path: Path) -> None:
    journal = write(tmp_path, "a")
    with pytest.raises(LookupError):
        kinds(tmp_path, journal.epoch, journal.length + 1)
    with pytest.raises(LookupError):
        kinds(tmp_path, journal.epoch + 1, 0)


def test_what_a_sleeper_writes_after_the_epoch_was_raised_does_not_count(tmp_path: Path) -> None:
    write(tmp_path, "a")
    sleeper = Journal(tmp_path)
    list(sleeper.read())
    sleeper.open_for_writing(new_epoch=False)
    write(tmp_path, "b", new_epoch=True)
    sleeper.append({"kind": "from the past"})
    sleeper.close()
    assert kinds(tmp_path) == ["a", "b"]
    write(tmp_path, "c")
    assert kinds(tmp_path) == ["a", "b", "c"]


def test_a_checkpoint_of_an_older_epoch_still_counts(tmp_path: Path) -> None:
    journal = write(tmp_path, "a", "b")
    position = (journal.epoch, journal.length)
    write(tmp_path, "c", new_epoch=True)
    write(tmp_path, "d", new_epoch=True)
    assert kinds(tmp_path, *position) == ["c", "d"]


def test_a_sleepers_checkpoint_is_useless_once_it_went_on_writing(tmp_path: Path) -> None:
    write(tmp_path, "a")
    sleeper = Journal(tmp_path)
    list(sleeper.read())
    sleeper.open_for_writing(new_epoch=False)
    write(tmp_path, "b", new_epoch=True)
    sleeper.append({"kind": "from the past"})
    sleeper.close()
    with pytest.raises(LookupError):
        kinds(tmp_path, sleeper.epoch, sleeper.length)


def test_a_full_disk_leaves_no_half_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import os

    journal = Journal(tmp_path)
    list(journal.read())
    journal.open_for_writing(new_epoch=False)
    journal.append({"kind": "a"})
    real: Any = os.write

    def full(fd: int, data: Any) -> int:
        if len(data) < 12:
            raise OSError(28, "No space left on device")
        return int(real(fd, bytes(data)[: len(data) // 2]))

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space left"):
        journal.append({"kind": "too much", "text": "x" * 100})
    monkeypatch.undo()
    journal.append({"kind": "b"})
    journal.close()
    assert kinds(tmp_path) == ["a", "b"]
