"""Local jobs are real processes here: started, looked for and ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hpcflow.schedulers import processes
from hpcflow.schedulers.base import Element, SchedulerError, State, Submission
from hpcflow.schedulers.local import Local


def until(condition: Callable[[], object], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.02)


class Jobs:
    """Submits scripts under names of their own and kills whatever is left of them."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.scheduler = Local(cores=4, grace=0.5)
        self.prefix = f"t{os.getpid()}x{time.monotonic_ns():x}"
        self.count = 0

    def submit(self, text: str, **keys: object) -> str:
        self.count += 1
        script = self.directory / f"job {self.count}.sh"
        script.write_text(text)
        name = f"{self.prefix}{self.count}"
        keys = {"width": 1, "log": self.directory / "log", **keys}
        return self.scheduler.submit(Submission(script=script, name=name, **keys))  # type: ignore[arg-type]

    def mine(self) -> list[Element]:
        return [e for e in self.scheduler.listing() if e.name.startswith(self.prefix)]

    def log(self, number: int = 1) -> str:
        path = self.directory / "log" / f"{self.prefix}{number}.out"
        return path.read_text() if path.exists() else ""


@pytest.fixture
def jobs(tmp_path: Path) -> Iterator[Jobs]:
    found = Jobs(tmp_path)
    yield found
    for carrier in processes.carriers():
        if carrier.job.startswith(found.prefix):
            processes.send(carrier.pid, signal.SIGKILL)


def test_each_element_knows_its_token_and_index(jobs: Jobs) -> None:
    jobs.submit("echo $HPCFLOW_JOB $HPCFLOW_ELEMENT", width=3)
    until(lambda: jobs.log().count("\n") == 3)
    name = f"{jobs.prefix}1"
    assert sorted(jobs.log().splitlines()) == [f"{name} 0", f"{name} 1", f"{name} 2"]


def test_listing_finds_elements_that_run(jobs: Jobs) -> None:
    job = jobs.submit("sleep 60", width=2)
    until(lambda: len(jobs.mine()) == 2)
    assert {(e.job, e.index, e.name, e.state) for e in jobs.mine()} == {
        (job, index, f"{jobs.prefix}1", State.RUNNING) for index in (0, 1)
    }


def test_an_element_stays_listed_while_the_script_becomes_the_worker(jobs: Jobs) -> None:
    jobs.submit('[ ${n:-0} = 300 ] && exec sleep 60; export n=$((n + 1)); exec bash "$0"')
    deadline = time.monotonic() + 1
    while time.monotonic() < deadline:
        assert len(jobs.mine()) == 1


def test_what_a_job_starts_is_no_element_of_its_own(jobs: Jobs) -> None:
    jobs.submit("setsid sleep 60 & sleep 60 & echo ready; wait")
    until(lambda: "ready" in jobs.log())
    assert len(jobs.mine()) == 1


def test_an_orphan_does_not_keep_its_element_listed(jobs: Jobs) -> None:
    jobs.submit("setsid sleep 60 & echo ready")
    until(lambda: "ready" in jobs.log() and not jobs.mine())
    assert [c for c in processes.carriers() if c.job.startswith(jobs.prefix)]


