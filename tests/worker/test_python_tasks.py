"""Python functions in slot processes, run by a real worker from a real archive."""

import json
import os
from hashlib import blake2b

import pytest


def test_results_are_what_the_function_returned(array):
    array.python("f", [1, "zwei", [3], {"a": None}], "def f(x, k):\n    return [x, k]\n", parameters={"k": 2.5})
    assert array.run() == 0
    tasks = array.tasks()
    assert [task.result for task in tasks] == [[1, 2.5], ["zwei", 2.5], [[3], 2.5], [{"a": None}, 2.5]]
    assert [task["state"] for task in tasks] == ["succeeded"] * 4


def test_a_worker_says_hello_start_and_goodbye(array):
    array.python("f", [1, 2], "def f(x):\n    return x\n")
    array.run(HPCFLOW_ELEMENT="3", HPCFLOW_SCHEDULER_ID="77")
    kinds = [header["kind"] for header in array.headers()]
    assert kinds[:2] == ["hello", "start"]
    assert kinds[-1] == "goodbye"
    (hello,) = array.headers("hello")
    (path,) = array.files()
    assert hello["worker"] == path.name
    assert path.name.startswith("0001.3-")
    expected = {"job": "0001", "element": 3, "scheduler_id": "77", "slots": 1, "cores": 1, "gpus": 0}
    assert expected.items() <= hello.items()
    assert hello["deadline"] is None
    assert array.goodbye()["reason"] == "no work"


def test_a_late_worker_leaves_no_trace(array):
    array.python("f", [1], "def f(x):\n    return x\n")
    array.run()
    before = len(array.files())
    assert array.run() == 0
    assert len(array.files()) == before
    assert array.run("--resources", "r9") == 0
    assert len(array.files()) == before


def test_a_worker_leaves_an_array_that_is_finished_alone(array):
    array.python("f", [1], "def f(x):\n    return x\n")
    work = array.array / "work"
    work.rename(array.array / "gone")
    assert array.run() == 0
    assert not work.exists()


def test_the_function_sees_what_the_reference_says(array):
    source = """
import os
def f(x):
    return {"env": {k: v for k, v in os.environ.items() if k.startswith("HPCFLOW_")}, "cwd": os.getcwd()}
"""
    array.python("f", [0, 0, 0], source)
    array.list(1, [[1, 3]], attempt=1, attempts={"2": 4})
    array.run("--cores", "2", "--launch", "run -n {cores}", "--walltime", "1000", "--memory", "512")
    first, second = array.tasks()
    identity = blake2b(b"1", digest_size=16).hexdigest()
    digest = blake2b(f"7:{identity}".encode(), digest_size=4).digest()
    seen = first.result["env"]
    assert seen["HPCFLOW_TASK"] == "1"
    assert (seen["HPCFLOW_ATTEMPT"], second.result["env"]["HPCFLOW_ATTEMPT"]) == ("1", "4")
    assert int(seen["HPCFLOW_SEED"]) == int.from_bytes(digest, "big") & 0x7FFFFFFF
    assert seen["HPCFLOW_SEED"] != second.result["env"]["HPCFLOW_SEED"]
    assert (seen["HPCFLOW_CORES"], seen["HPCFLOW_GPUS"], seen["HPCFLOW_MEMORY"]) == ("2", "0", "512")
    assert seen["HPCFLOW_LAUNCH"] == "run -n 2"
    assert seen["HPCFLOW_CAMPAIGN"] == str(array.campaign)
    assert seen["HPCFLOW_SCRATCH"] == first.result["cwd"]
    (hello,) = array.headers("hello")
    assert int(seen["HPCFLOW_DEADLINE"]) == int(hello["deadline"] - 60)


def test_imports_happen_once_per_slot(array):
    source = "import os\ncalls = 0\ndef f(x):\n    global calls\n    calls += 1\n    return [os.getpid(), calls]\n"
    array.python("f", list(range(50)), source)
    array.run()
    results = [task.result for task in array.tasks()]
    assert len({pid for pid, _ in results}) == 1
    assert [call for _, call in results] == list(range(1, 51))


def test_short_tasks_are_handed_over_together(array):
    array.python("f", list(range(2000)), "def f(x):\n    return x\n")
    array.run()
    assert len(array.tasks()) == 2000
    starts = array.headers("start")
    assert len(starts) < 100
    assert sorted(task for start in starts for task in start["tasks"]) == list(range(2000))


def test_a_list_can_be_spread_over_the_arguments(array):
    array.python("f", [[1, 2], [3, 4]], "def f(a, b, c):\n    return a * b + c\n", spread=True, parameters={"c": 1})
    array.run()
    assert [task.result for task in array.tasks()] == [3, 13]


def test_the_parameters_of_a_list_override_those_of_the_array(array):
    array.python("f", [0, 0], "def f(x, a, b):\n    return [a, b]\n", parameters={"a": 1, "b": 1})
    array.list(1, [[0, 1]])
    array.list(2, [[1, 2]], parameters={"b": 2})
    array.run()
    assert [task.result for task in array.tasks()] == [[1, 1], [1, 2]]


