import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hpcflow.database import records
from hpcflow.worker import recordfile
from hpcflow.worker.recordfile import RecordFile

ROOT = Path(__file__).resolve().parents[2]


def kinds(path):
    return [record.header["n"] for record in records.scan(path.read_bytes())]


def test_records_stand_in_the_file_after_a_flush(tmp_path):
    file = RecordFile(str(tmp_path / "w"))
    file.add({"n": 1}, b"payload\n")
    file.add({"n": 2})
    assert kinds(tmp_path / "w") == []
    assert file.flush()
    assert kinds(tmp_path / "w") == [1, 2]


def test_an_existing_file_is_never_opened(tmp_path):
    (tmp_path / "w").write_text("somebody's")
    with pytest.raises(FileExistsError):
        RecordFile(str(tmp_path / "w"))
    assert (tmp_path / "w").read_text() == "somebody's"


_LIMITED = """
import json, resource, sys
from hpcflow.worker.recordfile import RecordFile
file = RecordFile(sys.argv[1])
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
for n in range(10):
    file.add({"n": n}, b"x" * 200)
said = [file.flush(), bool(file.trouble), file.flush()]
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
said += [file.flush(), bool(file.trouble)]
print(json.dumps(said))
"""


def test_a_full_disk_leaves_whole_records_and_the_rest_follows_when_there_is_room(tmp_path):
    path = tmp_path / "w"
    words = [sys.executable, "-c", _LIMITED, str(path)]
    done = subprocess.run(words, env={"PYTHONPATH": str(ROOT)}, stdout=subprocess.PIPE, check=True)
    assert done.stdout == b"[false, true, false, true, false]\n"
    assert kinds(path) == list(range(10))


def test_the_file_is_cut_back_to_the_last_whole_record(tmp_path):
    path = tmp_path / "w"
    code = _LIMITED.split("resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INF")[0]
    words = [sys.executable, "-c", code, str(path)]
    subprocess.run(words, env={"PYTHONPATH": str(ROOT)}, check=True)
    whole = list(records.scan(path.read_bytes()))
    assert len(whole) > 1
    assert whole[-1].end == path.stat().st_size


def test_a_failed_fsync_writes_everything_since_the_last_good_one_again(tmp_path, monkeypatch):
    path = tmp_path / "w"
    file = RecordFile(str(path))
    file.add({"n": 0})
    assert file.sync()
    file.add({"n": 1})
    file.flush()
    file.add({"n": 2})
    with monkeypatch.context() as patch:

        def fail(fd):
            raise OSError(errno.ENOSPC, "No space left on device")

        patch.setattr(recordfile.os, "fsync", fail)
        assert not file.sync()
    assert kinds(path) == [0]
    assert file.sync()
    assert kinds(path) == [0, 1, 2]


def test_the_last_words_are_written_where_the_results_find_no_room(tmp_path, monkeypatch):
    path = tmp_path / "w"
    file = RecordFile(str(path))
    file.add({"n": 0})
    file.flush()
    real = os.pwrite

    def small(fd, data, offset):
        if len(data) > 500:
            raise OSError(errno.EDQUOT, "Disk quota exceeded")
        return real(fd, data, offset)

    monkeypatch.setattr(recordfile.os, "pwrite", small)
    file.add({"n": 1}, b"x" * 1000)
    assert file.close({"n": "goodbye", "message": "full"})
    _, last = records.scan(path.read_bytes())
    assert last.header["message"] == "full; 1 records were lost"