def test_elements_of_a_killed_engine_are_found_by_the_next(jobs: Jobs, tmp_path: Path) -> None:
    script = tmp_path / "job.sh"
    script.write_text("sleep 60")
    engine = (
        "import os, sys; from pathlib import Path\n"
        "from hpcflow.schedulers.local import Local\n"
        "from hpcflow.schedulers.base import Submission\n"
        "job = Local().submit(Submission(Path(sys.argv[1]), sys.argv[2], 2))\n"
        "print(job, flush=True); os.kill(os.getpid(), 9)\n"
    )
    command = [sys.executable, "-c", engine, str(script), jobs.prefix + "e"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert done.returncode == -signal.SIGKILL
    until(lambda: len(jobs.mine()) == 2)
    assert {e.job for e in jobs.mine()} == {done.stdout.strip()}


def test_an_element_that_ended_is_no_zombie_of_a_long_lived_engine(jobs: Jobs) -> None:
    jobs.submit("echo $$")
    until(lambda: jobs.log().strip())
    pid = int(jobs.log())
    until(lambda: not jobs.mine())
    until(lambda: (jobs.mine(), processes.stat(pid))[1] is None)


def test_a_zombie_counts_as_gone(jobs: Jobs) -> None:
    child = subprocess.Popen(["true"])
    until(lambda: (found := processes.stat(child.pid)) and found.state == "Z")
    zombie = processes.stat(child.pid)
    assert zombie is not None
    assert jobs.scheduler.visible(jobs.scheduler.host, child.pid, zombie.start) is False
    child.wait()


def test_visible_tells_living_from_gone_from_elsewhere(jobs: Jobs) -> None:
    scheduler = jobs.scheduler
    me = processes.stat(os.getpid())
    assert me is not None
    assert scheduler.visible(scheduler.host, os.getpid(), me.start) is True
    assert scheduler.visible(scheduler.host, os.getpid(), me.start + 1) is False
    assert scheduler.visible("another-host", os.getpid(), me.start) is None


def test_a_job_inherits_no_open_files(jobs: Jobs, tmp_path: Path) -> None:
    read, write = os.pipe()
    os.set_inheritable(write, True)
    try:
        jobs.submit("echo open: /proc/self/fd/*; sleep 60")
        until(lambda: "open" in jobs.log())
        os.close(write)
        os.set_blocking(read, False)
        assert os.read(read, 1) == b""  # end of file: nobody else holds the pipe
    finally:
        os.close(read)


def test_a_job_has_a_session_of_its_own(jobs: Jobs) -> None:
    jobs.submit("sleep 60")
    until(jobs.mine)
    leader = int(jobs.mine()[0].native.split()[1])
    assert os.getsid(leader) == leader != os.getsid(0)


def test_a_job_may_wait_for_its_time(jobs: Jobs) -> None:
    jobs.submit("echo started", not_before=time.time() + 1.2)
    until(jobs.mine)
    assert [e.state for e in jobs.mine()] == [State.QUEUED]
    assert jobs.log() == ""
    until(lambda: "started" in jobs.log())


def test_throttle_bounds_what_is_started(jobs: Jobs) -> None:
    jobs.submit("sleep 60", width=3, throttle=2)
    until(jobs.mine)
    assert len(jobs.mine()) == 2


def test_cancel_lets_a_job_end_in_order(jobs: Jobs) -> None:
    jobs.submit("trap 'echo stopping; exit' TERM; echo ready; while :; do sleep 0.05; done")
    until(lambda: "ready" in jobs.log())
    jobs.scheduler.cancel(jobs.mine())
    until(lambda: not jobs.mine())
    assert "stopping" in jobs.log()


def test_cancel_kills_what_does_not_want_to_end(jobs: Jobs) -> None:
    jobs.submit("trap '' TERM; setsid sleep 60 & echo ready; while :; do sleep 0.05; done")
    until(lambda: "ready" in jobs.log())
    jobs.scheduler.cancel(jobs.mine())
    jobs.scheduler.cancel(jobs.mine())
    until(lambda: not [c for c in processes.carriers() if c.job.startswith(jobs.prefix)])


def test_cancel_of_one_element_leaves_the_others(jobs: Jobs) -> None:
    jobs.submit("sleep 60", width=3)
    until(lambda: len(jobs.mine()) == 3)
    jobs.scheduler.cancel([e for e in jobs.mine() if e.index == 1])
    until(lambda: {e.index for e in jobs.mine()} == {0, 2})


def test_cancel_of_a_whole_job(jobs: Jobs) -> None:
    job = jobs.submit("sleep 60", width=3)
    until(lambda: len(jobs.mine()) == 3)
    jobs.scheduler.cancel([Element(job, None, f"{jobs.prefix}1", State.RUNNING, "")])
    until(lambda: not jobs.mine())


def test_cancel_needs_id_and_name_to_agree(jobs: Jobs) -> None:
    job = jobs.submit("sleep 60")
    until(jobs.mine)
    jobs.scheduler.cancel([Element(job, 0, "another", State.RUNNING, "")])
    other = f"{jobs.scheduler.host}:another"
    jobs.scheduler.cancel([Element(other, 0, f"{jobs.prefix}1", State.RUNNING, "")])
    time.sleep(0.3)
    assert jobs.mine()


def test_cancel_wakes_a_stopped_job(jobs: Jobs) -> None:
    jobs.submit("sleep 60")
    until(jobs.mine)
    os.killpg(int(jobs.mine()[0].native.split()[1]), signal.SIGSTOP)
    jobs.scheduler.cancel(jobs.mine())
    until(lambda: not jobs.mine())


def test_cancel_on_another_host_says_so(jobs: Jobs) -> None:
    with pytest.raises(SchedulerError, match="another host"):
        jobs.scheduler.cancel([Element("far:token", 0, "token", State.RUNNING, "")])


def test_a_script_that_cannot_be_logged_is_refused(jobs: Jobs, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SchedulerError) as caught:
        jobs.submit("true", log=tmp_path / "file" / "log")
    assert caught.value.kind == "permanent"
    assert not jobs.mine()
