"""What hpcflow costs on a Slurm, against what the same Slurm does without it: on a private one, started for this.

All nodes are this machine: absolute times say little where they share its cores, but both sides of a ratio do.
"""

from __future__ import annotations

import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.ratios import ROOT, Command, Row, seconds
from hpcflow.database import records
from hpcflow.database.results import read_results

if TYPE_CHECKING:
    from private_slurm import Cluster

WORKERS = 8
TASKS = 10_000
TASK_SECONDS = 0.02
ROUNDS = 3
STAGES = 6
INTERVAL = 10.0
UNEVEN_TASKS = 400
MEDIAN = 0.075
ARRAYS = 5
POLLS = 10

SITE = """
title: a private Slurm
scheduler:
  kind: slurm
  min_interval: 0
  settle: 2s
  submit_from_nodes: true
  environment: {{SLURM_CONF: {conf}, PATH: "{path}"}}
queues: {{debug: {{options: {{partition: debug}}}}}}
classes: {{default: {{queue: debug, walltime: 10m, memory: 100M, workers: {workers}}}}}
"""
STAGES_FLOW = """
import time

def work(x):
    time.sleep(0.5)
    return x

def stages(run, count: int):
    for i in run.iterations(count):
        list(run.map(work, range(100 * i, 100 * i + 8)).results())
"""
SIDE_BY_SIDE_FLOW = """
def work(x):
    import time
    time.sleep(600)

def side_by_side(run, count: int):
    for i in range(count):
        run.map(work, [i], name=f"part{i}")
"""
BARE = """#!/bin/sh
for i in $(seq {count}); do sleep {seconds}; done
touch {place}/$SLURM_ARRAY_TASK_ID
"""
COUNTING = '#!/bin/sh\necho x >>"{log}"\nexec "{real}" "$@"\n'


@dataclass
class Campaign:
    """A campaign on the private Slurm."""

    directory: Path
    cluster: Cluster

    def write(self, workflow: str, parameters: dict[str, Any], **files: str) -> None:
        """Write ``hpcflow.yaml``, the site and other files."""
        self.directory.mkdir(parents=True)
        (self.directory / "sites").mkdir()
        environment = self.cluster.environment
        path = f"{self.directory / 'bin'}:{environment['PATH']}"
        site = SITE.format(conf=environment["SLURM_CONF"], path=path, workers=WORKERS)
        (self.directory / "sites" / "private.yaml").write_text(site)
        text = {"workflow": workflow, "site": "private", "parameters": parameters}
        (self.directory / "hpcflow.yaml").write_text(json.dumps(text))
        for name, content in files.items():
            (self.directory / name.replace("_", ".")).write_text(content)

    def hpcflow(self, *words: str) -> str:
        """Run one command."""
        return Command(self.directory, words).run()

    def array(self, number: int) -> Path:
        """The directory of an array, once there is one."""
        found = list((self.directory / ".hpcflow" / "arrays").glob(f"{number:04d}-*"))
        return found[0] if found else self.directory / "none yet"

    def tasks(self, number: int) -> list[tuple[float, float]]:
        """When each task of a finished array began and ended."""
        headers = [record.header for record in read_results(self.array(number))]
        return [(header["start"], header["start"] + header["seconds"]) for header in headers]

    def workers(self, number: int) -> list[list[dict[str, Any]]]:
        """What each worker of a live array has written."""
        files = [path for path in (self.array(number) / "work" / "out").glob("*") if path.is_file()]
        return [[record.header for record in records.scan(path.read_bytes())] for path in files]

    def left(self) -> bool:
        """Whether the workers of the first array have come and said goodbye."""
        workers = self.workers(1)
        return bool(workers) and all(worker and worker[-1]["kind"] == "goodbye" for worker in workers)


def wait(what: Callable[[], object], limit: float = 300.0) -> None:
    """Wait for something that happens by itself."""
    end = time.monotonic() + limit
    while not what():
        if time.monotonic() > end:
            raise RuntimeError("a benchmark waited in vain")
        time.sleep(0.05)


