import os
import subprocess
import sys
from pathlib import Path

import pytest

from hpcflow.worker import memory
from hpcflow.worker.memory import Kills


@pytest.fixture
def mounts(tmp_path, monkeypatch):
    """Directories that look like the mounts of both versions of cgroups."""
    roots = (tmp_path / "memory", tmp_path / "unified")
    for root in roots:
        root.mkdir()
    monkeypatch.setattr(memory, "_ROOTS", tuple(map(str, roots)))
    return roots


def group(path, **files):
    path.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (path / name.replace("__", ".")).write_text(text)


def test_the_group_of_version_1_is_found(mounts):
    group(mounts[0] / "slurm" / "job_1", memory__oom_control="oom_kill 0\n")
    found = memory.cgroup("5:cpu:/x\n4:memory:/slurm/job_1\n0::/\n")
    assert found == (str(mounts[0]), str(mounts[0] / "slurm" / "job_1"))


def test_the_group_of_version_2_is_found(mounts):
    group(mounts[1] / "job", memory__events="oom_kill 0\n")
    assert memory.cgroup("0::/job\n") == (str(mounts[1]), str(mounts[1] / "job"))


def test_in_a_container_the_visible_root_is_the_group(mounts):
    group(mounts[1], memory__events="oom_kill 0\n")
    assert memory.cgroup("0::/../not/visible\n") == (str(mounts[1]), str(mounts[1]))


def test_without_cgroups_the_machine_is_the_limit(mounts):
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert memory.limit(*memory.cgroup("")) == pages >> 20
    assert Kills("").count() == 0


def test_the_least_limit_on_the_way_to_the_root_counts(mounts):
    group(mounts[1] / "job", memory__max="104857600\n")
    group(mounts[1] / "job" / "step", memory__max="max\n", memory__events="low 0\noom 3\noom_kill 2\n")
    root, own = memory.cgroup("0::/job/step\n")
    assert memory.limit(root, own) == 100


def test_kills_are_counted_anew_each_time(mounts):
    group(mounts[0] / "job", memory__oom_control="oom_kill_disable 0\nunder_oom 0\noom_kill 2\n")
    kills = Kills(str(mounts[0] / "job"))
    assert kills.count() == 2
    group(mounts[0] / "job", memory__oom_control="oom_kill_disable 0\nunder_oom 0\noom_kill 3\n")
    assert kills.count() == 3


@pytest.fixture
def small_group():
    """A memory cgroup of 100 MiB, where this machine lets us make one."""
    root, own = memory.own_cgroup()
    path = Path(own) / f"hpcflow-test-{os.getpid()}" if own else None
    name = "memory.max" if root == "/sys/fs/cgroup" else "memory.limit_in_bytes"
    try:
        if path is None:
            raise OSError("no cgroups")
        path.mkdir()
        (path / name).write_text(str(100 << 20))
    except OSError as error:
        if path is not None and path.exists():
            path.rmdir()
        pytest.skip(f"no memory cgroup can be made here: {error}")
    yield path
    path.rmdir()


def run_within(group, array):
    program = next(array.code.iterdir())
    words = [sys.executable, str(program), "worker", "--array", str(array.array), "--job", "0001"]
    words += ["--resources", "r0", "--slots", "1", "--scratch", str(array.scratch)]
    script = 'echo $$ > "$0"/cgroup.procs && exec "$@"'
    return subprocess.run(["sh", "-c", script, str(group), *words], check=False, timeout=60).returncode


def test_a_task_that_is_killed_for_lack_of_memory_says_so(array, small_group):
    source = "def f(x):\n    return len(bytearray(x << 20))\n"
    array.python("f", [1, 500, 1], source)
    assert run_within(small_group, array) == 0
    tasks = array.tasks()
    assert [task["state"] for task in tasks] == ["succeeded", "failed", "succeeded"]
    assert (tasks[1]["reason"], tasks[1]["message"]) == ("oom", "killed by signal 9 (SIGKILL)")


def test_a_command_whose_child_is_killed_for_lack_of_memory_says_so(array, small_group):
    array.command(f"{sys.executable} -c 'len(bytearray({{mb}} << 20))'", [{"mb": 1}, {"mb": 500}])
    run_within(small_group, array)
    tasks = array.tasks()
    assert [task["state"] for task in tasks] == ["succeeded", "failed"]
    assert tasks[1]["reason"] == "oom"


def test_a_task_that_kills_itself_was_not_short_of_memory(array, small_group):
    array.python("f", [0], "import os\ndef f(x):\n    os.kill(os.getpid(), 9)\n")
    run_within(small_group, array)
    assert array.tasks()[0]["reason"] == "error"
