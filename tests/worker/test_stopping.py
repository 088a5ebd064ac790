"""Deadlines, bounds and signals: what is running stops in time, and says how far it came."""

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress

import pytest

SLEEP = "import time\ndef f(x):\n    time.sleep(x)\n    return x\n"
DEAF = (
    "import time\ndef f(x):\n    import signal\n    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n    time.sleep(x)\n"
)


def in_flight(array):
    """Whether a task has been handed over, and its process is there."""
    return array.headers("start") and array.processes()


def terminate_all(array):
    for pid in array.processes():
        with suppress(ProcessLookupError):  # one may end with another
            os.kill(pid, signal.SIGTERM)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGXCPU])
def test_a_stop_signal_leaves_tasks_unfinished(array, number):
    array.python("f", [100, 100], SLEEP)
    worker = array.start()
    array.wait(lambda: in_flight(array))
    os.kill(worker.pid, number)
    assert worker.wait(20) == 128 + number
    assert [(task["task"], task["state"]) for task in array.tasks()] == [(0, "unfinished")]
    assert (array.goodbye()["reason"], array.goodbye()["message"]) == ("signal", number.name)


@pytest.mark.parametrize("kind", ["python", "command"])
def test_what_runs_for_an_array_that_is_done_is_ended(array, kind):
    # It was dropped, or another worker had taken it over and was the first.
    if kind == "python":
        array.python("f", [100, 100], SLEEP)
    else:
        array.command("sleep 100", [{}, {}])
    worker = array.start("--beat", "0.2")
    array.wait(lambda: in_flight(array))
    work = array.array / "work"
    work.rename(work.with_name(".work-gone"))
    shutil.rmtree(work.with_name(".work-gone"))
    assert worker.wait(20) == 0
    assert array.processes() == []
    assert not work.exists()


def test_a_stop_signal_leaves_commands_unfinished(array):
    array.command("sleep 100", [{}, {}])
    worker = array.start()
    array.wait(lambda: in_flight(array))
    os.kill(worker.pid, signal.SIGTERM)
    assert worker.wait(20) == 128 + signal.SIGTERM
    (task,) = array.tasks()
    assert task["state"] == "unfinished"
    assert {"reason", "message", "exit", "output"}.isdisjoint(task)


def test_a_signal_to_the_whole_job_is_no_failure_of_its_tasks(array):
    # Slurm, PBS and LSF may signal every process of a job at once, the tasks a moment before the worker.
    array.command("sleep 100", [{}, {}])
    worker = array.start()
    array.wait(lambda: in_flight(array))
    terminate_all(array)
    time.sleep(0.3)
    os.kill(worker.pid, signal.SIGTERM)
    assert worker.wait(20) == 128 + signal.SIGTERM
    assert [task["state"] for task in array.tasks()] == ["unfinished"] * len(array.tasks())
    assert array.goodbye()["reason"] == "signal"


def test_a_signal_to_the_whole_job_is_no_failure_of_python_tasks(array):
    array.python("f", [100, 100], SLEEP)
    worker = array.start()
    array.wait(lambda: in_flight(array))
    terminate_all(array)
    time.sleep(0.3)
    os.kill(worker.pid, signal.SIGTERM)
    assert worker.wait(20) == 128 + signal.SIGTERM
    assert {task["state"] for task in array.tasks()} == {"unfinished"}


def test_a_task_that_somebody_terminates_alone_has_failed(array):
    array.command("kill -TERM $$; sleep 100", [{}])
    array.run()
    (task,) = array.tasks()
    assert (task["state"], task["message"]) == ("failed", "killed by signal 15 (SIGTERM)")


def test_a_task_that_ignores_sigterm_is_killed_after_the_grace_time(array):
    array.python("f", [100], DEAF)
    worker = array.start("--grace", "1")
    array.wait(lambda: in_flight(array))
    time.sleep(0.3)
    os.kill(worker.pid, signal.SIGTERM)
    assert worker.wait(20) == 128 + signal.SIGTERM
    assert [task["state"] for task in array.tasks()] == ["unfinished"]
    assert not array.processes()


def test_a_command_that_ignores_sigterm_is_killed_with_its_children(array):
    array.command("trap '' TERM; sleep 100 & wait; sleep 100", [{}])
    worker = array.start("--grace", "1")
    array.wait(lambda: len(array.processes()) >= 2)
    os.kill(worker.pid, signal.SIGTERM)
    assert worker.wait(20) == 128 + signal.SIGTERM
    assert [task["state"] for task in array.tasks()] == ["unfinished"]
    assert not array.processes()


def test_a_python_task_can_clean_up_when_it_is_stopped(array):
    source = """
import os, time
def f(x):
    try:
        time.sleep(100)
    finally:
        open(os.environ["HPCFLOW_CAMPAIGN"] + "/cleaned", "w").close()
"""
    array.python("f", [0], source)
    worker = array.start()
    array.wait(lambda: in_flight(array))
    time.sleep(0.3)
    os.kill(worker.pid, signal.SIGTERM)
    worker.wait(20)
    assert (array.campaign / "cleaned").exists()