@contextmanager
def private_cluster() -> Iterator[tuple[Cluster, Path]]:
    """Start a Slurm, and make a directory for campaigns."""
    from private_slurm import running_cluster

    with running_cluster() as cluster, tempfile.TemporaryDirectory(prefix="benchmark-") as name:
        yield cluster, Path(name)


def measure() -> list[Row]:
    """Return all rows; one that says what is missing, where there is no Slurm."""
    sys.path.insert(0, str(ROOT / "tests" / "slurm"))
    from private_slurm import missing_programs

    if missing := missing_programs():
        return [Row("Slurm", f"not measured: {', '.join(missing)} not found")]
    with private_cluster() as (cluster, place):
        return [
            *throughput(cluster, place / "throughput"),
            *listings(cluster, place / "listings"),
            *gaps(cluster, place / "gaps"),
            *idle(cluster, place / "idle"),
        ]


def throughput(cluster: Cluster, place: Path) -> list[Row]:
    """Many short commands, against eight elements of one array that loop over them."""
    pairs = []
    for number in range(ROUNDS):
        bare = place / f"bare{number}"
        campaign = Campaign(place / f"campaign{number}" / "c", cluster)
        rows = "n\n" + "".join(f"{n}\n" for n in range(TASKS))
        campaign.write("map", {"rows": "rows.csv", "command": f"sleep {TASK_SECONDS}"}, rows_csv=rows)
        campaign.hpcflow("submit", "--dry-run")  # what is written once, such as compiled modules, is there afterwards
        pairs.append((seconds(partial(_all_of, campaign)), seconds(partial(_loop, cluster, bare))))
        cluster.until(lambda: not cluster.run("squeue", "--noheader", "--states=RUNNING,COMPLETING"))
    ours, theirs = min(pairs, key=lambda pair: pair[0] / pair[1])
    what = f"{TASKS:,} commands of {1000 * TASK_SECONDS:.0f} ms on {WORKERS} workers"
    ratios = ", ".join(f"{ours / theirs:.2f}" for ours, theirs in pairs)
    against = f"a bare array that loops: {theirs:.1f} s (all rounds: {ratios})"
    return [Row(what, f"{ours:.1f} s", against, ours / theirs, "1.15")]


def _all_of(campaign: Campaign) -> None:
    """Submit, and wait until all results are collected."""
    campaign.hpcflow("submit", "--yes", "--chain", "600")
    wait(lambda: (campaign.array(1) / "results").exists())


