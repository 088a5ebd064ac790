"""Workers and slots that are killed: only what was in flight is charged, and nobody else is harmed."""

from __future__ import annotations

import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

from campaign_harness import Campaign, MakeCampaign, wait_for

FLOW = """
import os, signal, time
import hpcflow as hf

def note(path, line):
    with open(path, "a") as stream:
        stream.write(line + "\\n")

def wait(x, log):
    note(log, f"{x} {os.environ['HPCFLOW_ATTEMPT']}")
    while os.environ["HPCFLOW_ATTEMPT"] == "1" and x == 1:
        time.sleep(0.02)
    return x

def kills_its_worker(x, log):
    note(log, f"{x} {os.environ['HPCFLOW_ATTEMPT']}")
    if x == 3:
        time.sleep(0.2)  # what came before is written down
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(30)
    return x

def kills_its_slot(x, log):
    note(log, f"{x} {os.environ['HPCFLOW_ATTEMPT']}")
    if x == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return x

def flow(run: hf.Run, what: str, log: str):
    run.map(globals()[what], range(8), log=log)
"""


def start(make_campaign: MakeCampaign, what: str) -> tuple[Campaign, Path]:
    campaign = make_campaign(FLOW)
    log = campaign.home / "log"
    log.touch()
    campaign.write("hpcflow.yaml", f"workflow: flow.py:flow\nparameters: {{what: {what}, log: {log}}}\n"
                   "classes:\n  default:\n    workers: 1\n")  # fmt: skip
    campaign.good("submit")
    return campaign, log


def closed(campaign: Campaign) -> list[dict[str, Any]]:
    return [line for line in campaign.journal() if line["kind"] == "close"]


def test_a_killed_worker_costs_the_task_in_flight_one_charge_and_the_others_nothing(
    make_campaign: MakeCampaign,
) -> None:
    campaign, log = start(make_campaign, "wait")
    wait_for(lambda: "1 1" in log.read_text())
    (worker,) = campaign.workers()
    os.kill(worker, signal.SIGKILL)
    status = campaign.finish()
    assert status["tasks"]["succeeded"] == 8
    assert [line["charged"] for line in closed(campaign)] == [{"1": "lost"}]
    cuts = [line for line in campaign.journal() if line["kind"] == "cut"]
    assert len(cuts) == 2
    # The suspect comes last and alone, so that the next death convicts the right one.
    assert cuts[1]["tasks"][-1] == [1, 2]
    assert cuts[1]["bounds"][-1] - cuts[1]["bounds"][-2] == 1
    assert Counter(log.read_text().split("\n")[:-1])["0 1"] == 1


def test_slots_end_with_their_worker(make_campaign: MakeCampaign) -> None:
    campaign, log = start(make_campaign, "wait")
    wait_for(lambda: "1 1" in log.read_text())
    assert campaign.slots()
    (worker,) = campaign.workers()
    os.kill(worker, signal.SIGKILL)
    wait_for(lambda: not campaign.slots())


def test_a_task_that_kills_its_worker_twice_has_failed_as_lost_and_harms_no_other(make_campaign: MakeCampaign) -> None:
    campaign, log = start(make_campaign, "kills_its_worker")
    status = campaign.finish()
    assert status["tasks"] == {"total": 8, "succeeded": 7, "failed": 1, "unfinished": 0}
    assert campaign.results("kills_its_worker") == [0, 1, 2, 4, 5, 6, 7]
    runs = Counter(line.split()[0] for line in log.read_text().splitlines())
    assert runs["3"] == 2
    assert sum(runs.values()) - runs["3"] <= 7 + 2  # what finished in the last moments may have lost its record
    text = campaign.good("explain", "kills_its_worker/3")
    assert "lost" in text
    assert "input begins" in text


def test_a_task_that_kills_its_slot_has_failed_and_the_worker_goes_on(make_campaign: MakeCampaign) -> None:
    campaign, log = start(make_campaign, "kills_its_slot")
    status = campaign.finish()
    assert status["tasks"] == {"total": 8, "succeeded": 7, "failed": 1, "unfinished": 0}
    assert not closed(campaign)
    assert "SIGKILL" in campaign.good("explain", "kills_its_slot/3")
    runs = Counter(line.split()[0] for line in log.read_text().splitlines())
    assert runs["3"] == 2
    assert {runs[str(n)] for n in (0, 1, 2, 4, 5, 6, 7)} == {1}


def test_state_can_be_deleted_at_any_time(make_campaign: MakeCampaign) -> None:
    campaign, log = start(make_campaign, "kills_its_worker")

    def without_state() -> bool:
        done = campaign.poll().returncode == 0
        with campaign.frozen():
            before = campaign.status()
            for path in campaign.database.glob("state.*"):
                path.unlink()
            after = campaign.status()
        for status in (before, after):
            for array in status["arrays"]:
                for job in array["jobs"]:
                    job.pop("state")  # what the last listing said of it is not kept anywhere else
        assert after == before
        return done

    wait_for(without_state)
    assert campaign.results("kills_its_worker") == [0, 1, 2, 4, 5, 6, 7]
    assert Counter(line.split()[0] for line in log.read_text().splitlines())["3"] == 2
