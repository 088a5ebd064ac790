"""Campaigns that were moved or copied, disks that are full, directories that cannot be written."""

from __future__ import annotations

import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from campaign_harness import Campaign, MakeCampaign, wait_for

FLOW = """
import os, time
import hpcflow as hf

def work(x, gate, log):
    with open(log, "a") as stream:
        stream.write(f"{x}\\n")
    while x == 2 and not os.path.exists(gate):
        time.sleep(0.02)
    return x

def flow(run: hf.Run, gate: str, log: str):
    run.map(work, range(4), gate=gate, log=log)
"""


def begin(make_campaign: MakeCampaign) -> Campaign:
    campaign = make_campaign(FLOW)
    (campaign.home / "log").touch()
    campaign.write("hpcflow.yaml", f"workflow: flow.py:flow\nparameters: {{gate: {campaign.home / 'gate'}, "
                   f"log: {campaign.home / 'log'}}}\nclasses: {{default: {{workers: 1}}}}\n")  # fmt: skip
    campaign.good("submit")
    wait_for(lambda: "2\n" in (campaign.home / "log").read_text())
    campaign.poll()
    return campaign


def test_a_moved_campaign_asks_and_goes_on(make_campaign: MakeCampaign) -> None:
    campaign = begin(make_campaign)
    (campaign.home / "gate").touch()
    wait_for(lambda: not campaign.workers())
    moved = campaign.directory.with_name("moved")
    campaign.directory.rename(moved)
    campaign = campaign.at(moved)
    for verb in ("poll", "resume", "submit", "run", "cancel"):
        message = campaign.refused(verb)
        assert "--moved" in message
        assert "--copied" in message
    assert campaign.hpcflow("status").returncode == 0
    campaign.good("resume", "--moved")
    campaign.finish()
    assert campaign.results() == [0, 1, 2, 3]
    assert sorted((campaign.home / "log").read_text().split()) == list("0123")


def test_a_campaign_moved_while_its_worker_runs_loses_nothing(make_campaign: MakeCampaign) -> None:
    campaign = begin(make_campaign)
    moved = campaign.directory.with_name("moved")
    campaign.directory.rename(moved)
    campaign = campaign.at(moved)
    campaign.good("resume", "--moved")
    (campaign.home / "gate").touch()
    campaign.finish()
    assert campaign.results() == [0, 1, 2, 3]


def test_a_copy_keeps_results_and_owns_no_jobs(make_campaign: MakeCampaign) -> None:
    original = begin(make_campaign)
    copy = original.at(original.directory.with_name("copy"))
    shutil.copytree(original.directory, copy.directory, dirs_exist_ok=True, symlinks=True)
    assert "was not moved" in copy.refused("resume", "--moved")
    copy.good("resume", "--copied")
    copy.good("cancel")
    assert original.workers(), "the copy ended a job of the original"
    recorded = copy.status()["tasks"]["succeeded"]
    (original.home / "gate").touch()
    copy.good("resume")
    copy.finish()
    original.finish()
    assert copy.results() == original.results() == [0, 1, 2, 3]
    identities = {(c.database / "campaign.json").read_text().split('"')[3] for c in (original, copy)}
    assert len(identities) == 2
    runs = (original.home / "log").read_text().split()
    assert len(runs) <= 4 + (4 - recorded), "the copy computes only what had not been recorded"


def test_a_copy_whose_first_command_is_killed_still_owns_nothing(make_campaign: MakeCampaign) -> None:
    original = begin(make_campaign)
    copy = original.at(original.directory.with_name("copy"))
    shutil.copytree(original.directory, copy.directory, dirs_exist_ok=True, symlinks=True)
    operations = 12
    for point in range(1, operations):
        copy.hpcflow("resume", "--copied", kill_at=point)
        if "--copied" not in copy.hpcflow("poll").stderr:
            break
    done = copy.hpcflow("resume", "--copied")
    assert done.returncode in (0, 2)
    copy.good("cancel")
    assert original.workers(), "the copy ended a job of the original"


@pytest.fixture
def small_disk() -> Iterator[Path]:
    """A file system of four megabytes."""
    directory = Path(tempfile.mkdtemp(prefix="hpcflow-small-"))
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(directory)], capture_output=True, check=False
    )
    if mounted.returncode:
        directory.rmdir()
        pytest.skip("mounting a small file system needs privileges")
    yield directory
    subprocess.run(["umount", "-l", str(directory)], check=True)
    directory.rmdir()


