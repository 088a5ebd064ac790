"""Commands that a shell would only pass on are started without one."""

import os
import shutil

import pytest

from hpcflow.worker.programs import Programs


@pytest.fixture
def program(tmp_path):
    """Write a program where commands find it, and return the environment in which they do."""

    def program(name, text):
        path = tmp_path / "bin" / name
        path.parent.mkdir()
        path.write_text(text)
        path.chmod(0o755)
        return {"PATH": f"{path.parent}:{os.environ['PATH']}"}

    return program


def outcome(array, command, **variables):
    array.command(command, [{"a": "x"}])
    array.run(**variables)
    (task,) = array.tasks()
    return task.result["stdout"] if task["state"] == "succeeded" else task["message"]


def test_a_plain_command_is_a_program_and_its_arguments():
    words = Programs(os.environ).words("sleep 0.02 --a=b,c %d @x ./y")
    assert words == [shutil.which("sleep"), "0.02", "--a=b,c", "%d", "@x", "./y"]


@pytest.mark.parametrize(
    "command",
    [
        *(
            "sleep 1; sleep 2",
            "sleep 1 # 2",
            "cat <x",
            "sleep  1",
            "sleep '1'",
            "sleep $X",
            "sleep *",
            "sleep ~",
            "ü 1",
        ),
        *("X=1 env", "umask", "read x", "exit 3", "./mine", "no-such-program", "", "sleep 1\n", "if"),
    ],
)
def test_what_means_something_to_a_shell_is_left_to_it(command):
    assert Programs(os.environ).words(command) == []


def test_the_first_of_that_name_is_meant(program):
    variables = program("sleep", "#!/bin/sh\necho mine $@\n")
    assert Programs(variables).words("sleep 1")[0] != shutil.which("sleep")


def test_a_program_without_a_shell_knows_where_it_is(array, program):
    variables = program("show", '#!/usr/bin/env -S sh -c \'test "$PWD" = "$HPCFLOW_SCRATCH" && echo here\'\n')
    assert outcome(array, "show {a}", **variables) == "here\n"


def test_a_script_that_does_not_say_what_runs_it_is_one_of_the_shell(array, program):
    assert outcome(array, "show {a}", **program("show", "echo $1\n")) == "x\n"


def test_the_shell_says_what_is_wrong_with_a_name(array):
    assert "not found" in outcome(array, "no-such-program {a}")