def test_a_task_may_change_its_parameters_without_harm_to_the_next(array):
    array.python("f", [0, 0, 0], "def f(x, p):\n    p.append(1)\n    return len(p)\n", parameters={"p": []})
    array.run()
    assert [task.result for task in array.tasks()] == [1, 1, 1]


def test_an_exception_fails_its_task_and_no_other(array):
    source = "def f(x):\n    print('about to', x)\n    return 1 / x\n"
    array.python("f", [2, 0, 1], source)
    assert array.run() == 0
    good, bad, last = array.tasks()
    assert (good["state"], last["state"]) == ("succeeded", "succeeded")
    assert (bad["state"], bad["reason"]) == ("failed", "error")
    assert bad["message"] == "ZeroDivisionError: division by zero"
    assert bad.output.startswith("about to 0\nTraceback (most recent call last):")
    assert "about to 2" not in bad.output
    assert "hpcflow/worker" not in bad.output
    assert "output" not in good


def test_an_exception_of_many_lines_gives_a_message_of_one(array):
    array.python("f", [0], "def f(x):\n    raise RuntimeError('first\\nsecond' + 'x' * 9999)\n")
    array.run()
    (task,) = array.tasks()
    assert task["message"] == "RuntimeError: first"
    assert "second" in task.output


@pytest.mark.parametrize(
    ("statement", "state", "reason"),
    [
        ("raise hpcflow.Unconverged('scf')", "failed", "unconverged"),
        ("raise hpcflow.Unfinished()", "unfinished", None),
        ("raise MemoryError", "failed", "oom"),
        ("raise SystemExit(3)", "failed", "error"),
        ("raise KeyboardInterrupt", "failed", "error"),
        ("return object()", "failed", "error"),
        ("return {1.5: {2, 3}}", "failed", "error"),
    ],
)
def test_every_way_out_has_its_state_and_reason(array, statement, state, reason):
    array.python("f", [0], f"import hpcflow.task\ndef f(x):\n    {statement}\n")
    assert array.run() == 0
    (task,) = array.tasks()
    assert (task["state"], task.get("reason")) == (state, reason)


def test_a_value_that_cannot_be_kept_is_named(array):
    array.python("f", [0], "def f(x):\n    return {'a': [object()]}\n")
    array.run()
    (task,) = array.tasks()
    assert "the function returned a builtins.object, which is neither JSON nor ase.Atoms" in task["message"]


def test_arrays_are_written_as_lists(array):
    source = "import numpy as np\ndef f(x):\n    return {'a': np.arange(3), 'b': np.float32(1.5), 'c': np.bool_(1)}\n"
    array.python("f", [0], source)
    array.run()
    (task,) = array.tasks()
    assert task.result == {"a": [0, 1, 2], "b": 1.5, "c": True}


def test_none_is_a_result(array):
    array.python("f", [0], "def f(x):\n    pass\n")
    array.run()
    (task,) = array.tasks()
    assert (task["state"], task.result) == ("succeeded", None)


def test_a_batch_function_gets_lists_and_every_task_its_own_record(array):
    source = "def f(xs, k):\n    return [[x * k, len(xs)] for x in xs]\n"
    array.python("f", list(range(200)), source, batch=True, parameters={"k": 3})
    array.run()
    results = [task.result for task in array.tasks()]
    assert [value for value, _ in results] == [3 * x for x in range(200)]
    assert max(size for _, size in results) > 1


def test_one_bad_task_in_a_batch_is_found(array):
    source = "def f(xs):\n    return [1 / (x - 150) for x in xs]\n"
    array.python("f", list(range(200)), source, batch=True)
    array.run()
    tasks = array.tasks()
    assert len(tasks) == 200
    assert [task["task"] for task in tasks if task["state"] == "failed"] == [150]


def test_a_crash_in_a_batch_convicts_only_the_task_that_crashes_alone(array):
    source = "import os\ndef f(xs):\n    if 150 in xs:\n        os.abort()\n    return xs\n"
    array.python("f", list(range(200)), source, batch=True)
    array.run()
    tasks = array.tasks()
    assert len(tasks) == 200
    (bad,) = [task for task in tasks if task["state"] == "failed"]
    assert (bad["task"], bad["message"]) == (150, "killed by signal 6 (SIGABRT)")


def test_a_batch_that_returns_too_few_values_fails_clearly(array):
    array.python("f", [0], "def f(xs):\n    return []\n", batch=True)
    array.run()
    (task,) = array.tasks()
    assert "got a batch of 1 inputs and returned 0 values" in task["message"]


def test_files_named_in_parameters_and_inputs_arrive_as_checked_paths(array):
    model = array.campaign / "model ü.bin"
    model.write_bytes(b"weights")
    digest = blake2b(b"weights", digest_size=16).hexdigest()
    named = {"$path": "model ü.bin", "digest": digest}
    source = "def f(x, model):\n    return [open(x['file'], 'rb').read().decode(), model]\n"
    array.python("f", [{"file": named}], source, parameters={"model": {"$path": "absent", "digest": None}})
    array.run()
    (task,) = array.tasks()
    assert task.result == ["weights", str(array.campaign / "absent")]


