"""A campaign that drives itself: nobody types a command after ``submit --chain``."""

from __future__ import annotations

import pytest
from campaign_harness import wait_for
from private_slurm import Cluster
from slurm_campaigns import QueueWatch, SlurmCampaign

pytestmark = pytest.mark.slurm

STAGES = """
import flow as tasks
import hpcflow as hf

def total(values):
    return sum(values)

def stages(run: hf.Run, seconds: float):
    seed = 0
    for i in run.iterations(2):
        squares = run.map(tasks.work, range(10 * i, 10 * i + 4), task_class="work", seconds=seconds)
        seed = run.call(total, [seed, *squares.results()]).result()
"""
YAML = "workflow: stages.py:stages\nsite: cluster\nparameters: {seconds: 0.2}\n"
INTERVAL = "2"
LATE = "36000"
"""Links that would not begin today: all that happens is the work of the last workers."""


@pytest.fixture
def campaign(slurm_campaign: SlurmCampaign) -> SlurmCampaign:
    slurm_campaign.prepare(limits="submit: 6")
    slurm_campaign.write("stages.py", STAGES)
    slurm_campaign.write("hpcflow.yaml", YAML)
    return slurm_campaign


def links(campaign: SlurmCampaign) -> list[str]:
    """Names of all links that there were."""
    return [token for token in campaign.intents() if token.startswith("hf000")]


def on_submission(campaign: SlurmCampaign, number: int, do: str) -> None:
    """Let a stand-in of sbatch do something else with one of the submissions."""
    campaign.stand_in(
        "sbatch",
        'echo x >>"$HERE/calls"',
        f'if [ $(wc -l <"$HERE/calls") = {number} ]; then {do}; fi',
        'exec "$REAL" "$@"',
    )


def wait_until_done(campaign: SlurmCampaign, limit: float = 120.0) -> None:
    wait_for(lambda: campaign.status()["state"] == "done", limit, f"still not done: {campaign.status()}")


def all_done_once(campaign: SlurmCampaign) -> None:
    assert set(campaign.ran().values()) == {1}
    assert len(campaign.ran()) == 8
    assert campaign.results("total") == [14 + 100 + 121 + 144 + 169]
    wait_for(lambda: not campaign.queue(), 30, "something is left in the queue")
    campaign.check_accounts()


@pytest.mark.slow  # several links, each of which waits for its time
def test_two_iterations_with_nobody(campaign: SlurmCampaign) -> None:
    with QueueWatch(campaign) as watch:
        campaign.good("submit", "--chain", INTERVAL)
        wait_until_done(campaign)
    all_done_once(campaign)
    assert watch.most_links_waiting == 1
    assert watch.most <= 6


@pytest.mark.slow  # a link that waits for its time, and tries again
def test_a_chain_survives_a_time_in_which_nothing_is_taken(campaign: SlurmCampaign) -> None:
    refusal = "sbatch: error: Batch job submission failed: Required partition not available (inactive or drain)"
    campaign.stand_in("sbatch", f'if [ -e "$HERE/closed" ]; then echo "{refusal}" >&2; exit 1; fi', 'exec "$REAL" "$@"')
    campaign.good("submit", "--chain", INTERVAL)
    (campaign.home / "closed").touch()
    wait_for(lambda: "no link of the chain waits" in campaign.good("status"), 60)
    (campaign.home / "closed").unlink()
    wait_until_done(campaign)
    all_done_once(campaign)


def test_a_chain_for_which_there_is_no_room_is_refused(campaign: SlurmCampaign) -> None:
    campaign.site(limits="submit: 2")
    assert "needs 3: a link at work" in campaign.refused("submit", "--chain", INTERVAL)


TOGETHER = """
import time
import flow as tasks
import hpcflow as hf
from pathlib import Path

def together(x, seconds):
    tasks.note("begin", x)
    log = Path(tasks.os.environ["HPCFLOW_CAMPAIGN"], "log")
    while not all(f"begin {x // 10 * 10 + i} " in log.read_text() for i in range(4)):
        time.sleep(0.01)
    tasks.note("end", x)
    return x * x
"""


@pytest.mark.slow  # two stages and their submissions
def test_workers_that_leave_together_bring_the_next_stage(campaign: SlurmCampaign) -> None:
    campaign.write(
        "stages.py", TOGETHER + STAGES.partition("import hpcflow as hf")[2].replace("tasks.work", "together")
    )
    campaign.site(limits="submit: 8")  # the second stage needs four, while up to four of the first are still there
    with QueueWatch(campaign) as watch:
        campaign.good("submit", "--chain", LATE)
        wait_until_done(campaign)
    all_done_once(campaign)  # and the only link, which would have begun tomorrow, is gone
    assert len(links(campaign)) == 1
    assert watch.most <= 8


@pytest.mark.slow  # three jobs, each of which has some seconds of its walltime to work
def test_the_last_worker_before_the_walltime_brings_the_next_job(campaign: SlurmCampaign) -> None:
    campaign.write("hpcflow.yaml", YAML.replace("0.2", "1.5"))
    short = ", walltime: 8s, margin: 4s, environment: {lines: ['unset HPCFLOW_END_TIME']}"
    campaign.site(limits="submit: 4", work=short)
    campaign.good("submit", "--chain", LATE)
    wait_until_done(campaign)
    all_done_once(campaign)


