"""Ends of workers, each as it really happens: the next tick names the cause and does what belongs to it."""

from __future__ import annotations

import os
import signal
from collections import Counter

import pytest
from campaign_harness import wait_for
from private_slurm import Cluster
from slurm_campaigns import SlurmCampaign

pytestmark = pytest.mark.slurm

STEPS = """
import os, time
from pathlib import Path
import hpcflow as hf

@hf.task(version=1, checkpoint=True)
def walk(x, steps):
    done = Path("done")
    for step in range(int(done.read_text()) if done.exists() else 0, steps):
        time.sleep(0.25)
        with open(os.environ["HPCFLOW_CAMPAIGN"] + "/steps", "a") as log:
            log.write(f"{x} {step}\\n")
        done.write_text(str(step + 1))
    return steps

def flow(run: hf.Run, count: int, steps: int):
    run.map(walk, range(count), task_class="work", steps=steps).results()
"""
HUNGRY = """
import hpcflow as hf

def eat(x):
    if x == 3:
        food = bytearray(130 << 20)
        for place in range(0, len(food), 4096):
            food[place] = 1
    return x

def flow(run: hf.Run):
    run.map(eat, range(6), task_class="work").results()
"""


# The worker must not learn that Slurm's shortest time limit is a minute.
SHORT = ", walltime: 8s, margin: 5s, environment: {lines: ['unset HPCFLOW_END_TIME']}"


def charges(campaign: SlurmCampaign) -> list[str]:
    """Reasons that tasks were charged with when their workers died."""
    return [c for e in campaign.journal() if e["kind"] == "close" for c in e["charged"].values()]


def node_of(cluster: Cluster, element: str) -> str:
    return cluster.run("squeue", "-h", f"-j{element}", "-o%N").strip()


def four(campaign: SlurmCampaign, seconds: float = 2.0, count: int = 4, **site: str) -> SlurmCampaign:
    """As many tasks as workers, all of them at work."""
    campaign.prepare(parameters=f"count: {count}, seconds: {seconds}", **site)
    campaign.good("submit")
    wait_for(lambda: len(campaign.running()) == min(4, count))
    return campaign


@pytest.mark.slow  # two jobs, each of which has some seconds of its walltime to work
def test_at_the_walltime_tasks_stop_at_a_checkpoint_and_go_on_in_the_next_job(slurm_campaign: SlurmCampaign) -> None:
    campaign = slurm_campaign.prepare(STEPS, parameters="count: 2, steps: 20", limits="submit: 2", work=SHORT)
    campaign.good("submit")
    said = campaign.poll_until(lambda: len(campaign.intents()) == 2)
    assert "workers of walk that ended early: 2 walltime" in campaign.good("status")
    said += campaign.finish_saying()
    assert campaign.results() == [20, 20], said
    assert len(campaign.intents()) >= 2
    steps = Counter((campaign.directory / "steps").read_text().splitlines())
    assert set(steps.values()) == {1}  # no step was done twice
    assert charges(campaign) == []
    assert campaign.status()["tasks"]["failed"] == 0


@pytest.mark.slow  # Slurm looks at time limits every 30 s
def test_a_job_that_slurm_ends_at_its_time_limit(slurm_campaign: SlurmCampaign, cluster: Cluster) -> None:
    campaign = four(slurm_campaign, seconds=40.0, count=1)
    (job,) = campaign.submitted().values()
    cluster.run("scontrol", "update", f"jobid={job}", "TimeLimit=0")
    said = campaign.poll_until(lambda: len(campaign.intents()) == 2, 90)
    assert "a worker ended: walltime (TIMEOUT" in said
    assert charges(campaign) == []


def test_a_task_that_needs_more_memory_gets_it(slurm_campaign: SlurmCampaign, cluster: Cluster) -> None:
    if "task/cgroup" not in cluster.run("scontrol", "show", "config"):
        pytest.skip("the kernel does not limit memory here")
    campaign = slurm_campaign.prepare(HUNGRY)
    campaign.good("submit")
    said = campaign.poll_until(lambda: campaign.status()["arrays"][0]["failures"])
    assert "attempts of eat that failed: 1 oom" in campaign.good("status")
    said += campaign.finish_saying()
    assert "eat: 1 task had too little memory and will get more" in said
    assert campaign.results() == [0, 1, 2, 3, 4, 5]
    memory = [line for line in (campaign.array("eat") / "jobs.txt").read_text().splitlines() if "BATCH --mem" in line]
    assert len(memory) > 1
    assert memory == ["#SBATCH --mem=100M", "#SBATCH --mem=150M", "#SBATCH --mem=225M"][: len(memory)]


