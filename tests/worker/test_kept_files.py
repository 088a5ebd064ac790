"""Working directories of tasks that keep files or continue from checkpoints."""

import os
from hashlib import blake2b

SOURCE = """
import os, pathlib
def f(x):
    pathlib.Path("model.pt").write_bytes(b"weights %d" % x)
    pathlib.Path("log.txt").write_text("noise")
    pathlib.Path("runs/a").mkdir(parents=True)
    pathlib.Path("runs/a/traj.xyz").write_text("frames")
    pathlib.Path("runs/a/other").write_text("noise")
    pathlib.Path("junk").mkdir()
    os.symlink("runs/a/other", "best.pt")
    return x
"""


def tree(directory):
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())


def test_only_what_was_asked_for_is_kept_and_listed_with_digests(array):
    array.python("f", [5], SOURCE, keep=["*.pt", "runs/*.xyz"])
    array.run()
    (task,) = array.tasks()
    (worker,) = array.files()
    directory = worker.with_name(worker.name + ".d") / "0.1"
    assert tree(directory) == ["best.pt", "model.pt", "runs/a/traj.xyz"]
    assert not (directory / "junk").exists()
    contents = {"best.pt": b"noise", "model.pt": b"weights 5", "runs/a/traj.xyz": b"frames"}
    expected = [[n, len(c), blake2b(c, digest_size=16).hexdigest()] for n, c in contents.items()]
    assert task["files"] == expected
    assert not (directory / "best.pt").is_symlink()


def test_a_task_that_keeps_nothing_leaves_no_directory(array):
    array.python("f", [5], "def f(x):\n    open('log', 'w').close()\n", keep=["*.pt"])
    array.run()
    (task,) = array.tasks()
    assert "files" not in task
    assert sorted(path.name for path in (array.array / "work" / "out").iterdir()) == [array.files()[0].name]


def test_a_failed_task_leaves_no_directory(array):
    source = "import os\ndef f(x):\n    open('model.pt', 'w').close()\n    raise ValueError\n"
    array.python("f", [5], source, keep=["*.pt"])
    array.run()
    assert array.tasks()[0]["state"] == "failed"
    assert len(list((array.array / "work" / "out").iterdir())) == 1


def test_a_task_whose_process_died_leaves_no_directory(array):
    source = "import os\ndef f(x):\n    open('model.pt', 'w').close()\n    os._exit(3)\n"
    array.python("f", [5], source, keep=["*.pt"])
    array.run()
    assert array.tasks()[0]["message"] == "exit status 3"
    assert len(list((array.array / "work" / "out").iterdir())) == 1


def test_commands_keep_files_too(array):
    array.command("echo m > model.pt; echo l > log; pwd", [{}], keep=["*.pt"])
    array.run()
    (task,) = array.tasks()
    assert [name for name, _, _ in task["files"]] == ["model.pt"]
    assert task.result["stdout"].strip().endswith(".d/0.1")


COUNT = """
import os
from hpcflow.task import Unfinished
def f(x):
    steps = int(open("step").read()) if os.path.exists("step") else 0
    with open("step", "w") as stream:
        stream.write(str(steps + 1))
    if steps < 2:
        raise Unfinished
    return [steps, os.environ["HPCFLOW_ATTEMPT"], os.getcwd() != os.environ["HPCFLOW_SCRATCH"]]
"""


def test_a_checkpoint_is_continued_from_a_copy(array):
    array.python("f", [5], COUNT, checkpoint=True, keep=["step"])
    array.run()
    (task,) = array.tasks()
    assert task["state"] == "unfinished"
    origins = []
    for attempt in (2, 3):
        previous = max(array.headers("task"), key=lambda h: h["attempt"])
        (worker,) = [h["worker"] for h in array.headers("hello") if h["worker"] not in "".join(origins)]
        origins.append(f"{worker}.d/0.{previous['attempt']}")
        array.list(attempt, [[0, 1]], attempt=attempt, **{"from": {"0": origins[-1]}})
        assert array.run() == 0
    last = max(array.tasks(), key=lambda task: task["attempt"])
    assert last.result == [2, "3", True]
    out = array.array / "work" / "out"
    assert [(out / origin / "step").read_text() for origin in origins] == ["1", "2"]
    assert [name for name, _, _ in last["files"]] == ["step"]


def test_a_failed_task_with_checkpoints_leaves_its_directory(array):
    array.python("f", [5], "def f(x):\n    open('step', 'w').close()\n    raise ValueError\n", checkpoint=True)
    array.run()
    (worker,) = array.files()
    assert os.listdir(worker.with_name(worker.name + ".d") / "0.1") == ["step"]


def test_a_checkpoint_that_is_gone_fails_clearly(array):
    array.python("f", [5], COUNT, checkpoint=True)
    array.list(1, [[0, 1]], **{"from": {"0": "nobody.d/0.1"}})
    array.run()
    (task,) = array.tasks()
    assert task["state"] == "failed"
    assert "nobody.d/0.1" in task["message"]
