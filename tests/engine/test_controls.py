"""What a person does to a running campaign, and what the engine does about failures of each kind."""

from __future__ import annotations

import json
import signal
import time

from campaign_harness import Campaign, MakeCampaign, wait_for

FLAKY = """
import os, time
import hpcflow as hf

def flaky(x, mended):
    if x % 2 and not os.path.exists(mended):
        raise RuntimeError(f"{x} is odd")
    return x

def total(values):
    return sum(values)

def flow(run: hf.Run, mended: str, read: bool = False):
    array = run.map(flaky, range(4), mended=mended)
    if read:
        run.call(total, array.results())
        with run.scope("later"):
            run.call(total, array.late().results(), name="rest")
"""


def flaky(make_campaign: MakeCampaign, read: bool = False) -> Campaign:
    campaign = make_campaign(FLAKY)
    campaign.write("hpcflow.yaml", f"workflow: flow.py:flow\nparameters: {{mended: {campaign.home / 'mended'}, "
                   f"read: {str(read).lower()}}}\n")  # fmt: skip
    campaign.good("submit")
    campaign.finish()
    return campaign


def test_failed_tasks_are_flagged_and_never_fatal(make_campaign: MakeCampaign) -> None:
    campaign = flaky(make_campaign)
    assert campaign.status()["tasks"] == {"total": 4, "succeeded": 2, "failed": 2, "unfinished": 0}
    assert campaign.results() == [0, 2]
    text = campaign.good("explain")
    assert "RuntimeError: 1 is odd" in text
    assert "RuntimeError: 3 is odd" in campaign.good("explain", "flaky/3")
    failed = campaign.good("results", "--failed")
    assert '"reason": "error"' in failed
    assert len(failed.splitlines()) == 2


def test_failed_tasks_of_a_finished_array_are_computed_again_on_demand(make_campaign: MakeCampaign) -> None:
    campaign = flaky(make_campaign)
    (campaign.home / "mended").touch()
    campaign.good("resume", "--retry-failed")
    status = campaign.finish()
    assert status["tasks"] == {"total": 4, "succeeded": 4, "failed": 0, "unfinished": 0}
    assert campaign.results() == [0, 1, 2, 3]
    assert "there are no failed tasks" in campaign.good("resume", "--retry-failed")


def test_reads_stay_frozen_when_failed_tasks_are_computed_again(make_campaign: MakeCampaign) -> None:
    campaign = flaky(make_campaign, read=True)
    assert campaign.results("total") == [2]
    (campaign.home / "mended").touch()
    campaign.good("resume", "--retry-failed")
    campaign.finish()
    assert campaign.results("flaky") == [0, 1, 2, 3]
    assert campaign.results("total") == [2]


SLEEPY = """
import os, time
import hpcflow as hf

def sleepy(x, gate):
    while not os.path.exists(gate):
        time.sleep(0.02)
    return x

def flow(run: hf.Run, gate: str, n: int = 6):
    run.map(sleepy, range(n), gate=gate)
"""


def sleepy(make_campaign: MakeCampaign, extra: str = "", **parameters: int) -> Campaign:
    campaign = make_campaign(SLEEPY)
    more = "".join(f", {name}: {value}" for name, value in parameters.items())
    campaign.write(
        "hpcflow.yaml", f"workflow: flow.py:flow\nparameters: {{gate: {campaign.home / 'gate'}{more}}}\n{extra}"
    )
    return campaign


def test_dropped_tasks_are_given_up_with_their_reason(make_campaign: MakeCampaign) -> None:
    campaign = sleepy(make_campaign)
    campaign.good("submit")
    wait_for(campaign.slots)
    assert "2 of 2 tasks" in campaign.good("drop", "sleepy/1,4", "--reason", "not a molecule")
    (campaign.home / "gate").touch()
    status = campaign.finish()
    assert status["tasks"] == {"total": 6, "succeeded": 4, "failed": 2, "unfinished": 0}
    assert campaign.results() == [0, 2, 3, 5]
    assert "not a molecule" in campaign.good("explain", "sleepy/4")