@pytest.mark.parametrize(
    "kill",
    [
        pytest.param("$PPID", id="tick"),
        pytest.param("$PPID $(ps -o ppid= -p $PPID)", id="tick and worker"),
    ],
)
def test_a_worker_killed_while_it_ticks_loses_nothing(campaign: SlurmCampaign, kill: str) -> None:
    campaign.site(work=", workers: 1")
    # The third submission, after worker and first link, is that of the second stage.
    on_submission(campaign, 3, f"kill -KILL {kill}; exit")
    campaign.good("submit", "--chain", LATE)
    wait_for(lambda: len(campaign.intents()) == 3)
    wait_for(lambda: not campaign.queue("RUNNING", "COMPLETING"))
    assert campaign.status()["state"] != "done"
    campaign.finish_saying()
    all_done_once(campaign)


@pytest.mark.parametrize(("memory", "ticks"), [("50M", False), ("100M", True)])
def test_only_jobs_with_the_memory_of_a_link_tick(campaign: SlurmCampaign, memory: str, ticks: bool) -> None:
    campaign.site(work=f", memory: {memory}")
    campaign.good("submit", "--chain", LATE)
    (script,) = campaign.database.glob("arrays/*/jobs/*/job.sh")
    assert ("--tick" in script.read_text()) == ticks
    campaign.good("cancel")


def test_a_lost_link_is_mended_by_the_last_worker(campaign: SlurmCampaign, cluster: Cluster) -> None:
    campaign.write("hpcflow.yaml", YAML.replace("0.2", "2"))
    campaign.good("submit", "--chain", LATE)
    cluster.run("scancel", f"--name={links(campaign)[0]}")
    wait_until_done(campaign)
    all_done_once(campaign)
    assert len(links(campaign)) == 2


@pytest.mark.slow  # several links, each of which waits for its time
@pytest.mark.parametrize(
    "when",
    [
        pytest.param('"$REAL" "$@"; kill -KILL $PPID; exit', id="after its successor was taken"),
        pytest.param('"$REAL" "$@" >/dev/null; echo timed out >&2; exit 1', id="told that it timed out"),
    ],
)
def test_a_link_killed_at_its_work_has_a_successor(campaign: SlurmCampaign, when: str) -> None:
    # The third submission, after workers and first link, is that of the second link: the workers are still busy.
    campaign.write("hpcflow.yaml", YAML.replace("0.2", "4"))
    on_submission(campaign, 3, when)
    with QueueWatch(campaign) as watch:
        campaign.good("submit", "--chain", INTERVAL)
        wait_until_done(campaign)
    all_done_once(campaign)
    assert watch.most_links_waiting == 1


def test_a_link_killed_before_anything_is_mended_by_the_next_tick(campaign: SlurmCampaign, cluster: Cluster) -> None:
    campaign.good("submit", "--chain", "600")
    (link,) = links(campaign)
    cluster.run("scancel", f"--name={link}")
    campaign.poll()
    waiting = links(campaign)
    assert len(waiting) == 2
    assert cluster.run("squeue", "-h", "-o%j", f"--name={','.join(waiting)}").split() == waiting[1:]
    campaign.finish_saying()
    all_done_once(campaign)  # and the link that waited is gone


@pytest.mark.slow  # its successor is expected for some time
def test_a_link_killed_before_its_successor_is_mended_by_the_last_worker(campaign: SlurmCampaign) -> None:
    campaign.write("hpcflow.yaml", YAML.replace("0.2", "4"))
    on_submission(campaign, 3, "kill -KILL $PPID; sleep 9")
    campaign.good("submit", "--chain", INTERVAL)
    wait_for(lambda: len(links(campaign)) == 2)
    assert campaign.running()
    wait_until_done(campaign)
    all_done_once(campaign)


def test_a_campaign_that_waits_for_a_person_is_not_looked_at_for_ever(
    campaign: SlurmCampaign, cluster: Cluster
) -> None:
    campaign.site(work=", environment: {lines: ['false']}")
    campaign.good("submit", "--chain", "600")
    assert campaign.run_to_end().returncode == 4
    wait_for(lambda: campaign.poll() and not campaign.queue(), 30)  # a job of the last moment may still be there
    campaign.site()
    campaign.good("resume")
    assert any(name.startswith("hf000") for name in cluster.run("squeue", "-ho%j").split())
    campaign.good("cancel")
    wait_for(lambda: not campaign.queue(), 30)


def test_where_jobs_may_not_submit_jobs_there_is_no_chain(campaign: SlurmCampaign) -> None:
    path = campaign.directory / "sites" / "cluster.yaml"
    path.write_text(path.read_text().replace("submit_from_nodes: true", "submit_from_nodes: false"))
    assert "hpcflow cron" in campaign.refused("submit", "--chain")
