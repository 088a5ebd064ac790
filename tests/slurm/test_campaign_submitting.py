"""Submitting is safe: whoever lies, dies or is killed in between, every task runs once."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator

import pytest
from campaign_harness import wait_for
from private_slurm import SCRIPT, Cluster
from slurm_campaigns import SETTLE, SlurmCampaign

pytestmark = pytest.mark.slurm

ONCE = 'if mkdir "$HERE/lied" 2>/dev/null; then'
TIMED_OUT = "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation"


@pytest.fixture
def bystander(cluster: Cluster) -> Iterator[None]:
    """A job of the same user that no campaign knows, with a name like one of ours: it must not be touched."""
    script = "sleep 600"
    job = cluster.run("sbatch", "--parsable", "-o/dev/null", "--mem=10", "-Jhf001bystander0", f"--wrap={script}")
    cluster.until(lambda: cluster.run("squeue", "-hj", job.strip(), "-o%T") == "RUNNING\n")
    yield
    assert cluster.run("squeue", "-hj", job.strip(), "-o%T") == "RUNNING\n"


def all_ran_once(campaign: SlurmCampaign, tasks: int = 6, said: str = "") -> None:
    """What holds after everything in this file."""
    assert campaign.results() == [x * x for x in range(tasks)]
    assert campaign.ran() == dict.fromkeys(range(tasks), 1), said
    assert campaign.status()["cost"]["repeated_tasks"] == 0
    assert campaign.queue() == []
    campaign.check_accounts()


def six(campaign: SlurmCampaign, seconds: float = 0.1, **site: str) -> SlurmCampaign:
    """Six tasks, and at most three workers where the bystander has the fourth place."""
    return campaign.prepare(parameters=f"count: 6, seconds: {seconds}", **{"limits": "submit: 4", **site})


# -- an sbatch that lies


def test_an_sbatch_that_takes_the_job_and_says_it_timed_out(slurm_campaign: SlurmCampaign, bystander: None) -> None:
    campaign = six(slurm_campaign)
    campaign.stand_in(
        "sbatch", ONCE, f'"$REAL" "$@" >/dev/null; echo "{TIMED_OUT}" >&2; exit 1', "fi", 'exec "$REAL" "$@"'
    )
    assert "did not say whether it took the job" in campaign.good("submit")
    assert "found in the queue" in campaign.finish_saying()
    assert len(campaign.intents()) == 1
    all_ran_once(campaign)


@pytest.mark.slow  # it is looked for twice, a settle time apart, before anything else is done
def test_an_sbatch_that_takes_nothing_and_says_it_timed_out(slurm_campaign: SlurmCampaign, bystander: None) -> None:
    campaign = six(slurm_campaign)
    campaign.stand_in("sbatch", ONCE, f'echo "{TIMED_OUT}" >&2; exit 1', "fi", 'exec "$REAL" "$@"')
    began = time.monotonic()
    campaign.good("submit")
    campaign.poll_until(lambda: campaign.submitted())
    assert time.monotonic() - began >= 2 * SETTLE  # it has been looked for first
    campaign.finish_saying()
    assert len(campaign.intents()) == 2
    all_ran_once(campaign)


def test_banners_and_a_cluster_name_around_the_id(slurm_campaign: SlurmCampaign, bystander: None) -> None:
    campaign = six(slurm_campaign)
    campaign.stand_in(
        "sbatch",
        'echo "Welcome to the 17 clusters of TEST"; echo "sbatch: error: your quota is at 80 %" >&2',
        '"$REAL" "$@" | sed "s/$/;test/"; echo "Have a nice day"',
    )
    campaign.good("submit")
    campaign.finish_saying()
    all_ran_once(campaign)


def test_a_banner_that_is_a_number_beside_the_id(slurm_campaign: SlurmCampaign, bystander: None) -> None:
    campaign = six(slurm_campaign)
    campaign.stand_in("sbatch", '"$REAL" "$@"; echo 5')
    assert "did not say whether it took the job" in campaign.good("submit")
    assert "found in the queue" in campaign.finish_saying()
    assert len(campaign.intents()) == 1
    all_ran_once(campaign)


def test_a_number_in_place_of_the_id_is_found_out_before_anything_is_cancelled(
    slurm_campaign: SlurmCampaign, bystander: None
) -> None:
    campaign = six(slurm_campaign, seconds=60)
    campaign.stand_in("sbatch", '"$REAL" "$@" >/dev/null && echo 5')
    campaign.good("submit")
    wait_for(campaign.running)
    (job,) = {element.partition("_")[0] for element in campaign.queue()}
    assert f"found in the queue as {job}, and not as 5" in campaign.good("cancel")
    wait_for(lambda: not campaign.queue())


def test_a_job_whose_acceptance_was_lost_is_known_by_its_workers(
    slurm_campaign: SlurmCampaign, bystander: None
) -> None:
    # Its records have left the queue before anybody looks.
    campaign = six(slurm_campaign)
    campaign.stand_in(
        "sbatch", ONCE, f'"$REAL" "$@" >/dev/null; echo "{TIMED_OUT}" >&2; exit 1', "fi", 'exec "$REAL" "$@"'
    )
    campaign.stand_in("squeue", '"$REAL" "$@" | grep -v "COMPLETED\\|COMPLETING"')
    campaign.good("submit")
    wait_for(lambda: len(campaign.lives()) == 6 and not campaign.running() and not campaign.queue())
    campaign.finish_saying()
    assert len(campaign.intents()) == 1
    all_ran_once(campaign)


@pytest.mark.slow  # it is looked for twice, a settle time apart, and then in accounting
def test_a_job_whose_acceptance_was_lost_and_that_failed_at_once_is_found_in_accounting(
    slurm_campaign: SlurmCampaign, cluster: Cluster, bystander: None
) -> None:
    # No worker of it says hello, and it has left the queue before anybody looks.
    if not cluster.accounting:
        pytest.skip("no accounting here: slurmdbd and mariadb are not installed")
    campaign = six(slurm_campaign, work=", workers: 3, environment: {lines: ['false']}")
    campaign.stand_in(
        "sbatch", ONCE, f'"$REAL" "$@" >/dev/null; echo "{TIMED_OUT}" >&2; exit 1', "fi", 'exec "$REAL" "$@"'
    )
    campaign.stand_in("squeue", '"$REAL" "$@" | grep -v "FAILED\\|COMPLET"')
    # And accounting does not answer when it is first asked.
    campaign.stand_in("sacct", 'if mkdir "$HERE/away" 2>/dev/null; then exit 1; fi', 'exec "$REAL" "$@"')
    campaign.good("submit")
    cluster.until(lambda: not campaign.queue())
    said = campaign.poll_until(campaign.submitted)
    assert said.count("accounting did not answer") == 1
    assert "found in accounting as" in said
    assert len(campaign.intents()) == 1
    campaign.site()
    campaign.finish_saying()
    # Two where elements of the first one still take their places when the next are submitted.
    assert 1 <= len(campaign.intents()) - 1 <= 2
    all_ran_once(campaign)


# -- an engine that is killed


def test_killed_before_the_intent_nothing_has_happened(slurm_campaign: SlurmCampaign, bystander: None) -> None:
    campaign = six(slurm_campaign)
    campaign.stand_in("squeue", ONCE, "kill -KILL $PPID; sleep 60", "fi", 'exec "$REAL" "$@"')
    assert campaign.hpcflow("submit").returncode == -signal.SIGKILL
    assert campaign.intents() == []
    campaign.finish_saying()
    assert len(campaign.intents()) == 1
    all_ran_once(campaign)


@pytest.mark.slow  # it is looked for twice, a settle time apart, before anything else is done
def test_killed_between_intent_and_sbatch_it_is_looked_for_and_then_submitted(
    slurm_campaign: SlurmCampaign, bystander: None
) -> None:
    campaign = six(slurm_campaign)
    # What the stand-in would still do is not done: it dies with the engine.
    campaign.stand_in("sbatch", ONCE, 'kill -KILL $PPID; sleep 1; exec "$REAL" "$@"', "fi", 'exec "$REAL" "$@"')
    assert campaign.hpcflow("submit").returncode == -signal.SIGKILL
    assert len(campaign.intents()) == 1
    campaign.finish_saying()
    assert len(campaign.intents()) == 2
    assert len(campaign.submitted()) == 1
    all_ran_once(campaign)


@pytest.mark.slow  # it is looked for twice, a settle time apart, before anything else is done
def test_killed_while_sbatch_tries_again_and_again_nothing_is_submitted_later(
    slurm_campaign: SlurmCampaign, bystander: None
) -> None:
    campaign = six(slurm_campaign)
    campaign.stand_in("sbatch", ONCE, 'touch "$HERE/waits"; sleep 3', "fi", 'exec "$REAL" "$@"')
    engine = campaign.start("submit")
    wait_for((campaign.home / "waits").exists)
    engine.kill()
    engine.wait()
    time.sleep(3.5)
    assert campaign.queue() == []
    campaign.finish_saying()
    all_ran_once(campaign)


def test_killed_after_sbatch_the_job_is_found_again(slurm_campaign: SlurmCampaign, bystander: None) -> None:
    campaign = six(slurm_campaign)
    campaign.stand_in("sbatch", ONCE, '"$REAL" "$@"; kill -KILL $PPID; exit', "fi", 'exec "$REAL" "$@"')
    assert campaign.hpcflow("submit").returncode == -signal.SIGKILL
    assert campaign.submitted() == {}
    assert "found in the queue" in campaign.finish_saying()
    assert len(campaign.intents()) == 1
    all_ran_once(campaign)


TWO = """
import flow as tasks
import hpcflow as hf