def _loop(cluster: Cluster, place: Path) -> None:
    place.mkdir(parents=True)
    script = place / "job.sh"
    script.write_text(BARE.format(count=TASKS // WORKERS, seconds=TASK_SECONDS, place=place))
    log = ["--mem=100", "--output=/dev/null"]
    cluster.run("sbatch", f"--array=0-{WORKERS - 1}", *log, str(script))
    wait(lambda: len(list(place.glob("[0-9]*"))) == WORKERS)


def listings(cluster: Cluster, place: Path) -> list[Row]:
    """How often a tick asks for the queue, where several arrays have workers."""
    campaign = Campaign(place, cluster)
    campaign.write("flow.py:side_by_side", {"count": ARRAYS}, flow_py=SIDE_BY_SIDE_FLOW)
    log = place / "asked"
    real = subprocess.run(["which", "squeue"], capture_output=True, text=True, check=True).stdout.strip()
    (place / "bin").mkdir()
    (place / "bin" / "squeue").write_text(COUNTING.format(log=log, real=real))
    (place / "bin" / "squeue").chmod(0o755)
    campaign.hpcflow("submit", "--yes")
    wait(lambda: all(campaign.workers(number) for number in range(1, ARRAYS + 1)))
    log.write_text("")
    for _ in range(POLLS):
        campaign.hpcflow("poll")
    asked = log.read_text().count("x")
    campaign.hpcflow("cancel")
    return [Row(f"squeue in a tick, {ARRAYS} arrays at work", f"{asked / POLLS:g}", goal="1")]


def gaps(cluster: Cluster, place: Path) -> list[Row]:
    """From the end of one stage to the start of the next: with a chain, and with polls as from cron."""
    slurm = statistics.median(_latency(cluster, place / f"start{number}") for number in range(STAGES))
    chained = Campaign(place / "chained" / "c", cluster)
    chained.write("flow.py:stages", {"count": STAGES}, flow_py=STAGES_FLOW)
    chained.hpcflow("submit", "--yes", "--chain", "3600")
    wait(lambda: (chained.array(STAGES) / "results").exists())
    polled = Campaign(place / "polled" / "c", cluster)
    polled.write("flow.py:stages", {"count": STAGES}, flow_py=STAGES_FLOW)
    polled.hpcflow("submit", "--yes")
    while not (polled.array(STAGES) / "results").exists():
        time.sleep(INTERVAL)
        polled.hpcflow("poll")
    against = f"a job of Slurm begins after {slurm:.1f} s"
    gap, waited = _gap(chained), _gap(polled)
    return [
        Row("gap between stages, --chain", f"{gap:.1f} s", against, None, "10 s"),
        Row(f"gap between stages, poll each {INTERVAL:g} s", f"{waited:.1f} s", against, waited / INTERVAL, "1"),
    ]


def _gap(campaign: Campaign) -> float:
    """Median of the seconds from the end of the last task of a stage to the start of the first of the next."""
    stages = [campaign.tasks(number) for number in range(1, STAGES + 1)]
    ends = [max(end for _, end in stage) for stage in stages]
    starts = [min(start for start, _ in stage) for stage in stages]
    return statistics.median(start - end for end, start in zip(ends, starts[1:], strict=False))


def _latency(cluster: Cluster, place: Path) -> float:
    """Seconds from a submission to the first line of the job."""
    place.parent.mkdir(parents=True, exist_ok=True)
    begun = time.time()
    cluster.run("sbatch", "--mem=100", "--output=/dev/null", f"--wrap=date +%s.%N >{place}.new; mv {place}.new {place}")
    wait(place.exists)
    return float(place.read_text()) - begun


def idle(cluster: Cluster, place: Path) -> list[Row]:
    """Node-seconds between the end of a worker's last task and the end of the array's last."""
    shares = []
    for number in range(ROUNDS):
        draw = random.Random(number)
        items = [{"t": round(draw.lognormvariate(0.0, 1.0) * MEDIAN, 4)} for _ in range(UNEVEN_TASKS)]
        campaign = Campaign(place / f"campaign{number}" / "c", cluster)
        campaign.write("map", {"items": items, "command": "sleep {t}"})
        campaign.hpcflow("submit", "--yes")
        wait(campaign.left)
        shares.append(_idle(campaign.workers(1)))
        campaign.hpcflow("poll")
    what = f"node-seconds idle at the end, {UNEVEN_TASKS} log-normal tasks"
    rounds = ", ".join(f"{100 * share:.1f}" for share in shares)
    return [Row(what, f"{100 * statistics.median(shares):.1f} %", f"rounds: {rounds}", goal="10 %")]


def _idle(workers: list[list[dict[str, Any]]]) -> float:
    """Share of the workers' time that passed after their last task."""
    tasks = [[header for header in worker if header["kind"] == "task"] for worker in workers]
    if sum(map(len, tasks)) != UNEVEN_TASKS:
        raise RuntimeError(f"{sum(map(len, tasks))} tasks have run")
    ends = [max(task["start"] + task["seconds"] for task in mine) for mine in tasks if mine]
    begun = [worker[0]["time"] for worker, mine in zip(workers, tasks, strict=True) if mine]
    last = max(ends)
    return sum(last - end for end in ends) / sum(last - start for start in begun)