def test_a_task_that_is_dropped_after_a_failed_try_keeps_the_reason_of_the_drop(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign(
        "import os\ndef f(x):\n    if x == 1: raise ValueError('the first try fails')\n    return x\n"
        "def flow(run): run.map(f, range(3))\n"
    )
    campaign.good("submit")
    wait_for(lambda: not list(campaign.processes()))
    campaign.good("drop", "f/1", "--reason", "not a molecule")
    assert campaign.finish()["tasks"]["failed"] == 1
    assert "not a molecule" in campaign.good("explain", "f/1")
    assert "not a molecule" in campaign.good("results", "--failed")


def test_tasks_may_fail_as_often_as_their_retries_allow(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign(
        None,
        "workflow: map\nparameters: {command: 'echo hello; exit {a}', items: [{a: 1}]}\n"
        "classes: {default: {retries: {error: 5}}}\n",
    )
    campaign.good("submit")
    status = campaign.finish()
    assert status["tasks"] == {"total": 1, "succeeded": 0, "failed": 1, "unfinished": 0}
    (failure,) = json.loads(campaign.good("explain", "--json", "map"))["failures"]
    assert "exit status 1" in failure["what"]
    assert len([line for line in campaign.journal() if line["kind"] == "cut"]) == 6


def test_dropping_all_ends_the_array(make_campaign: MakeCampaign) -> None:
    campaign = sleepy(make_campaign)
    campaign.good("submit")
    wait_for(campaign.slots)
    campaign.good("drop", "sleepy")
    assert campaign.poll().returncode == 0
    assert campaign.status()["tasks"]["failed"] == 6


def test_pause_submits_nothing_until_continue(make_campaign: MakeCampaign) -> None:
    campaign = sleepy(make_campaign)
    (campaign.home / "gate").touch()
    campaign.write("flow.py", SLEEPY.replace("    run.map(", "    first = run.map(")
                   + "    run.map(sleepy, [len(first.results()) + 10], name='next', gate=gate)\n")  # fmt: skip
    campaign.good("submit")
    campaign.good("pause")
    campaign.poll_until(lambda status: len(status["arrays"]) == 2)
    campaign.poll()
    status = campaign.status()
    assert status["paused"]
    assert status["arrays"][1]["jobs"] == []
    assert "paused" in campaign.good("status")
    campaign.good("continue")
    campaign.finish()


def test_cancel_ends_all_jobs_and_resume_goes_on(make_campaign: MakeCampaign) -> None:
    campaign = sleepy(make_campaign)
    campaign.good("submit")
    wait_for(campaign.slots)
    assert "asked to end" in campaign.good("cancel")
    wait_for(lambda: not campaign.workers())
    campaign.poll()
    campaign.poll()
    assert not campaign.workers()
    status = campaign.status()
    assert status["cancelled"]
    assert status["tasks"]["failed"] == 0
    (campaign.home / "gate").touch()
    campaign.good("resume")
    campaign.finish()
    assert campaign.results() == list(range(6))


def test_width_counts_from_the_next_tick_on(make_campaign: MakeCampaign) -> None:
    campaign = sleepy(make_campaign)
    configuration = (campaign.directory / "hpcflow.yaml").read_text()
    campaign.write("hpcflow.yaml", configuration + "classes: {default: {workers: 1}}\n")
    campaign.good("submit")
    wait_for(campaign.workers)
    assert len(campaign.workers()) == 1
    campaign.write("hpcflow.yaml", configuration + "classes: {default: {workers: 9}}\n")
    campaign.good("set", "--width", "1")
    campaign.poll()
    campaign.poll()
    assert len([job for array in campaign.status()["arrays"] for job in array["jobs"]]) == 1
    (campaign.home / "gate").touch()
    campaign.finish()


def test_a_budget_that_is_used_up_stops_the_campaign_until_it_is_raised(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign(
        "import time\ndef f(x):\n    time.sleep(0.3)\n    return x + 1\n"
        "def flow(run):\n    first = list(run.map(f, [1]).results())\n    run.map(f, first, name='second')\n",
        "workflow: flow.py:flow\nbudget: 0.00001\n",
    )
    campaign.good("submit")
    status = campaign.poll_until(lambda status: status["state"] == "attention")
    assert "hpcflow set --budget" in status["attention"]["budget"]
    assert status["tasks"] == {"total": 2, "succeeded": 1, "failed": 0, "unfinished": 1}
    campaign.good("set", "--budget", "5")
    campaign.finish()


def test_jobs_that_bring_nothing_stop_after_three(make_campaign: MakeCampaign) -> None:
    campaign = sleepy(make_campaign, "classes:\n  default:\n    workers: 1\n    environment:\n      lines: ['false']\n")
    campaign.good("submit")
    status = campaign.poll_until(lambda status: status["state"] == "attention")
    (message,) = status["attention"].values()
    assert "3 jobs in a row" in message
    assert "this line of the job failed with status 1: false" in message
    jobs = len(status["arrays"][0]["jobs"])
    assert jobs == 3
    for _ in range(3):
        campaign.poll()
    assert len(campaign.status()["arrays"][0]["jobs"]) == jobs
    campaign.write("hpcflow.yaml", (campaign.directory / "hpcflow.yaml").read_text().replace("'false'", "'true'"))
    (campaign.home / "gate").touch()
    campaign.hpcflow("resume")
    campaign.finish()


def test_barren_jobs_are_remembered_without_the_checkpoint(make_campaign: MakeCampaign) -> None:
    campaign = sleepy(make_campaign, "classes:\n  default:\n    workers: 1\n    environment:\n      lines: ['false']\n")
    campaign.good("submit")

    def without_state() -> bool:
        for path in campaign.database.glob("state.*"):
            path.unlink()
        return campaign.poll().returncode == 4

    wait_for(without_state)
    assert len(campaign.status()["arrays"][0]["jobs"]) == 3


def test_a_call_whose_jobs_cannot_start_stops_too(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign("def f(): return 1\ndef flow(run): run.call(f).result()\n")
    layer = campaign.home / "config" / "hpcflow" / "sites" / "local.yaml"
    layer.parent.mkdir(parents=True)
    layer.write_text("classes:\n  default:\n    environment:\n      lines: ['false']\n")
    done = campaign.hpcflow("submit")
    assert done.returncode in (0, 4), done.stderr
    assert campaign.status()["state"] == "attention"
    assert "3 jobs in a row" in " ".join(campaign.status()["attention"].values())


def test_a_broken_node_does_not_keep_the_others_from_finishing(make_campaign: MakeCampaign) -> None:
    campaign = sleepy(
        make_campaign,
        "classes:\n  default:\n    workers: 2\n    environment:\n      lines: ['test \"$HPCFLOW_ELEMENT\" != 1']\n",
        n=40,
    )
    (campaign.home / "gate").touch()
    campaign.good("submit")
    status = campaign.finish()
    assert status["tasks"]["succeeded"] == 40


def test_a_function_that_always_fails_alike_breaks_the_worker_and_not_the_tasks(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign(
        "import os\ndef f(x, mended):\n"
        "    if not os.path.exists(mended): raise OSError('no such device')\n"
        "    return x\n"
        "def flow(run, mended: str): run.map(f, range(20), mended=mended)\n"
    )
    campaign.write("hpcflow.yaml", f"workflow: flow.py:flow\nparameters: {{mended: {campaign.home / 'mended'}}}\n"
                   "classes: {default: {workers: 1}}\n")  # fmt: skip
    campaign.good("submit")
    status = campaign.poll_until(lambda status: status["state"] == "attention")
    assert "no such device" in " ".join(status["attention"].values())
    assert status["tasks"]["failed"] == 0
    (campaign.home / "mended").touch()
    campaign.hpcflow("resume")
    status = campaign.finish()
    assert status["tasks"]["succeeded"] == 20


def test_many_tasks_that_fail_alike_do_not_stop_an_array_in_which_others_succeed(make_campaign: MakeCampaign) -> None:
    # Second attempts are a list of nothing but failures: no worker that starts with them is to blame.
    campaign = make_campaign(
        "def f(x):\n    if x % 10 == 3: raise ValueError(f'bad molecule {x}')\n    return x\n"
        "def flow(run): run.map(f, range(300))\n"
    )
    campaign.write("hpcflow.yaml", "workflow: flow.py:flow\nclasses: {default: {workers: 2}}\n")
    campaign.good("submit")
    status = campaign.finish()
    assert status["tasks"] == {"total": 300, "succeeded": 270, "failed": 30, "unfinished": 0}
    assert not status["attention"]


def test_a_run_of_tasks_that_fail_alike_keeps_no_other_from_running(make_campaign: MakeCampaign) -> None:
    # The first task of each worker, and half of its first tasks, fail alike.
    campaign = make_campaign(
        "def f(x):\n    if x < 250: raise ValueError(f'bad molecule {x}')\n    return x\n"
        "def flow(run): run.map(f, range(1000))\n"
    )
    campaign.write("hpcflow.yaml", "workflow: flow.py:flow\nclasses: {default: {workers: 1}}\n")
    campaign.good("submit")
    status = campaign.finish()
    assert status["tasks"] == {"total": 1000, "succeeded": 750, "failed": 250, "unfinished": 0}
    assert not status["attention"]


LONG = """
import os, time
import hpcflow as hf

@hf.task(checkpoint=True, keep=["done.txt"])
def long(x, steps):
    done = 0
    if os.path.exists("steps.txt"):
        with open("steps.txt") as stream:
            done = int(stream.read())
    while done < steps:
        if time.time() > float(os.environ["HPCFLOW_DEADLINE"]) - 0.5:
            raise hf.Unfinished
        time.sleep(0.25)
        done += 1
        with open("steps.tmp", "w") as stream:
            stream.write(str(done))
        os.replace("steps.tmp", "steps.txt")
    with open("done.txt", "w") as stream:
        stream.write(os.environ["HPCFLOW_ATTEMPT"])
    return int(os.environ["HPCFLOW_ATTEMPT"])

def flow(run: hf.Run, steps: int):
    run.map(long, [1], steps=steps)
"""


def test_a_task_longer_than_a_job_goes_on_from_its_checkpoint_in_the_next(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign(
        LONG,
        "workflow: flow.py:flow\nparameters: {steps: 16}\n"
        "classes: {default: {walltime: 5s, margin: 2s, grace: 1s, workers: 1}}\n",
    )
    campaign.good("submit")
    begin = time.monotonic()
    status = campaign.finish()
    (attempts,) = campaign.results()
    assert attempts >= 2
    assert status["tasks"]["succeeded"] == 1
    assert status["arrays"][0]["failed"] == 0
    assert (campaign.array("long") / "files" / "0" / "done.txt").read_text() == str(attempts)
    assert not [line for line in campaign.journal() if line["kind"] == "hold"]
    assert time.monotonic() - begin < 80


def test_a_calculation_that_does_not_converge_climbs_the_ladder_of_its_class(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign(
        "import hpcflow as hf\n"
        "def scf(x, mixing=0.5):\n"
        "    if mixing > 0.1 * x: raise hf.Unconverged(f'mixing {mixing}')\n"
        "    return mixing\n"
        "def flow(run): run.map(scf, [1, 3, 0, 9])\n",
        "workflow: flow.py:flow\nclasses:\n  default:\n    ladder: [{mixing: 0.2}, {mixing: 0.05}]\n",
    )
    campaign.good("submit")
    status = campaign.finish()
    assert status["tasks"] == {"total": 4, "succeeded": 3, "failed": 1, "unfinished": 0}
    assert campaign.results() == [0.05, 0.2, 0.5]
    assert "Unconverged" in campaign.good("explain", "scf/2")
    assert "mixing 0.05" in campaign.good("explain", "scf/2")


def test_a_template_broken_while_the_campaign_runs_stops_only_what_it_concerns(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign(
        "def f(x): return x + 1\n"
        "def flow(run):\n    first = list(run.map(f, [1]).results())\n    run.map(f, first, name='second')\n"
    )
    campaign.good("submit")
    template = campaign.write("templates/local.sh.j2", "{{ tokn }}\n")
    status = campaign.poll_until(lambda status: status["state"] == "attention")
    assert "tokn" in " ".join(status["attention"].values())
    intents = len([line for line in campaign.journal() if line["kind"] == "intent"])
    campaign.poll()
    assert len([line for line in campaign.journal() if line["kind"] == "intent"]) == intents == 1
    template.unlink()
    campaign.hpcflow("resume")
    campaign.finish()


def test_a_paused_campaign_still_runs_its_calls(make_campaign: MakeCampaign) -> None:
    """A call is the tick's own work: a tick that waited for a job nobody submits would never end."""
    campaign = make_campaign(
        "def f(x): return x\ndef judge(values): return len(values)\n"
        "def flow(run):\n    first = run.map(f, [1, 2])\n"
        "    run.map(f, [run.call(judge, first.results()).result() + 10], name='second')\n"
    )
    campaign.good("submit")
    campaign.good("pause")
    status = campaign.poll_until(lambda status: len(status["arrays"]) == 2)
    campaign.poll()
    assert campaign.status()["arrays"][1]["jobs"] == []
    assert status["tasks"]["unfinished"] == 1
    campaign.good("continue")
    campaign.finish()
    assert campaign.results("second") == [12]


def test_ctrl_c_ends_local_workers_and_run_goes_on(make_campaign: MakeCampaign) -> None:
    campaign = sleepy(make_campaign)
    process = campaign.start("run")
    wait_for(campaign.slots)
    process.send_signal(signal.SIGINT)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 130, output
    assert "Traceback" not in output
    assert "hpcflow run" in output
    wait_for(lambda: not campaign.workers())
    (campaign.home / "gate").touch()
    process = campaign.start("run")
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert campaign.results() == list(range(6))


def test_a_missing_configuration_is_no_end_of_the_workflow(make_campaign: MakeCampaign) -> None:
    campaign = make_campaign(
        "def f(x): return x + 1\n"
        "def flow(run):\n    first = list(run.map(f, [1]).results())\n    run.map(f, first, name='second')\n"
    )
    campaign.good("submit")
    configuration = campaign.directory / "hpcflow.yaml"
    text = configuration.read_text()
    configuration.unlink()
    campaign.poll_until(lambda status: status["tasks"]["unfinished"] == 0)
    assert campaign.poll().returncode == 3
    configuration.write_text(text)
    campaign.finish()
    assert campaign.results("second") == [3]