def test_a_task_that_finishes_in_the_grace_time_has_succeeded(array):
    source = """
import signal, time
def f(x):
    stopped = []
    signal.signal(signal.SIGTERM, lambda *a: stopped.append(1))
    while not stopped:
        time.sleep(0.05)
    return "checkpointed"
"""
    array.python("f", [0, 0, 0], source)
    worker = array.start()
    array.wait(lambda: in_flight(array))
    time.sleep(0.5)
    os.kill(worker.pid, signal.SIGTERM)
    assert worker.wait(20) == 128 + signal.SIGTERM
    assert [(task["state"], task.result) for task in array.tasks()] == [("succeeded", "checkpointed")]


def test_a_command_that_exits_well_after_sigterm_is_unfinished_all_the_same(array):
    # gmx mdrun, for one, writes a checkpoint and exits with 0.
    array.command("trap 'exit 0' TERM; while true; do sleep 0.05; done", [{}])
    worker = array.start()
    array.wait(lambda: in_flight(array))
    time.sleep(0.3)
    os.kill(worker.pid, signal.SIGTERM)
    worker.wait(20)
    assert [task["state"] for task in array.tasks()] == ["unfinished"]


def test_the_rest_of_a_hand_over_is_not_run_after_a_stop(array):
    array.python("f", [0.0001] * 3000 + [100] + [0.0001] * 3000, SLEEP)
    worker = array.start()
    array.wait(lambda: len(array.tasks()) >= 3000)
    time.sleep(0.3)
    os.kill(worker.pid, signal.SIGTERM)
    assert worker.wait(20) == 128 + signal.SIGTERM
    tasks = array.tasks()
    assert [task["state"] for task in tasks[:3000]] == ["succeeded"] * 3000
    assert [(task["task"], task["state"]) for task in tasks[3000:]] == [(3000, "unfinished")]


def test_a_slot_that_is_still_importing_does_not_delay_the_stop(array):
    array.python("f", [0], "import time\ntime.sleep(100)\ndef f(x):\n    pass\n")
    worker = array.start("--grace", "60")
    array.wait(lambda: array.processes())
    time.sleep(0.3)
    os.kill(worker.pid, signal.SIGTERM)
    assert worker.wait(20) == 128 + signal.SIGTERM
    assert array.tasks() == []
    assert not array.processes()


def test_tasks_stop_before_the_end_of_the_job(array):
    array.python("f", [100, 100], SLEEP)
    begun = time.time()
    assert array.run("--walltime", "100", "--margin", "6", HPCFLOW_STARTED=str(begun - 92)) == 0
    assert time.time() - begun < 7
    assert [task["state"] for task in array.tasks()] == ["unfinished"]
    assert array.goodbye()["reason"] == "walltime"


def test_the_end_that_the_scheduler_names_counts(array):
    array.python("f", [100], SLEEP)
    times = {"HPCFLOW_STARTED": str(time.time() - 92), "HPCFLOW_END_TIME": str(time.time() + 8)}
    assert array.run("--walltime", "10000", "--margin", "6", **times) == 0
    assert array.goodbye()["reason"] == "walltime"


def test_a_worker_that_comes_too_late_starts_nothing(array):
    array.python("f", [0], SLEEP)
    assert array.run("--walltime", "100", "--margin", "10", HPCFLOW_STARTED=str(time.time() - 95)) == 0
    assert array.tasks() == []
    assert array.headers("start") == []
    assert array.goodbye()["reason"] == "walltime"


def test_no_task_is_started_that_will_not_end_in_time(array):
    array.python("f", [1.0] * 20, SLEEP)
    assert array.run("--walltime", "100", "--margin", "10", HPCFLOW_STARTED=str(time.time() - 86.5)) == 0
    tasks = array.tasks()
    assert {task["state"] for task in tasks} == {"succeeded"}
    assert 1 <= len(tasks) <= 3
    assert array.goodbye()["reason"] == "walltime"


def test_a_margin_longer_than_the_job_leaves_half_of_it(array):
    array.python("f", [0.1, 100], SLEEP)
    assert array.run("--walltime", "4", "--margin", "60") == 0
    assert [task["state"] for task in array.tasks()] == ["succeeded", "unfinished"]


def test_work_that_is_done_in_time_is_no_walltime(array):
    array.python("f", [0.6, 0.6], SLEEP)
    assert array.run("--walltime", "4", "--margin", "2", "--slots", "2") == 0
    assert len(array.tasks()) == 2
    assert array.goodbye()["reason"] == "no work"


def test_a_python_task_that_never_ends_times_out_and_the_others_go_on(array):
    array.python("f", [0.01, 100, 0.02], SLEEP)
    assert array.run("--task-walltime", "1") == 0
    good, bad, last = array.tasks()
    assert (good["state"], last["state"]) == ("succeeded", "succeeded")
    assert (bad["state"], bad["reason"]) == ("failed", "timeout")
    assert bad["message"] == "stopped after 1 s, the max_walltime of its class"
    assert bad["seconds"] >= 1


