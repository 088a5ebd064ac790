import json
import os
import subprocess
import sys
from pathlib import Path


def by_hand(array, task):
    words = [sys.executable, str(next(array.code.iterdir())), "task", str(array.array), str(task)]
    environment = {**os.environ, "TMPDIR": str(array.scratch)}
    return subprocess.run(words, capture_output=True, text=True, check=False, env=environment)


def test_a_function_runs_in_a_directory_that_stays(array):
    source = "import os\ndef f(x, k):\n    open('trace', 'w').close()\n    return [x * k, os.environ['HPCFLOW_TASK']]\n"
    array.python("f", [1, 2], source, parameters={"k": 5})
    done = by_hand(array, 1)
    assert json.loads(done.stdout) == [10, "1"]
    directory = Path(done.stderr.split(" in ")[-1].strip())
    assert (directory / "trace").exists()
    assert array.files() == []


def test_a_failure_shows_its_traceback(array):
    array.python("f", [0], "def f(x):\n    return 1 / x\n")
    done = by_hand(array, 0)
    assert done.returncode == 1
    assert done.stderr.endswith("ZeroDivisionError: division by zero\n")


def test_a_command_is_shown_and_run(array):
    array.command("echo {x}; exit 3", [{"x": "a b"}])
    done = by_hand(array, 0)
    assert (done.returncode, done.stdout) == (3, "a b\n")
    assert "echo 'a b'; exit 3" in done.stderr