def fill(directory: Path, left: int) -> Path:
    """Leave so many bytes free."""
    ballast = directory / "ballast"
    free = os.statvfs(directory).f_bavail * os.statvfs(directory).f_frsize
    ballast.write_bytes(b"\0" * (free - left))
    return ballast


@pytest.mark.parametrize("left", [0, 4096, 16384, 65536, 262144])
def test_a_submission_onto_a_full_disk_says_so_and_works_when_there_is_room(
    small_disk: Path, tmp_path: Path, left: int
) -> None:
    campaign = Campaign(small_disk / "campaign", tmp_path / "home")
    campaign.write("flow.py", "def f(x): return x\ndef flow(run): run.map(f, range(3))\n")
    campaign.write("hpcflow.yaml", "workflow: flow.py:flow\n")
    ballast = fill(small_disk, left)
    message = campaign.refused("submit")
    assert "No space left on device" in message
    assert "flow.py" not in message  # there is nothing wrong with it
    assert not list(campaign.directory.rglob("*.tmp"))
    ballast.unlink()
    campaign.good("submit")
    campaign.finish()
    assert campaign.results() == [0, 1, 2]
    campaign.end_processes()


def test_a_disk_that_fills_up_while_tasks_run_loses_no_result_that_was_recorded(
    small_disk: Path, tmp_path: Path
) -> None:
    campaign = Campaign(small_disk / "campaign", tmp_path / "home")
    campaign.write("flow.py", FLOW)
    (campaign.home / "log").touch()
    campaign.write("hpcflow.yaml", f"workflow: flow.py:flow\nparameters: {{gate: {campaign.home / 'gate'}, "
                   f"log: {campaign.home / 'log'}}}\nclasses: {{default: {{workers: 1}}}}\n")  # fmt: skip
    try:
        campaign.good("submit")
        wait_for(lambda: "2\n" in (campaign.home / "log").read_text())
        ballast = fill(small_disk, 0)
        for _ in range(3):
            done = campaign.hpcflow("poll")
            assert "Traceback" not in done.stderr
        ballast.unlink()
        (campaign.home / "gate").touch()
        campaign.hpcflow("resume")
        campaign.finish()
        assert campaign.results() == [0, 1, 2, 3]
    finally:
        campaign.end_processes()


@pytest.mark.parametrize("limit", [0, 200, 2000, 20_000, 200_000])
def test_a_quota_met_at_any_moment_is_one_message(make_campaign: MakeCampaign, limit: int) -> None:
    """No file may grow beyond a limit: journal, inputs, code, scripts and checkpoint meet it one after the other."""
    campaign = make_campaign("def f(x): return x\ndef flow(run): run.map(f, range(2000))\n")

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))

    done = campaign.fork("submit", before=limited).wait()
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    campaign.good("submit")
    campaign.finish()
    assert campaign.results() == list(range(2000))


@contextmanager
def read_only(directory: Path) -> Iterator[None]:
    """Nobody may write there inside the block, whoever runs the tests."""
    if os.geteuid() != 0:
        modes = {path: path.stat().st_mode for path in [directory, *directory.rglob("*")]}
        for path in modes:
            path.chmod(modes[path] & 0o555)
        try:
            yield
        finally:
            for path, mode in modes.items():
                path.chmod(mode)
        return
    if subprocess.run(["mount", "--bind", directory, directory], capture_output=True, check=False).returncode:
        pytest.skip("root can write everywhere, and may not mount here")
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", directory], check=True)
        yield
    finally:
        subprocess.run(["umount", "-l", directory], check=True)


def test_a_campaign_that_cannot_be_written_can_be_looked_at(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign("def f(x): return x\ndef flow(run): run.map(f, range(3))\n")
    campaign.good("submit")
    campaign.finish()
    campaign.poll()
    before = campaign.snapshot()
    with read_only(campaign.directory):
        for arguments in (("status",), ("status", "--json"), ("explain",), ("results",), ("submit", "--dry-run")):
            done = campaign.hpcflow(*arguments)
            assert done.returncode == 0, (arguments, done.stderr)
        for verb in ("poll", "resume", "submit", "cancel", "pause", "run"):
            assert "not writable" in campaign.refused(verb)
    assert campaign.snapshot() == before


def test_a_directory_that_cannot_be_written_gets_no_database(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign("def f(x): return x\ndef flow(run): run.map(f, range(3))\n")
    with read_only(campaign.directory):
        message = campaign.refused("submit")
        assert str(campaign.database) in message
        assert "must be writable" in message
    assert not campaign.database.exists()
