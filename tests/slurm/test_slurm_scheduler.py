"""The Slurm back end against a real Slurm."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import pwd
import signal
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from private_slurm import Cluster

from hpcflow.schedulers.base import Cause, Element, Ending, SchedulerError, State, Submission
from hpcflow.schedulers.slurm import Slurm

pytestmark = pytest.mark.slurm
_numbers = itertools.count(os.getpid() * 1000)


class Jobs:
    """Submits scripts to the cluster under names of their own."""

    def __init__(self, cluster: Cluster, directory: Path) -> None:
        self.cluster = cluster
        self.directory = directory
        self.scheduler = cluster.slurm()

    def submit(self, *lines: str, **keys: object) -> tuple[str, str]:
        """Return id and name."""
        name = f"hf{next(_numbers)}"
        script = self.directory / f"{name}.sh"
        script.write_text("\n".join(["#!/bin/bash", "#SBATCH --mem=20", *lines, ""]))
        keys = {"width": 1, "log": self.directory / "log", **keys}
        return self.scheduler.submit(Submission(script=script, name=name, **keys)), name  # type: ignore[arg-type]

    def found(self, name: str) -> dict[int | None, Element]:
        """Return the elements of that name by index."""
        return {e.index: e for e in self.scheduler.listing() if e.name == name}

    def states(self, name: str) -> list[State]:
        return [e.state for _, e in sorted(self.found(name).items(), key=lambda item: item[0] or 0)]

    def wait(self, name: str, *states: State) -> dict[int | None, Element]:
        """Wait until the elements are in these states, in the order of their indices."""
        self.cluster.until(lambda: self.states(name) == list(states))
        return self.found(name)

    def ending(self, job: str, name: str, index: int | None = None) -> Ending:
        """Wait for what accounting says of an element that is gone: the queue knows no exit code."""
        gone = Element(job, index, name, State.UNKNOWN, "")
        found: list[Ending] = []

        def known() -> bool:
            found[:] = self.scheduler.endings([gone]).values()
            return bool(found) and found[0].exit_code is not None

        self.cluster.until(known)
        return found[0]

    def log(self, name: str) -> str:
        path = self.directory / "log" / f"{name}.out"
        return path.read_text() if path.exists() else ""


@pytest.fixture
def jobs(cluster: Cluster, tmp_path: Path) -> Jobs:
    return Jobs(cluster, tmp_path)


@pytest.fixture
def accounted(jobs: Jobs) -> Jobs:
    if not jobs.cluster.accounting:
        pytest.skip("no accounting: slurmdbd or mariadbd is not installed")
    return jobs


def lie(jobs: Jobs, program: str, *lines: str) -> None:
    """Put a program on PATH that runs these lines; ``real`` in them is the real one."""
    which = subprocess.run(["which", program], capture_output=True, text=True, check=True)
    directory = jobs.directory / "bin"
    directory.mkdir()
    text = ["#!/bin/bash", f'real() {{ {which.stdout.strip()} "$@"; }}', *lines, ""]
    (directory / program).write_text("\n".join(text))
    (directory / program).chmod(0o755)
    environment = {**jobs.cluster.environment, "PATH": f"{directory}:{jobs.cluster.environment['PATH']}"}
    jobs.scheduler = Slurm(environment=environment, submit_timeout=3)


def test_width_one_is_a_plain_job(jobs: Jobs) -> None:
    job, name = jobs.submit("echo index ${SLURM_ARRAY_TASK_ID:-none}")
    jobs.wait(name, State.ENDED)
    assert job.isdecimal()
    assert jobs.log(name) == "index none\n"


def test_elements_of_an_array_share_one_log(jobs: Jobs) -> None:
    job, name = jobs.submit("echo index $SLURM_ARRAY_TASK_ID", width=3)
    found = jobs.wait(name, State.ENDED, State.ENDED, State.ENDED)
    assert {e.job for e in found.values()} == {job}
    assert sorted(jobs.log(name).splitlines()) == ["index 0", "index 1", "index 2"]


def test_throttle_bounds_what_runs(jobs: Jobs) -> None:
    _, name = jobs.submit("sleep 60", width=3, throttle=1)
    found = jobs.wait(name, State.RUNNING, State.QUEUED, State.QUEUED)
    assert found[2].reason == "JobArrayTaskLimit"


def test_a_directory_with_an_odd_name_gets_its_log(jobs: Jobs) -> None:
    for odd in ("100% %j", 'q"uo te', "umläut", "back\\slash %j"):
        jobs.directory = jobs.directory / odd
        jobs.directory.mkdir()
        _, name = jobs.submit("echo it ran")
        jobs.wait(name, State.ENDED)
        assert jobs.log(name) == "it ran\n"


def test_a_job_may_wait_for_its_time(jobs: Jobs) -> None:
    _, name = jobs.submit("echo started", not_before=time.time() + 600)
    (element,) = jobs.wait(name, State.QUEUED).values()
    assert element.reason in ("BeginTime", "None", "")


def test_a_held_job_is_held(jobs: Jobs) -> None:
    job, name = jobs.submit("true", not_before=time.time() + 600)
    jobs.cluster.run("scontrol", "hold", job)
    (element,) = jobs.wait(name, State.HELD).values()
    assert element.reason in ("JobHeldUser", "JobHeldAdmin")  # for root it is the latter


def test_a_job_that_asks_for_more_than_there_is_is_held(jobs: Jobs) -> None:
    _, name = jobs.submit("#SBATCH --time=10:00:00", "#SBATCH --partition=high", "true")
    (element,) = jobs.wait(name, State.HELD).values()
    assert element.reason in ("PartitionTimeLimit", "PartitionConfig")


def test_inherited_variables_of_a_job_do_not_reach_sbatch(jobs: Jobs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SBATCH_JOB_NAME", "wrong")
    monkeypatch.setenv("SBATCH_PARTITION", "nowhere")
    monkeypatch.setenv("SBATCH_ARRAY_INX", "0-7")
    monkeypatch.setenv("SQUEUE_STATES", "FAILED")
    _, name = jobs.submit("true")
    jobs.wait(name, State.ENDED)


def test_accounting_knows_exit_codes(accounted: Jobs) -> None:
    job, name = accounted.submit("exit $SLURM_ARRAY_TASK_ID", width=2)
    accounted.wait(name, State.ENDED, State.ENDED)
    well, badly = accounted.ending(job, name, 0), accounted.ending(job, name, 1)
    assert (well.cause, well.exit_code) == (Cause.COMPLETED, 0)
    assert (badly.cause, badly.exit_code, badly.nodes[:1]) == (Cause.FAILED, 1, "n")


def test_accounting_says_nothing_of_a_job_with_another_name(accounted: Jobs) -> None:
    job, name = accounted.submit("true")
    accounted.wait(name, State.ENDED)
    assert accounted.ending(job, name).cause is Cause.COMPLETED
    assert accounted.scheduler.endings([Element(job, None, "another", State.UNKNOWN, "")]) == {}


def test_the_queue_itself_knows_causes_for_some_minutes(jobs: Jobs) -> None:
    lie(jobs, "sacct", "echo 'Slurm accounting storage is disabled' >&2; exit 1")
    job, name = jobs.submit("exit 1")
    jobs.wait(name, State.ENDED)
    gone = Element(job, None, name, State.UNKNOWN, "")
    assert jobs.scheduler.endings([gone])[job, None].cause is Cause.FAILED


@pytest.mark.slow  # Slurm looks at time limits every 30 s
def test_walltime(accounted: Jobs) -> None:
    job, name = accounted.submit("#SBATCH --time=1", "sleep 200")
    accounted.wait(name, State.RUNNING)
    accounted.cluster.run("scontrol", "update", f"jobid={job}", "timelimit=0")
    found = accounted.wait(name, State.ENDED)
    assert found[None].native == "TIMEOUT"
    assert accounted.ending(job, name).cause is Cause.WALLTIME


def test_memory_limit(accounted: Jobs) -> None:
    job, name = accounted.submit("x=$(head -c 300000000 /dev/zero | tr '\\0' x)")
    accounted.wait(name, State.ENDED)
    ending = accounted.ending(job, name)
    if "TaskPlugin=task/cgroup" in (accounted.cluster.directory / "etc" / "slurm.conf").read_text():
        assert ending.cause is Cause.OOM
    else:  # a polling Slurm only kills, and says why in the log
        assert (ending.cause, ending.signal) == (Cause.FAILED, signal.SIGKILL)
        assert "exceeded memory limit" in accounted.log(name)


def test_node_failure(accounted: Jobs) -> None:
    job, name = accounted.submit("#SBATCH --nodelist=n3 --no-requeue", "sleep 60")
    accounted.wait(name, State.RUNNING)
    accounted.cluster.run("scontrol", "update", "nodename=n3", "state=down", "reason=test")
    accounted.wait(name, State.ENDED)
    ending = accounted.ending(job, name)
    assert (ending.cause, ending.nodes) == (Cause.NODE, "n3")


@pytest.mark.slow  # the second life starts when the first one's credential has expired
def test_the_first_life_of_a_requeued_job_is_explained(accounted: Jobs) -> None:
    job, name = accounted.submit("#SBATCH --requeue", "echo life ${SLURM_RESTART_COUNT:-0}; sleep 60")
    accounted.wait(name, State.RUNNING)
    accounted.cluster.until(lambda: accounted.log(name))
    accounted.cluster.run("scontrol", "requeue", job)
    accounted.cluster.until(lambda: "life 1" in accounted.log(name))
    assert "life 0" in accounted.log(name)
    assert accounted.states(name) == [State.RUNNING]
    assert accounted.ending(job, name).native == "REQUEUED"


def test_preemption(accounted: Jobs) -> None:
    job, name = accounted.submit("#SBATCH --partition=low --exclusive", "sleep 60")
    accounted.wait(name, State.RUNNING)
    accounted.submit("#SBATCH --partition=high --nodelist=n1 --exclusive", "sleep 1")
    accounted.cluster.until(lambda: accounted.states(name) == [State.ENDED])
    assert accounted.ending(job, name).cause is Cause.PREEMPTED


def test_cancel_of_one_element_that_waits_leaves_the_others_waiting(jobs: Jobs) -> None:
    job, name = jobs.submit("sleep 60", width=4, throttle=1)
    jobs.wait(name, State.RUNNING, State.QUEUED, State.QUEUED, State.QUEUED)
    jobs.scheduler.cancel([Element(job, 2, name, State.QUEUED, "")])
    jobs.cluster.until(lambda: 2 not in jobs.found(name))
    assert {i: e.state for i, e in jobs.found(name).items()} == {
        0: State.RUNNING,
        1: State.QUEUED,
        3: State.QUEUED,
    }


def test_cancel_of_a_running_element(accounted: Jobs) -> None:
    job, name = accounted.submit("sleep 60", width=2)
    accounted.wait(name, State.RUNNING, State.RUNNING)
    accounted.scheduler.cancel([Element(job, 1, name, State.RUNNING, "")])
    accounted.wait(name, State.RUNNING, State.ENDED)
    assert accounted.ending(job, name, 1).cause is Cause.CANCELLED


def test_cancel_of_whole_jobs(jobs: Jobs) -> None:
    array, name = jobs.submit("sleep 60", width=3, throttle=2)
    plain, other = jobs.submit("sleep 60")
    jobs.wait(name, State.RUNNING, State.RUNNING, State.QUEUED)
    jobs.scheduler.cancel(
        [Element(array, None, name, State.RUNNING, ""), Element(plain, None, other, State.RUNNING, "")]
    )
    jobs.cluster.until(lambda: not {State.RUNNING, State.QUEUED} & set(jobs.states(name) + jobs.states(other)))


def test_cancel_does_not_touch_a_job_that_got_the_id_of_a_lost_one(jobs: Jobs) -> None:
    job, name = jobs.submit("sleep 60", width=2)
    jobs.wait(name, State.RUNNING, State.RUNNING)
    jobs.scheduler.cancel(Element(job, index, "lost", State.RUNNING, "") for index in (None, 0))
    time.sleep(1)
    assert jobs.states(name) == [State.RUNNING, State.RUNNING]


def test_cancel_of_what_is_gone_is_no_error(jobs: Jobs) -> None:
    job, name = jobs.submit("true")
    jobs.wait(name, State.ENDED)
    gone = Element("999999", 3, "hfgone", State.RUNNING, "")
    jobs.scheduler.cancel([gone, Element(job, None, name, State.RUNNING, "")])


def test_a_partition_that_does_not_exist_is_permanent(jobs: Jobs) -> None:
    with pytest.raises(SchedulerError, match="invalid partition") as caught:
        jobs.submit("#SBATCH --partition=nowhere", "true")
    assert caught.value.kind == "permanent"
    assert caught.value.command[0] == "sbatch"


def test_an_array_that_is_too_wide_is_permanent(jobs: Jobs) -> None:
    with pytest.raises(SchedulerError, match="Invalid job array") as caught:
        jobs.submit("true", width=100_000)
    assert caught.value.kind == "permanent"


def test_limits_come_from_the_cluster(accounted: Jobs) -> None:
    me = pwd.getpwuid(os.getuid()).pw_name
    change = ("sacctmgr", "--immediate", "modify", "user", me, "set")
    accounted.cluster.run(*change, "MaxSubmit=7", "MaxJobs=3")
    try:
        found = accounted.cluster.slurm(account="test").limits()
        assert (found.submit, found.running, found.array) == (7, 3, 1001)
    finally:
        accounted.cluster.run(*change, "MaxSubmit=-1", "MaxJobs=-1")


def test_no_room_for_more_jobs_is_a_limit(accounted: Jobs) -> None:
    me = pwd.getpwuid(os.getuid()).pw_name
    change = ("sacctmgr", "--immediate", "modify", "user", me, "set")
    accounted.cluster.run(*change, "MaxSubmit=2")
    try:
        time.sleep(1)  # the controller hears of the change a moment later
        with pytest.raises(SchedulerError, match="MaxSubmit") as caught:
            accounted.submit("true", width=3)
    finally:
        accounted.cluster.run(*change, "MaxSubmit=-1")
    assert caught.value.kind == "limit"


def test_clusters_are_named_in_ids(accounted: Jobs) -> None:
    accounted.scheduler = accounted.cluster.slurm(clusters=["test"])
    job, name = accounted.submit("sleep 60", width=2)
    assert job.endswith(";test")
    found = accounted.wait(name, State.RUNNING, State.RUNNING)
    assert {e.job for e in found.values()} == {job}
    accounted.scheduler.cancel([Element(job, 0, name, State.RUNNING, "")])
    accounted.wait(name, State.ENDED, State.RUNNING)
    assert accounted.ending(job, name, 0).cause is Cause.CANCELLED


def test_a_cluster_that_does_not_answer_makes_no_listing(accounted: Jobs) -> None:
    with pytest.raises(SchedulerError) as caught:
        accounted.cluster.slurm(clusters=["test", "elsewhere"]).listing()
    assert caught.value.transient


@pytest.mark.slow  # the clients look for a controller for some seconds
def test_without_a_controller_nothing_happens_and_nothing_is_concluded(jobs: Jobs) -> None:
    job, name = jobs.submit("sleep 60")
    jobs.wait(name, State.RUNNING)
    jobs.cluster.signal("TERM", "slurmctld")
    running = Element(job, None, name, State.RUNNING, "")
    questions = (jobs.scheduler.listing, lambda: jobs.submit("true"), lambda: jobs.scheduler.cancel([running]))
    with ThreadPoolExecutor() as pool:
        errors = [answer.exception() for answer in [pool.submit(question) for question in questions]]
    assert [getattr(error, "kind", None) for error in errors] == ["transient"] * 3
    assert all("Unable to contact" in str(error) for error in errors)


@pytest.mark.slow  # sbatch waits for an answer for ten seconds
def test_a_controller_that_hangs_leaves_it_unclear_and_may_have_taken_the_job(jobs: Jobs) -> None:
    jobs.cluster.signal("STOP", "slurmctld")
    with pytest.raises(SchedulerError, match="timed out") as caught:
        jobs.submit("sleep 60")
    assert caught.value.kind == "unclear"
    jobs.cluster.signal("CONT", "slurmctld")
    token = next(arg.partition("=")[2] for arg in caught.value.command if arg.startswith("--job-name="))
    jobs.cluster.until(lambda: jobs.found(token))


def test_accounting_that_is_down_is_transient(accounted: Jobs) -> None:
    job, name = accounted.submit("true")
    accounted.wait(name, State.ENDED)
    accounted.cluster.signal("KILL", "slurmdbd")
    with pytest.raises(SchedulerError, match="refused") as caught:
        accounted.scheduler.endings([Element(job, None, name, State.UNKNOWN, "")])
    assert caught.value.kind == "transient"


def test_banners_around_the_id_are_ignored(jobs: Jobs) -> None:
    lie(
        jobs,
        "sbatch",
        "echo 'Welcome to the machine. Job 17 of today:'",
        "echo 'sbatch: your project has 4 hours left' >&2",
        'real "$@"',
        "echo 'Have a nice day'",
    )
    job, name = jobs.submit("sleep 60")
    assert {e.job for e in jobs.wait(name, State.RUNNING).values()} == {job}


def test_a_cluster_in_the_reply_is_no_part_of_the_id_where_none_is_configured(jobs: Jobs) -> None:
    lie(jobs, "sbatch", 'echo "$(real "$@");test"')
    job, name = jobs.submit("sleep 60")
    assert {e.job for e in jobs.wait(name, State.RUNNING).values()} == {job}


def test_an_sbatch_that_takes_the_job_and_never_answers_is_unclear(jobs: Jobs) -> None:
    lie(jobs, "sbatch", 'real "$@" >/dev/null; sleep 60')
    with pytest.raises(SchedulerError, match="did not answer") as caught:
        jobs.submit("sleep 60")
    assert caught.value.kind == "unclear"
    token = next(arg.partition("=")[2] for arg in caught.value.command if arg.startswith("--job-name="))
    jobs.cluster.until(lambda: jobs.found(token))


def test_success_without_an_id_is_unclear(jobs: Jobs) -> None:
    lie(jobs, "sbatch", 'real "$@" | sed "s/^/Submitted batch job /"')
    with pytest.raises(SchedulerError) as caught:
        jobs.submit("sleep 60")
    assert caught.value.kind == "unclear"


def test_failure_after_acceptance_is_unclear(jobs: Jobs) -> None:
    failure = "Batch job submission failed: Socket timed out on send/recv operation"
    lie(jobs, "sbatch", 'real "$@" >/dev/null', f"echo 'sbatch: error: {failure}' >&2; exit 1")
    with pytest.raises(SchedulerError) as caught:
        jobs.submit("sleep 60")
    assert caught.value.kind == "unclear"


def test_patience_on_the_way_to_success_is_no_error(jobs: Jobs) -> None:
    lie(
        jobs,
        "sbatch",
        "echo 'sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying' >&2",
        'sleep 1; real "$@"',
    )
    job, _ = jobs.submit("sleep 60")
    assert job.isdecimal()


Answer = tuple[str, str, list[tuple[str, str]]]


def _as_nobody(environment: dict[str, str], directory: str, names: multiprocessing.Queue[Answer]) -> None:
    nobody = pwd.getpwnam("nobody")
    os.setgroups([])
    os.setgid(nobody.pw_gid)
    os.setuid(nobody.pw_uid)
    scheduler = Slurm(environment=environment)
    script = Path(directory) / "job.sh"
    script.write_text("#!/bin/bash\n#SBATCH --mem=20\nid -un; sleep 60\n")
    name = f"nobody{os.getpid()}"
    job = scheduler.submit(Submission(script, name, 2, log=Path(directory) / "log"))
    listed = [(e.job, e.name) for e in scheduler.listing()]
    names.put((job, name, listed))


def test_an_ordinary_user_sees_only_own_jobs(jobs: Jobs) -> None:
    if os.getuid() != 0:
        pytest.skip("becoming another user takes root")
    own, mine = jobs.submit("sleep 60")
    directory = jobs.cluster.directory / "tmp" / "n1" / "nobody"  # the temporary directory of tests is private
    directory.mkdir()
    os.chown(directory, pwd.getpwnam("nobody").pw_uid, -1)
    context = multiprocessing.get_context("fork")
    answers: multiprocessing.Queue[Answer] = context.Queue()
    child = context.Process(target=_as_nobody, args=(jobs.cluster.environment, str(directory), answers))
    child.start()
    job, name, listed = answers.get(timeout=60)
    child.join()
    assert (job, name) in listed
    assert (own, mine) not in listed
    assert job not in {e.job for e in jobs.scheduler.listing()}
    log = directory / "log" / f"{name}.out"
    jobs.cluster.until(lambda: log.exists() and log.read_text() == "nobody\n" * 2)
    assert State.RUNNING in jobs.states(mine)