def flow(run: hf.Run):
    run.map(tasks.work, range(3), name="one", task_class="work")
    run.map(tasks.work, range(3, 6), name="two", task_class="work")
"""


def test_killed_at_the_second_of_two_submissions_the_first_counts(
    slurm_campaign: SlurmCampaign, bystander: None
) -> None:
    campaign = six(slurm_campaign, limits="submit: 7")  # six workers and the bystander
    campaign.write("two.py", TWO)
    campaign.write("hpcflow.yaml", "workflow: two.py:flow\nsite: cluster\n")
    campaign.stand_in(
        "sbatch",
        'echo x >>"$HERE/calls"',
        'if [ $(wc -l <"$HERE/calls") = 2 ]; then "$REAL" "$@"; kill -KILL $PPID; exit; fi',
        'exec "$REAL" "$@"',
    )
    assert campaign.hpcflow("submit").returncode == -signal.SIGKILL
    campaign.finish_saying()
    assert len(campaign.intents()) == 2
    assert campaign.ran() == dict.fromkeys(range(6), 1)
    campaign.check_accounts()


def test_workers_that_a_late_listing_shows_as_waiting_are_not_cancelled(
    slurm_campaign: SlurmCampaign, bystander: None
) -> None:
    # They have taken all that there is, so if they were waiting they would be superfluous.
    campaign = six(slurm_campaign, seconds=2.0, limits="submit: 7")
    campaign.stand_in("squeue", '"$REAL" "$@" | sed s/RUNNING/PENDING/')
    campaign.good("submit")
    wait_for(lambda: len(campaign.running()) == 6)
    campaign.poll()
    campaign.finish_saying()
    all_ran_once(campaign)


# -- copies


def test_a_script_submitted_twice_by_hand_brings_workers_and_no_work(
    slurm_campaign: SlurmCampaign, cluster: Cluster, bystander: None
) -> None:
    campaign = six(slurm_campaign, seconds=0.4)
    campaign.good("submit")
    script = next(campaign.database.glob("arrays/*/jobs/0001/job.sh"))
    by_hand = [
        subprocess.run(
            ["sbatch", "--parsable", "-o/dev/null", str(script)],
            env={**campaign.environment, **cluster.environment},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for _ in range(2)
    ]
    campaign.finish_saying()
    assert campaign.results() == [x * x for x in range(6)]
    assert set(campaign.ran().values()) == {1}
    cluster.until(lambda: not set(by_hand) & set(cluster.run("squeue", "-ho%i").split()))


@pytest.mark.slow  # the second life starts when the credential of the first has expired
def test_an_element_requeued_while_its_first_life_runs_on(
    slurm_campaign: SlurmCampaign, cluster: Cluster, bystander: None
) -> None:
    # Slurm believes that the node is dead: it starts the element again on another one, and the tasks run on.
    campaign = six(slurm_campaign, seconds=2.0, work=", options: {requeue: ''}")
    campaign.good("submit")
    wait_for(lambda: len(campaign.running()) == 3)
    nodes = dict(line.split() for line in cluster.run("squeue", "-hr", "-tR", "-o%i %N").splitlines())
    element = campaign.lives()[0].element
    cluster.signal("KILL", nodes[element])
    cluster.run("scontrol", "update", f"nodename={nodes[element]}", "state=down", "reason=test")
    cluster.until(lambda: cluster.run("squeue", "-ho%T", f"-j{element}") == "RUNNING\n", 60)
    campaign.finish_saying()
    assert campaign.results() == [x * x for x in range(6)]
    assert set(campaign.ran().values()) == {1}


# -- a controller that is away


def _end_controller(cluster: Cluster) -> None:
    cluster.signal("TERM", "slurmctld")
    cluster.until(lambda: "slurmctld does not run" in cluster.run(str(SCRIPT), "status", str(cluster.directory)))


@pytest.mark.slow  # the clients look for a controller for some seconds
def test_without_a_controller_nothing_is_submitted_and_nothing_concluded(
    slurm_campaign: SlurmCampaign, cluster: Cluster
) -> None:
    campaign = six(slurm_campaign, limits="submit: 4, running: 4, array: 4")
    _end_controller(cluster)
    said = campaign.good("submit")
    assert said.count("did not answer") == 1
    assert campaign.intents() == []
    assert campaign.poll().returncode == 3
    cluster.up("slurmctld")
    campaign.finish_saying()
    assert len(campaign.intents()) == 1
    all_ran_once(campaign)


@pytest.mark.slow  # sbatch waits ten seconds for an answer
def test_a_controller_that_hangs_takes_the_job_later(slurm_campaign: SlurmCampaign, cluster: Cluster) -> None:
    campaign = six(slurm_campaign)
    campaign.stand_in("sbatch", ONCE, f"{SCRIPT} signal {cluster.directory} STOP slurmctld", "fi", 'exec "$REAL" "$@"')
    assert "did not say whether it took the job" in campaign.good("submit")
    cluster.signal("CONT", "slurmctld")
    assert "found in the queue" in campaign.finish_saying()
    assert len(campaign.intents()) == 1
    all_ran_once(campaign)


def test_a_restarted_controller_changes_nothing(slurm_campaign: SlurmCampaign, cluster: Cluster) -> None:
    campaign = six(slurm_campaign, seconds=2.5)
    campaign.good("submit")
    wait_for(campaign.running)
    _end_controller(cluster)
    cluster.up("slurmctld")
    campaign.finish_saying()
    assert len(campaign.intents()) == 1
    # A job that ended while there was no controller may be shown as running for some seconds after it is back.
    cluster.until(lambda: not campaign.queue())
    all_ran_once(campaign)


@pytest.fixture
def forgetful(cluster: Cluster) -> Iterator[Cluster]:
    """A cluster whose controller, once killed, remembers nothing of what happened since now, and starts no job."""
    cluster.run("scontrol", "update", "partition=debug", "state=down")
    # It saves its state some seconds late, but completely when it is told to end.
    _end_controller(cluster)
    state = cluster.directory / "state"
    shutil.copytree(state, state.with_name("state.before"))
    cluster.up("slurmctld")
    yield cluster
    cluster.run("scontrol", "update", "partition=debug", "state=up")


def _forget(cluster: Cluster) -> None:
    cluster.signal("KILL", "slurmctld")
    shutil.rmtree(cluster.directory / "state")
    (cluster.directory / "state.before").rename(cluster.directory / "state")
    cluster.up("slurmctld")
    cluster.run("scontrol", "update", "partition=debug", "state=up")


def test_accepted_jobs_vanish_and_their_ids_go_to_somebody_else(
    forgetful: Cluster, slurm_campaign: SlurmCampaign
) -> None:
    campaign = six(slurm_campaign)
    campaign.good("submit")
    (lost,) = campaign.submitted().values()
    _forget(forgetful)
    foreign = ["sbatch", "--parsable", "-o/dev/null", "--mem=10", "-Jforeign", "--wrap=sleep 600"]
    while (identity := forgetful.run(*foreign).strip()) != lost:
        assert int(identity) < int(lost)
    campaign.poll()
    campaign.good("cancel")
    campaign.good("resume")
    said = campaign.finish_saying()
    assert len(campaign.intents()) == 2, said
    assert campaign.results() == [x * x for x in range(6)]
    assert set(campaign.ran().values()) == {1}
    assert forgetful.run("squeue", "-hj", lost, "-o%T %j") == "RUNNING foreign\n"


@pytest.mark.slow  # each client waits ten seconds for the controller
def test_cancel_without_a_controller_says_so_and_the_next_tick_asks_again(
    slurm_campaign: SlurmCampaign, cluster: Cluster
) -> None:
    campaign = six(slurm_campaign, seconds=30.0)
    campaign.good("submit")
    wait_for(campaign.running)
    cluster.signal("STOP", "slurmctld")
    cancel = campaign.hpcflow("cancel")
    cluster.signal("CONT", "slurmctld")
    assert cancel.returncode == 3
    assert "nothing is concluded from that" in cancel.stdout
    assert "could not be cancelled" in cancel.stdout
    assert "0 jobs were asked to end" in cancel.stdout
    assert campaign.queue()
    campaign.poll()
    cluster.until(lambda: not campaign.queue())
    assert len(campaign.intents()) == 1


def test_without_any_accounting_everything_works(slurm_campaign: SlurmCampaign, bystander: None) -> None:
    campaign = six(slurm_campaign, seconds=1.5)
    campaign.stand_in("sacct", "echo 'Slurm accounting storage is disabled' >&2", "exit 1")
    campaign.stand_in("sacctmgr", "echo 'You are not running a supported accounting_storage plugin' >&2", "exit 1")
    campaign.good("submit")
    wait_for(campaign.running)
    element = next(life.element for life in campaign.lives() if not life.ended)
    (worker,) = [hello["pid"] for hello in campaign.hellos() if hello["scheduler_id"] == element]
    os.kill(worker, signal.SIGKILL)
    said = campaign.finish_saying()
    assert "a worker ended: lost (FAILED" in said  # the queue knows it for a while, too
    assert campaign.results() == [x * x for x in range(6)]
    # The task in flight was lost with its worker, and only that one runs again.
    assert sorted(campaign.ran().values()) == [1, 1, 1, 1, 1, 2]
