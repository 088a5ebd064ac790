"""Shell commands, run by a real worker from a real archive."""

import os
from hashlib import blake2b

import pytest


def test_a_command_gets_its_row_quoted_and_returns_what_it_printed(array):
    rows = [{"name": "a b"}, {"name": "$(touch x); 'ü' %s"}, {"name": 3}]
    array.command("printf '%s\\n' {name} {index} ${{HPCFLOW_TASK}} {k}; echo aside >&2", rows, parameters={"k": 7})
    assert array.run() == 0
    results = [task.result for task in array.tasks()]
    texts = ["a b", "$(touch x); 'ü' %s", "3"]
    assert results == [{"exit_status": 0, "stdout": f"{text}\n{i}\n{i}\n7\n"} for i, text in enumerate(texts)]


def test_a_file_is_named_by_its_path(array):
    (array.campaign / "in put.txt").write_text("content")
    digest = blake2b(b"content", digest_size=16).hexdigest()
    array.command("cat {path}", [{"$path": "in put.txt", "digest": digest}])
    array.run()
    assert array.tasks()[0].result["stdout"] == "content"


def test_a_file_that_was_edited_is_an_input_that_changed(array):
    (array.campaign / "input.txt").write_text("edited")
    digest = blake2b(b"content", digest_size=16).hexdigest()
    array.command("cat {path}", [{"$path": "input.txt", "digest": digest}])
    array.run()
    (task,) = array.tasks()
    assert (task["state"], task["reason"]) == ("failed", "input changed")
    assert str(array.campaign / "input.txt") in task["message"]


def test_a_frame_is_written_beside_the_command(array):
    frames = [b"1\n\nH 0 0 0\n", b"2\nenergy=1\nO 0 0 0\nH 0 0 1\n"]
    array.command("cat input.xyz", frames, frames=True)
    array.run()
    assert [task.result["stdout"].encode() for task in array.tasks()] == frames


def test_an_exit_status_fails_the_task_with_its_last_words(array):
    array.command("echo out; echo first >&2; echo 'cannot converge' >&2; exit 3", [{}])
    array.run()
    (task,) = array.tasks()
    assert (task["state"], task["reason"], task["exit"]) == ("failed", "error", 3)
    assert task["message"] == "exit status 3: cannot converge"
    assert sorted(task.output.splitlines()) == ["cannot converge", "first", "out"]


def test_a_signal_is_named(array):
    array.command("kill -SEGV $$", [{}])
    array.run()
    (task,) = array.tasks()
    assert task["message"] == "killed by signal 11 (SIGSEGV)"
    assert task["exit"] == -11


def test_an_unknown_field_fails_clearly_and_harms_no_other_task(array):
    array.command("echo {x}", [{"x": 1}, {"y": 2}, {"x": 3}])
    assert array.run() == 0
    good, bad, last = array.tasks()
    assert (good["state"], last["state"]) == ("succeeded", "succeeded")
    assert "the command names {x}" in bad["message"]
    assert bad["reason"] == "error"


def test_a_row_that_is_too_long_for_a_command_fails_clearly(array):
    array.command("echo {x}", [{"x": "y" * 300_000}, {"x": "short"}])
    array.run()
    bad, good = array.tasks()
    assert (bad["state"], good["state"]) == ("failed", "succeeded")
    assert "Argument list too long" in bad["message"]


def test_exit_status_75_is_unfinished_only_with_checkpoints(array):
    array.command("exit 75", [{}], checkpoint=True)
    array.run()
    assert array.tasks()[0]["state"] == "unfinished"


def test_exit_status_75_is_a_failure_without_checkpoints(array):
    array.command("exit 75", [{}])
    array.run()
    assert array.tasks()[0]["state"] == "failed"


def test_commands_run_in_an_empty_scratch_directory(array):
    array.command('ls -A; touch left .hidden; mkdir -p d/e; test "$PWD" = "$HPCFLOW_SCRATCH"', [{}] * 4)
    array.run()
    assert [task.result["stdout"] for task in array.tasks()] == [""] * 4
    assert os.listdir(array.scratch) == []


