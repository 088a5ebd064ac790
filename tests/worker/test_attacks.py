"""Tasks, users and machines that do their worst: no other task may suffer."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from hpcflow.database import records


def test_a_segfault_fails_its_task_alone(array):
    source = "import ctypes\ndef f(x):\n    if x == 7:\n        ctypes.string_at(0)\n    return x\n"
    array.python("f", list(range(20)), source)
    assert array.run() == 0
    tasks = array.tasks()
    assert [task["task"] for task in tasks] == list(range(20))
    (bad,) = [task for task in tasks if task["state"] == "failed"]
    assert (bad["task"], bad["reason"], bad["exit"]) == (7, "error", -11)
    assert bad["message"] == "killed by signal 11 (SIGSEGV)"
    assert "flow.py" in bad.output  # the fault handler says where


def test_a_process_that_leaves_in_the_middle_fails_its_task_alone(array):
    source = (
        "import os\ndef f(x):\n    if x == 3:\n        print('bye', flush=True)\n        os._exit(0)\n    return x\n"
    )
    array.python("f", list(range(9)), source)
    array.run()
    (bad,) = [task for task in array.tasks() if task["state"] == "failed"]
    assert (bad["task"], bad["message"], bad.output) == (3, "exit status 0", "bye\n")
    assert len(array.tasks()) == 9


def test_a_forked_child_that_returns_does_not_answer_for_its_parent(array):
    source = (
        "import os\ndef f(x):\n    pid = os.fork()\n    if pid:\n        os.waitpid(pid, 0)\n    return [x, pid > 0]\n"
    )
    array.python("f", [1, 2], source)
    array.run()
    assert [task.result for task in array.tasks()] == [[1, True], [2, True]]


def test_fifty_megabytes_of_output_cost_neither_memory_nor_other_tasks(array):
    source = """
import os
def f(x):
    if x == 1:
        print("begin")
        for _ in range(500):
            os.write(1, b"spam" * 25_000)
        print("end")
        raise ValueError
    return x
"""
    array.python("f", [0, 1, 2], source)
    array.run()
    tasks = array.tasks()
    assert [task["state"] for task in tasks] == ["succeeded", "failed", "succeeded"]
    assert tasks[1].output.startswith("begin\nspamspam")
    assert "end\nTraceback" in tasks[1].output
    assert len(tasks[1].output) < 70_000


def test_children_of_a_python_task_that_were_left_behind_are_killed(array):
    source = """
import os, subprocess, time
def f(x):
    subprocess.Popen(["sleep", "1000"])                      # nobody holds it
    subprocess.Popen(["sh", "-c", "setsid sleep 1000 & sleep 1000"], start_new_session=True).kill()
    if os.fork() == 0:
        if os.fork() == 0:
            time.sleep(1000)
        os._exit(0)
    return x
"""
    array.python("f", [0, 1], source + "\ndef g(x):\n    time.sleep(0.5)\n")
    array.run()
    assert len(array.tasks()) == 2
    array.wait(lambda: not array.processes(), timeout=10)


def test_a_helper_that_the_module_holds_serves_the_next_task(array):
    source = """
import subprocess
cat = None
def f(x):
    global cat
    if cat is None:
        cat = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    cat.stdin.write(b"%d\\n" % x)
    cat.stdin.flush()
    return [int(cat.stdout.readline()), cat.pid]
"""
    array.python("f", list(range(20)), source)
    array.run()
    results = [task.result for task in array.tasks()]
    assert [value for value, _ in results] == list(range(20))
    assert len({pid for _, pid in results}) == 1
    array.wait(lambda: not array.processes(), timeout=10)


def test_the_pipes_of_a_slot_do_not_reach_children(array):
    source = (
        "import subprocess\ndef f(x):\n    return subprocess.run(['ls', '/proc/self/fd'], stdout=-1).stdout.split()\n"
    )
    array.python("f", [0], source.replace("stdout.split()", "stdout.decode().split()"))
    array.run()
    assert array.tasks()[0].result == ["0", "1", "2", "3"]


def test_a_worker_that_is_killed_leaves_whole_records_and_no_processes(array):
    source = """
import subprocess, time
def f(x):
    if x >= 5:
        subprocess.run(["sh", "-c", "setsid sleep 1000 & sleep 1000"])
    return x