def test_a_node_that_dies_with_its_tasks(slurm_campaign: SlurmCampaign, cluster: Cluster) -> None:
    campaign = four(slurm_campaign)
    element = campaign.lives()[0].element
    node = node_of(cluster, element)
    victims = [line.split()[0] for line in cluster.run("squeue", "-hr", "-w", node, "-o%i").splitlines()]
    cluster.run("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
    said = campaign.finish_saying()
    assert "ended: node (NODE_FAIL" in said
    _, after = [part for part in (campaign.array("work") / "jobs.txt").read_text().split("#### ") if part]
    assert "#SBATCH --exclude=" + node in after.splitlines()
    assert charges(campaign) == []
    again = [task for task, times in campaign.ran().items() if times == 2]
    assert len(again) == len(victims)
    assert max(campaign.ran().values()) == 2
    assert campaign.results() == [0, 1, 4, 9]


def test_a_node_that_died_is_taken_again_where_there_is_no_other(
    slurm_campaign: SlurmCampaign, cluster: Cluster
) -> None:
    campaign = four(slurm_campaign, seconds=1.0, count=2, work=", queue: low")
    cluster.run("scontrol", "update", "nodename=n1", "state=down", "reason=test")
    said = campaign.finish_saying()
    assert said.count("node n1 failed") == 1
    assert said.count("the next tick tries again with the nodes that had failed") == 1
    assert campaign.results() == [0, 1]


def test_tasks_of_a_killed_node_daemon_run_on_and_count(slurm_campaign: SlurmCampaign, cluster: Cluster) -> None:
    campaign = four(slurm_campaign, seconds=6.0)
    node = node_of(cluster, campaign.lives()[0].element)
    cluster.signal("KILL", node)
    cluster.run("scontrol", "update", f"nodename={node}", "state=down", "reason=test")
    campaign.finish_saying()
    assert set(campaign.ran().values()) == {1}
    assert campaign.results() == [0, 1, 4, 9]


def test_a_cancelled_element_holds_the_array_until_somebody_says_go_on(
    slurm_campaign: SlurmCampaign, cluster: Cluster
) -> None:
    campaign = four(slurm_campaign)
    life = campaign.lives()[0]
    cluster.run("scancel", life.element)
    said = campaign.run_to_end()
    assert said.returncode == 4
    assert "cancelled (CANCELLED" in said.stdout
    status = campaign.hpcflow("status").stdout
    assert "was cancelled, and not by hpcflow" in status
    assert "workers of work that ended early: 1 cancelled" in status
    wait_for(lambda: not campaign.queue())
    assert campaign.poll().returncode == 4
    assert len(campaign.intents()) == 1
    campaign.good("resume")
    campaign.finish_saying()
    assert campaign.ran() == {x: 2 if x == life.task else 1 for x in range(4)}
    assert charges(campaign) == []


def test_a_cancelled_array_holds_too(slurm_campaign: SlurmCampaign, cluster: Cluster) -> None:
    # Of eight elements four run and four wait.
    campaign = four(slurm_campaign, seconds=20, count=8, limits="submit: 8", work=", cores: 4")
    (job,) = campaign.submitted().values()
    cluster.run("scancel", job)
    assert campaign.run_to_end().returncode == 4
    assert len(campaign.intents()) == 1
    assert campaign.status()["arrays"][0]["hold"]


def test_elements_cancelled_while_they_wait_are_not_simply_replaced(
    slurm_campaign: SlurmCampaign, cluster: Cluster
) -> None:
    campaign = four(slurm_campaign, seconds=1.0, count=24, limits="submit: 8", work=", cores: 4")
    (job,) = campaign.submitted().values()
    waiting = cluster.run("squeue", "-hr", "-tPD", f"-j{job}", "-o%i").split()
    assert len(waiting) == 4
    cluster.run("scancel", "--state=PENDING", job)
    said = campaign.run_to_end()
    assert said.returncode == 4
    assert len(campaign.intents()) == 1
    campaign.good("resume")
    campaign.finish_saying()
    assert set(campaign.ran().values()) == {1}


def test_our_own_cancel_is_no_surprise_afterwards(slurm_campaign: SlurmCampaign) -> None:
    campaign = four(slurm_campaign, seconds=2)
    campaign.good("cancel")
    campaign.good("resume")
    campaign.finish_saying()
    assert campaign.results() == [0, 1, 4, 9]
    assert charges(campaign) == []


@pytest.mark.slow  # the second lives start when the credentials of the first have expired
def test_elements_that_are_put_back_into_the_queue_say_why_they_ended_before(
    slurm_campaign: SlurmCampaign, cluster: Cluster
) -> None:
    if not cluster.accounting:
        pytest.skip("only accounting knows the earlier lives of an element")
    # Each has a node of its own: of three of them, one is requeued, one preempted, and one loses its node.
    campaign = four(slurm_campaign, seconds=3.0, work=", cores: 4, options: {requeue: ''}")
    (job,) = campaign.submitted().values()
    nodes = {index: node_of(cluster, f"{job}_{index}") for index in range(3)}
    lost = next(hello for hello in campaign.hellos() if hello["element"] == 2)
    cluster.run("sbatch", "-phigh", f"-w{nodes[1]}", "-c4", "--mem=10", "-o/dev/null", "--wrap=sleep 1")
    cluster.signal("KILL", nodes[2])  # the daemon would end its worker in good order
    cluster.run("scontrol", "update", f"nodename={nodes[2]}", "state=down", "reason=test")
    os.kill(lost["pid"], signal.SIGKILL)
    cluster.run("scontrol", "requeue", f"{job}_0")
    said = campaign.finish_saying()
    causes = {e["worker"].split("-")[0][-1]: e["cause"] for e in campaign.journal() if e["kind"] == "close"}
    assert causes == {"0": "preempted", "1": "preempted", "2": "node"}, said
    assert f"ended: node (NODE_FAIL, on {nodes[2]})" in said
    assert f"node {nodes[2]} failed" in said
    assert charges(campaign) == []
    assert campaign.results() == [0, 1, 4, 9]
    assert sorted(campaign.ran().values()) == [1, 2, 2, 2]


def test_preempted_workers_are_named_and_replaced(slurm_campaign: SlurmCampaign, cluster: Cluster) -> None:
    campaign = four(slurm_campaign, seconds=3.0, work=", queue: low")
    high = cluster.run(
        "sbatch", "--parsable", "-phigh", "-wn1", "-c4", "--mem=10", "-o/dev/null", "--wrap=sleep 2"
    ).strip()
    said = campaign.finish_saying()
    assert "ended: preempted (PREEMPTED" in said
    assert campaign.results() == [0, 1, 4, 9]
    assert charges(campaign) == []
    cluster.until(lambda: high not in cluster.run("squeue", "-ho%i"))


def test_a_held_job_is_said_to_be_held_and_why(slurm_campaign: SlurmCampaign, cluster: Cluster) -> None:
    campaign = slurm_campaign.prepare(parameters="count: 2")
    cluster.run("scontrol", "update", "partition=debug", "state=down")
    try:
        campaign.good("submit")
        (job,) = campaign.submitted().values()
        cluster.run("scontrol", "hold", job)
    finally:
        cluster.run("scontrol", "update", "partition=debug", "state=up")
    said = campaign.poll().stdout + campaign.poll().stdout
    assert said.count("held") == 1
    assert "JobHeld" in said
    held = next(line for line in campaign.good("status").splitlines() if f"job {job} for work: held: JobHeld" in line)
    assert "has to release it" in held or f"let it go with: scontrol release {job}" in held
    cluster.run("scontrol", "release", job)
    campaign.finish_saying()
    assert set(campaign.ran().values()) == {1}


def test_a_line_of_the_environment_that_fails_stops_the_array_with_the_line(slurm_campaign: SlurmCampaign) -> None:
    campaign = slurm_campaign.prepare(
        parameters="count: 2", work=", environment: {lines: ['echo preparing', 'test -e /no/such/image.sif']}"
    )
    campaign.good("submit")
    said = campaign.poll_until(lambda: campaign.status()["arrays"][0]["never_started"])
    (job, *_) = campaign.submitted().values()
    for text in (said, campaign.good("status")):
        assert f"job {job}" in text
        assert "2 elements" in text
        assert "ended before any worker could start" in text
        assert "FAILED" in text
        assert "this line of the job failed with status 1: test -e /no/such/image.sif" in text
    done = campaign.run_to_end()
    assert done.returncode == 4
    assert "this line of the job failed with status 1: test -e /no/such/image.sif" in done.stdout
    assert len(campaign.intents()) == 3
    campaign.site()
    campaign.good("resume")
    campaign.finish_saying()
    assert campaign.results() == [0, 1]


def test_elements_that_fail_on_one_node_are_told_although_others_do_all_the_work(slurm_campaign: SlurmCampaign) -> None:
    # Each has a node of its own, and one of them lacks something.
    campaign = slurm_campaign.prepare(
        parameters="count: 8, seconds: 1", work=", cores: 4, environment: {lines: ['test $SLURMD_NODENAME != n2']}"
    )
    campaign.good("submit")
    said = campaign.poll_until(lambda: campaign.status()["arrays"][0]["never_started"])
    (job, *_) = campaign.submitted().values()
    campaign.site(work=", cores: 4")
    campaign.good("resume")
    campaign.finish_saying()
    assert f"work: an element of job {job} ended before any worker could start: FAILED" in said
    assert "on n2\n  hpcflow: this line of the job failed with status 1: test $SLURMD_NODENAME != n2" in said
    assert set(campaign.ran().values()) == {1}