def test_a_named_file_that_was_edited_is_an_input_that_changed(array):
    (array.campaign / "model.bin").write_bytes(b"other")
    named = {"$path": "model.bin", "digest": blake2b(b"weights", digest_size=16).hexdigest()}
    array.python("f", [0], "def f(x, model):\n    return 0\n", parameters={"model": named})
    array.run()
    (task,) = array.tasks()
    assert (task["state"], task["reason"]) == ("failed", "input changed")
    assert str(array.campaign / "model.bin") in task["message"]


def test_an_edited_input_fails_with_the_name_of_the_file(array):
    array.python("f", [10, 20, 30], "def f(x):\n    return x\n")
    path = array.array / "inputs.jsonl"
    path.write_bytes(path.read_bytes().replace(b"20", b"21"))
    array.run()
    tasks = array.tasks()
    assert [task["state"] for task in tasks] == ["succeeded", "failed", "succeeded"]
    assert tasks[1]["reason"] == "input changed"
    assert str(path) in tasks[1]["message"]


def test_a_referenced_input_file_is_relative_to_the_campaign(array):
    array.python("f", [1, 2], "def f(x):\n    return x\n")
    (array.array / "inputs.jsonl").rename(array.campaign / "all.jsonl")
    description = json.loads((array.array / "array.json").read_text())
    description["inputs"] = {"kind": "json", "source": "all.jsonl"}
    (array.array / "array.json").write_text(json.dumps(description))
    array.run()
    assert [task.result for task in array.tasks()] == [1, 2]
    assert array.tasks()[0]["state"] == "succeeded"


def test_the_code_in_the_archive_runs_and_not_what_was_edited_since(array):
    array.python("f", [1], "def f(x):\n    return 'old'\n")
    array.source("def f(x):\n    return 'new'\n")
    array.run()
    assert array.tasks()[0].result == "old"


def test_tasks_find_an_empty_directory_whatever_the_last_one_left(array):
    source = """
import os
def f(x):
    before = os.listdir(".")
    os.makedirs("deep/er")
    open("deep/er/file", "w").close()
    os.symlink("/etc/passwd", "link")
    os.chmod("deep", 0o500)
    return before
"""
    array.python("f", list(range(5)), source)
    array.run()
    assert [task.result for task in array.tasks()] == [[]] * 5
    assert os.path.exists("/etc/passwd")
    assert os.listdir(array.scratch) == []


def test_what_a_task_does_to_its_process_does_not_reach_the_next(array):
    source = """
import io, os, signal, sys
def f(x):
    if x == 0:
        os.chdir("/")
        sys.stdout = io.StringIO()
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        sys.stderr.close()
        return 0
    print("visible", x)
    raise ValueError(os.getcwd() == os.environ["HPCFLOW_SCRATCH"])
"""
    array.python("f", [0, 1], source)
    array.run()
    good, bad = array.tasks()
    assert good["state"] == "succeeded"
    assert bad["message"] == "ValueError: True"
    assert bad.output.startswith("visible 1\n")


def test_standard_input_is_empty(array):
    array.python("f", [0], "import sys, os\ndef f(x):\n    return [sys.stdin.read(), os.read(0, 10).decode()]\n")
    array.run()
    assert array.tasks()[0].result == ["", ""]


def test_output_of_c_code_and_of_children_is_kept_in_order(array):
    source = """
import ctypes, subprocess
libc = ctypes.CDLL(None)
def f(x):
    print("one")
    libc.puts(b"two")
    subprocess.run(["sh", "-c", "echo three; echo four >&2"], check=True)
    raise ValueError
"""
    array.python("f", [0], source)
    array.run()
    assert array.tasks()[0].output.startswith("one\ntwo\nthree\nfour\nTraceback")


def test_several_slots_share_the_tasks(array):
    source = "import os, time\ndef f(x):\n    time.sleep(0.05)\n    return os.getpid()\n"
    array.python("f", list(range(12)), source, chunk=2)
    array.run("--slots", "3")
    tasks = array.tasks()
    assert len(tasks) == 12
    assert len({task.result for task in tasks}) == 3
    assert {task["slot"] for task in tasks} == {0, 1, 2}


def test_slots_are_bound_to_cores_of_their_own(array):
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        pytest.skip("one core cannot be divided")
    source = "import os, time\ndef f(x):\n    time.sleep(0.3)\n    return sorted(os.sched_getaffinity(0))\n"
    array.python("f", [0, 1], source, chunk=1)
    array.run("--slots", "2", "--whole-node")
    first, second = (task.result for task in array.tasks())
    assert (len(first), len(second)) == (1, 1)
    assert first != second


def test_an_idle_slot_makes_the_worker_take_the_next_chunk(array):
    source = "import time\ndef f(x):\n    time.sleep(1.0 if x == 0 else 0.01)\n    return x\n"
    array.python("f", list(range(10)), source, chunk=5)
    array.run("--slots", "2")
    ends = {task["task"]: task["start"] + task["seconds"] for task in array.tasks()}
    assert len(ends) == 10
    assert max(ends[task] for task in range(5, 10)) < ends[0]
