"""The tick that the last worker runs on its way out."""

import os
import signal
import time

import pytest

HELD = """
import os, time
def f(x):
    campaign = os.environ["HPCFLOW_CAMPAIGN"]
    open(f"{campaign}/begun{x}", "w").close()
    while x and not os.path.exists(f"{campaign}/go{x}"):
        time.sleep(0.01)
    return x
"""
TICK = "cat .hpcflow/arrays/*/work/out/* >seen; echo ticked >>ticks"
HANG = "trap '' TERM; echo $$ >pid.new; mv pid.new pid; sleep 100; sleep 100"


@pytest.fixture
def start(array):
    """Start a worker with a tick, which runs in the campaign."""

    def start(*options, tick=TICK):
        variables = {"HERE": str(array.campaign), "HPCFLOW_CAMPAIGN": str(array.campaign)}
        return array.start("--tick", f'cd "$HERE"; {tick}', *options, **variables)

    return start


def ticks(array):
    path = array.campaign / "ticks"
    return path.read_text().split() if path.exists() else []


def test_it_comes_after_the_goodbye(array, start):
    array.python("f", [0, 0], HELD)
    assert start().wait(60) == 0
    assert ticks(array) == ["ticked"]
    assert '"goodbye"' in (array.campaign / "seen").read_text()


def test_only_the_last_worker_ticks(array, start):
    array.python("f", [1, 2], HELD, chunk=1)
    workers = [start(), start()]
    array.wait(lambda: (array.campaign / "begun1").exists() and (array.campaign / "begun2").exists())
    (array.campaign / "go1").touch()
    array.wait(lambda: any(worker.poll() is not None for worker in workers))
    assert ticks(array) == []
    (array.campaign / "go2").touch()
    assert [worker.wait(60) for worker in workers] == [0, 0]
    assert ticks(array) == ["ticked"]


@pytest.mark.parametrize(("age", "expected"), [(100, ["ticked"]), (70, [])])
def test_a_worker_without_a_goodbye_is_waited_for_while_it_may_beat(array, start, age, expected):
    array.python("f", [0], HELD)
    other = array.array / "work" / "out" / "0001.7-silent"
    other.write_text('{"kind":"hello"')
    os.utime(other, (time.time() - age, time.time() - age))
    assert start("--beat", "30").wait(60) == 0
    assert ticks(array) == expected


def test_a_worker_that_was_told_to_stop_does_not_tick(array, start):
    array.python("f", [1], HELD)
    worker = start()
    array.wait((array.campaign / "begun1").exists)
    os.kill(worker.pid, signal.SIGTERM)
    worker.wait(60)
    assert array.goodbye()["reason"] == "signal"
    assert ticks(array) == []


def test_a_tick_that_fails_is_no_failure_of_the_worker(array, start):
    array.python("f", [0], HELD)
    assert start(tick="no-such-program").wait(60) == 0


def ended(path):
    """Whether the process whose pid is in a file has ended."""
    try:
        os.kill(int(path.read_text()), 0)
    except ProcessLookupError:
        return True
    return False


def test_a_tick_that_hangs_ends_with_the_time_of_its_job(array, start):
    array.python("f", [0], HELD)
    assert start("--walltime", "4", tick=HANG).wait(60) == 0
    assert ended(array.campaign / "pid")


def test_a_job_that_is_told_to_stop_ends_its_tick(array, start):
    array.python("f", [0], HELD)
    worker = start(tick=HANG)
    array.wait((array.campaign / "pid").exists)
    os.kill(worker.pid, signal.SIGTERM)
    assert worker.wait(60) == 0
    assert ended(array.campaign / "pid")
