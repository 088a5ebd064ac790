"""How scheduler programs are run: their environment, their time, their end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from hpcflow.schedulers import commands, processes
from hpcflow.schedulers.base import SchedulerError

ROOT = Path(__file__).parents[2]


def gone(pid: int) -> bool:
    deadline = time.monotonic() + 10
    while processes.alive(pid) and time.monotonic() < deadline:
        time.sleep(0.01)
    return not processes.alive(pid)


def test_outputs_are_kept_apart() -> None:
    reply = commands.run(["sh", "-c", "echo out; echo err >&2; exit 3"])
    assert (reply.exit_code, reply.stdout, reply.stderr, reply.timed_out) == (3, "out\n", "err\n", False)


def test_bytes_that_are_no_text_are_replaced() -> None:
    assert commands.run(["printf", r"a\377b"]).stdout == "a�b"


def test_input_reaches_the_program() -> None:
    assert commands.run(["cat"], input="#BSUB -n 1\n").stdout == "#BSUB -n 1\n"


def test_no_input_is_an_empty_one() -> None:
    assert commands.run(["cat"]).stdout == ""


def test_a_surrounding_job_leaves_no_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    names = ["SLURM_JOB_ID", "SBATCH_JOB_NAME", "SQUEUE_FORMAT", "SACCT_FORMAT", "PBS_JOBID", "LSB_JOBID"]
    for name in names:
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("UNRELATED", "1")
    found = commands.environment()
    assert not set(names) & set(found)
    assert found["UNRELATED"] == "1"
    assert found["LC_ALL"] == "C"


def test_the_site_keeps_drops_and_adds_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLURM_CONF", "/etc/one.conf")
    monkeypatch.setenv("SBATCH_RESERVATION", "course")
    monkeypatch.setenv("SBATCH_PARTITION", "gpu")
    monkeypatch.setenv("EBROOT", "x")
    found = commands.environment({"SLURM_CLUSTERS": "a"}, keep=["SBATCH_RES*"], drop=["EB*"])
    assert found["SLURM_CONF"] == "/etc/one.conf"
    assert found["SBATCH_RESERVATION"] == "course"
    assert found["SLURM_CLUSTERS"] == "a"
    assert not {"SBATCH_PARTITION", "EBROOT"} & set(found)


def test_a_missing_program_is_permanent_and_says_which() -> None:
    with pytest.raises(SchedulerError, match="no-such-sbatch was not found") as caught:
        commands.run(["no-such-sbatch"])
    assert caught.value.kind == "permanent"


def test_a_program_that_does_not_answer_is_ended_with_its_children(tmp_path: Path) -> None:
    script = f"sleep 60 & echo $! > {tmp_path}/pid; echo said; wait"
    reply = commands.run(["bash", "-c", script], timeout=1)
    assert reply.timed_out
    assert reply.stdout == "said\n"
    assert gone(int((tmp_path / "pid").read_text()))


def test_a_program_in_another_session_that_holds_the_output_does_not_hold_us() -> None:
    reply = commands.run(["bash", "-c", "echo said; setsid sleep 30 & wait"], timeout=0.5)
    assert reply.timed_out


def test_an_interrupt_ends_the_program(tmp_path: Path) -> None:
    def interrupt() -> None:
        while not (tmp_path / "pid").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        commands.run(["bash", "-c", "echo $$ >$0.new; mv $0.new $0; exec sleep 60", str(tmp_path / "pid")])
    thread.join()
    assert gone(int((tmp_path / "pid").read_text()))


def test_a_program_dies_with_the_engine(tmp_path: Path) -> None:
    engine = (
        "import sys, threading, time; from hpcflow.schedulers import commands\n"
        "threading.Thread(target=time.sleep, args=(60,), daemon=True).start()\n"
        "commands.run(['bash', '-c', 'echo $$ >$0.new; mv $0.new $0; exec sleep 60', sys.argv[1]])\n"
    )
    parent = subprocess.Popen([sys.executable, "-c", engine, str(tmp_path / "pid")], cwd=ROOT)
    while not (tmp_path / "pid").exists():
        time.sleep(0.01)
    pid = int((tmp_path / "pid").read_text())
    assert processes.alive(pid)
    parent.kill()
    parent.wait()
    assert gone(pid)