def test_standard_input_is_empty_and_no_other_file_is_open(array):
    array.command("cat; ls /proc/self/fd", [{}])
    array.run()
    # 3 is the directory that ls itself reads.
    assert array.tasks()[0].result["stdout"].split() == ["0", "1", "2", "3"]


def test_long_output_is_cut_in_the_middle(array):
    array.command("echo first; yes 0123456789 | head -c 50000000; echo; echo last", [{}])
    array.run()
    (task,) = array.tasks()
    text = task.result["stdout"]
    assert text.startswith("first\n0123456789\n")
    assert text.endswith("\nlast\n")
    assert "bytes left out" in text
    assert len(text) < 70_000


def test_output_that_is_no_text_does_no_harm(array):
    array.command("printf 'a\\377b'", [{}])
    array.run()
    assert array.tasks()[0].result["stdout"] == "a\ufffdb"


def test_the_environment_has_the_share_of_the_slot(array):
    array.command("env | grep -E '^(HPCFLOW|OMP)' | sort", [{}])
    array.run("--cores", "2", "--launch", "srun -n {cores}", OMP_NUM_THREADS="1")
    lines = dict(line.split("=", 1) for line in array.tasks()[0].result["stdout"].splitlines())
    assert lines["HPCFLOW_CORES"] == "2"
    assert lines["HPCFLOW_LAUNCH"] == "srun -n 2"
    assert lines["HPCFLOW_ATTEMPT"] == "1"
    assert lines["HPCFLOW_CAMPAIGN"] == str(array.campaign)
    assert lines["OMP_NUM_THREADS"] == "1"
    assert "HPCFLOW_SEED" in lines
    assert "HPCFLOW_DEADLINE" not in lines


def test_commands_are_bound_to_cores_of_their_own(array):
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("one core cannot be divided")
    array.command("grep Cpus_allowed_list /proc/self/status; sleep 0.3", [{}, {}], chunk=1)
    array.run("--slots", "2", "--whole-node")
    first, second = (task.result["stdout"] for task in array.tasks())
    assert first != second


def test_a_child_left_in_the_background_is_killed(array):
    array.command("sleep 1000 & setsid sleep 1000 & (setsid sh -c 'sleep 1000 & sleep 1000' &) ; true", [{}] * 3)
    worker = array.start()
    assert worker.wait(60) == 0
    assert [task["state"] for task in array.tasks()] == ["succeeded"] * 3
    array.wait(lambda: not array.processes(), timeout=10)


def test_a_child_left_behind_is_killed_before_the_next_task_has_ended(array):
    command = "if test {i} = 0; then setsid sleep 98761 & else sleep 0.3; ps -C sleep -o args=; fi; true"
    array.command(command, [{"i": 0}, {"i": 1}])
    array.run()
    assert "sleep 98761" not in array.tasks()[1].result["stdout"]


def test_a_child_that_hides_for_a_moment_is_killed_before_the_next_task_has_ended(array):
    # As in the middle of an exec: neither its environment nor its group tells the task.
    hides = "env -i setsid sh -c 'sleep 0.2; HPCFLOW_SCRATCH=$1 exec sleep 98762' - \"$HPCFLOW_SCRATCH\""
    array.command(
        f"if test {{i}} = 0; then {hides} & sleep 0.1; else sleep 0.5; ps -C sleep -o args=; fi; true",
        [{"i": 0}, {"i": 1}],
    )
    array.run()
    assert "sleep 98762" not in array.tasks()[1].result["stdout"]


def test_each_slot_sees_its_own_gpu(array):
    array.command("echo $CUDA_VISIBLE_DEVICES $HPCFLOW_GPUS; sleep 0.3", [{}, {}], chunk=1)
    array.run("--slots", "2", "--gpus", "1", CUDA_VISIBLE_DEVICES="5,2")
    assert sorted(task.result["stdout"] for task in array.tasks()) == ["2 1\n", "5 1\n"]