def test_a_python_task_that_ignores_its_bound_is_killed(array):
    array.python("f", [100], DEAF)
    assert array.run("--task-walltime", "1", "--grace", "1") == 0
    assert array.tasks()[0]["reason"] == "timeout"


def test_a_command_that_never_ends_times_out(array):
    array.command("echo begun; sleep 100", [{}])
    assert array.run("--task-walltime", "1") == 0
    (task,) = array.tasks()
    assert (task["reason"], task.output) == ("timeout", "begun\n")


def test_a_launcher_gets_sigterm_twice(array):
    script = "n=0; trap 'n=$((n+1)); echo term $n; test $n = 2 && exit 1' TERM; while :; do sleep 0.05; done"
    array.command(script, [{}])
    assert array.run("--task-walltime", "1", "--grace", "2", "--launch", "mpirun") == 0
    (task,) = array.tasks()
    assert task["reason"] == "timeout"
    assert [line for line in task.output.splitlines() if line.startswith("term")] == ["term 1", "term 2"]


def test_tasks_know_when_they_must_have_ended(array):
    source = "import os, time\ndef f(x):\n    return float(os.environ['HPCFLOW_DEADLINE']) - time.time()\n"
    array.python("f", [0], source)
    array.run("--walltime", "10000", "--task-walltime", "500")
    assert 490 < array.tasks()[0].result <= 500


def test_a_worker_beats_while_it_lives_and_names_the_tasks_in_flight(array):
    array.python("f", [3], SLEEP)
    array.run("--beat", "1")
    beats = array.headers("beat")
    assert 2 <= len(beats) <= 3
    assert [beat["tasks"] for beat in beats] == [[0]] * len(beats)


def test_new_lists_are_found_while_the_worker_lives(array):
    array.python("f", [1.5, 0.01, 0.01], SLEEP)
    array.list(1, [[0, 1]])
    worker = array.start("--slots", "2", "--beat", "0.3")
    array.wait(lambda: in_flight(array))
    array.list(2, [[1, 3]])
    assert worker.wait(20) == 0
    assert len(array.tasks()) == 3


def test_a_background_process_of_the_job_script_is_not_touched(array):
    array.command("true", [{}] * 3)
    digest = next(path.stem for path in array.code.iterdir())
    script = 'sleep 50 & echo $!; exec python3 "$@"'
    words = [str(array.code / f"{digest}.pyz"), "worker", "--array", str(array.array), "--job", "0001"]
    words += ["--resources", "r0", "--scratch", str(array.scratch)]
    done = subprocess.Popen(["sh", "-c", script, "sh", *words], stdout=subprocess.PIPE, text=True)
    pid = int(done.stdout.readline())
    assert done.wait(30) == 0
    assert len(array.tasks()) == 3
    os.kill(pid, signal.SIGKILL)  # it is still there


def test_a_checkpointing_task_writes_its_checkpoint_when_stopped(array):
    source = """
import signal, time
from hpcflow.task import Unfinished
def f(x):
    stopped = []
    signal.signal(signal.SIGTERM, lambda *a: stopped.append(1))
    while not stopped:
        time.sleep(0.05)
    with open("checkpoint", "w") as stream:
        stream.write("step 7")
    raise Unfinished
"""
    array.python("f", [0], source, checkpoint=True)
    worker = array.start()
    array.wait(lambda: in_flight(array))
    time.sleep(0.5)
    os.kill(worker.pid, signal.SIGTERM)
    assert worker.wait(20) == 128 + signal.SIGTERM
    assert [task["state"] for task in array.tasks()] == ["unfinished"]
    (path,) = array.files()
    assert (path.with_name(path.name + ".d") / "0.1" / "checkpoint").read_text() == "step 7"


def test_nohup_stays_nohup(array):
    array.python("f", [1], SLEEP)
    old = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        worker = array.start()
    finally:
        signal.signal(signal.SIGHUP, old)
    array.wait(lambda: in_flight(array))
    os.kill(worker.pid, signal.SIGHUP)
    assert worker.wait(20) == 0
    assert array.goodbye()["reason"] == "no work"


@pytest.mark.parametrize(
    "source", ["def f(x):\n    return x\n", "def f(x):\n    raise ValueError('abcdefgh'[x % 8])\n"]
)
def test_a_stop_in_the_middle_of_short_tasks_loses_and_repeats_nothing(array, source):
    array.python("f", list(range(30_000)), source)
    worker = array.start("--slots", "2")
    array.wait(lambda: array.files() and array.files()[0].stat().st_size > 100_000)
    os.kill(worker.pid, signal.SIGTERM)
    assert worker.wait(20) == 128 + signal.SIGTERM
    assert array.goodbye()["reason"] == "signal"
    numbers = [task["task"] for task in array.tasks()]
    assert len(set(numbers)) == len(numbers) < 30_000
    assert not [task for task in array.tasks() if task.get("message", "").startswith("killed")]