"""
    array.python("f", list(range(10)), source)
    worker = array.start()
    array.wait(lambda: len(array.tasks()) == 5)
    array.wait(lambda: len(array.processes()) >= 4)
    time.sleep(0.1)
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    array.wait(lambda: not array.processes(), timeout=15)
    array.wait(lambda: os.listdir(array.scratch) == [], timeout=15)
    (path,) = array.files()
    data = path.read_bytes()
    assert list(records.scan(data))[-1].end == len(data)
    # The first task of the last hand-over that has no record is the one in flight.
    done = {task["task"] for task in array.tasks()}
    last = array.headers("start")[-1]
    assert next(task for task in last["tasks"] if task not in done) == 5


def test_a_killed_worker_leaves_no_command_running(array):
    array.command("sleep 1000 & setsid sleep 1000 & sleep 1000", [{}] * 3)
    worker = array.start("--slots", "2")
    array.wait(lambda: len(array.processes()) >= 6)
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait()
    array.wait(lambda: not array.processes() and os.listdir(array.scratch) == [], timeout=15)


def test_a_slot_process_that_is_killed_while_idle_costs_no_task(array):
    source = """
import os, time
def f(x):
    open(f"{os.environ['HPCFLOW_CAMPAIGN']}/started{x}", "w").close()
    while not os.path.exists(f"{os.environ['HPCFLOW_CAMPAIGN']}/started{1 - x}"):
        time.sleep(0.01)
    time.sleep(1.5 if x == 0 else 0)
    return os.getpid()
"""
    array.python("f", [0, 1], source, chunk=1)
    worker = array.start("--slots", "2")
    array.wait(lambda: any(task["task"] == 1 for task in array.tasks()))
    os.kill(array.tasks()[-1].result, signal.SIGKILL)
    assert worker.wait(30) == 0
    assert [task["state"] for task in array.tasks()] == ["succeeded", "succeeded"]


def test_several_workers_never_run_a_task_twice(array):
    (array.campaign / "log").mkdir()
    source = """
import os, time
def f(x):
    open(os.path.join(os.environ["HPCFLOW_CAMPAIGN"], "log", f"{x}.{os.getpid()}"), "x").close()
    time.sleep(0.002)
    return x
"""
    array.python("f", list(range(300)), source, chunk=7)
    workers = [array.start("--slots", "2") for _ in range(4)]
    assert [worker.wait(60) for worker in workers] == [0] * 4
    assert [task["task"] for task in array.tasks()] == list(range(300))
    assert len(os.listdir(array.campaign / "log")) == 300


def test_a_slot_that_cannot_import_the_function_breaks_the_worker_and_charges_no_task(array):
    array.python("f", [0, 1], "print('hint')\nimport no_such_module\ndef f(x):\n    pass\n")
    assert array.run() == 1
    goodbye = array.goodbye()
    assert goodbye["reason"] == "broken"
    assert goodbye["broken"] == []
    assert "No module named 'no_such_module'" in goodbye["message"]
    assert array.tasks() == []
    assert array.headers("start") == []
    data = array.files()[0].read_bytes()
    last = list(records.scan(data))[-1]
    assert data[last.payload : last.end].startswith(b"hint\nTraceback")


def test_a_slot_python_that_does_not_exist_breaks_the_worker(array):
    array.python("f", [0], "def f(x):\n    pass\n")
    assert array.run("--slot-python", "/no/such/python") == 1
    assert array.goodbye()["reason"] == "broken"
    assert "/no/such/python" in array.goodbye()["message"]


def test_a_module_that_crashes_the_interpreter_breaks_the_worker(array):
    array.python("f", [0], "import os\nos.abort()\n")
    assert array.run() == 1
    assert "killed by signal 6 (SIGABRT)" in array.goodbye()["message"]


def test_first_tasks_that_all_fail_alike_break_the_worker(array):
    array.python("f", list(range(50)), "def f(x):\n    raise OSError(f'no device {x} at {hex(x)}')\n")
    assert array.run() == 1
    goodbye = array.goodbye()
    assert goodbye["reason"] == "broken"
    assert goodbye["message"].startswith("OSError: no device")
    failed = [task for task in array.tasks() if task["state"] == "failed"]
    assert goodbye["broken"] == [task["task"] for task in failed]
    assert 5 <= len(failed) < 50


def test_commands_that_all_fail_alike_break_the_worker(array):
    array.command("no-such-program {i}", [{"i": i} for i in range(50)])
    assert array.run("--slots", "2") == 1
    assert array.goodbye()["reason"] == "broken"
    assert "not found" in array.goodbye()["message"]
    assert len(array.tasks()) < 20


def test_one_success_among_the_first_tasks_clears_the_worker(array):
    source = "def f(x):\n    if x != 3:\n        raise ValueError('same')\n    return x\n"
    array.python("f", list(range(50)), source)
    assert array.run() == 0
    assert len(array.tasks()) == 50


def test_different_failures_clear_the_worker(array):
    array.python("f", list(range(50)), "def f(x):\n    raise ValueError('abcdefghij'[x % 10])\n")
    assert array.run() == 0
    assert len(array.tasks()) == 50


def test_five_tasks_are_too_few_to_blame_the_worker(array):
    array.python("f", list(range(5)), "def f(x):\n    raise ValueError\n")
    assert array.run() == 0
    assert array.goodbye()["reason"] == "no work"


def test_unconverged_calculations_do_not_break_the_worker(array):
    source = "from hpcflow.task import Unconverged\ndef f(x):\n    raise Unconverged('scf')\n"
    array.python("f", list(range(50)), source)
    assert array.run() == 0
    assert len(array.tasks()) == 50


def test_a_scratch_directory_that_cannot_be_made_breaks_the_worker(array):
    array.python("f", [0], "def f(x):\n    pass\n")
    assert array.run("--scratch", "/proc/nothing") == 1
    assert array.goodbye()["reason"] == "broken"


def test_a_closed_standard_input_and_output_do_no_harm(array):
    array.python("f", [0, 1], "import sys\ndef f(x):\n    print('x' * 10)\n    return sys.stdin.read()\n")
    digest = json.loads((array.array / "array.json").read_text())["code"]
    program, path, scratch = array.code / f"{digest}.pyz", array.array, array.scratch
    words = [sys.executable, str(program), "worker", "--array", str(path), "--job", "0001", "--resources", "r0"]
    script = 'exec "$@" --slots 1 <&- >&- 2>&-'
    subprocess.run(["sh", "-c", script, "sh", *words, "--scratch", str(scratch)], check=False, timeout=60)
    assert [task.result for task in array.tasks()] == ["", ""]


def test_a_full_disk_ends_the_worker_with_whole_records(array):
    array.python("f", list(range(30)), "def f(x):\n    return 'y' * 50_000\n")
    limited = f'ulimit -S -f {500_000 // 512}; exec "$@"'
    assert run_limited(array, limited) == 1
    (path,) = array.files()
    data = path.read_bytes()
    whole = list(records.scan(data))
    assert whole[-1].end == len(data)
    assert 5 <= len(array.tasks()) < 30
    assert array.goodbye()["reason"] == "no space"


def run_limited(array, script):
    digest = json.loads((array.array / "array.json").read_text())["code"]
    program, path, scratch = array.code / f"{digest}.pyz", array.array, array.scratch
    words = [sys.executable, str(program), "worker", "--array", str(path), "--job", "0001", "--resources", "r0"]
    words += ["--slots", "1", "--scratch", str(scratch), "--beat", "1"]
    return subprocess.run(["sh", "-c", script, "sh", *words], check=False, timeout=60).returncode


def test_a_full_tmpfs_ends_the_worker_with_whole_records(array, tmp_path):
    small = tmp_path / "small"
    small.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", small], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip("only root can mount a file system")
    try:
        array.python("f", list(range(30)), "def f(x):\n    return 'y' * 50_000\n")
        out = array.array / "work" / "out"
        out.rmdir()
        out.symlink_to(small)
        assert array.run("--beat", "1") == 1
        data = array.files()[0].read_bytes()
        whole = list(records.scan(data))
        assert whole[-1].end == len(data)
        assert 3 <= len(array.tasks()) < 30
        assert array.goodbye()["reason"] == "no space"
    finally:
        subprocess.run(["umount", "-l", small], check=True)
