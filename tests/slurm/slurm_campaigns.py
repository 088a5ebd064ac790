"""Campaigns on the test cluster: a site file for it, and what is compared afterwards.

Every task of ``FLOW`` writes a line when it begins and one when it ends into the file ``log`` of the
campaign, with the job element that it runs in. What really ran is read from there and from nowhere else.
"""

from __future__ import annotations

import json
import os
import pwd
import re
import subprocess
import threading
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from campaign_harness import Campaign, Finished, wait_for
from private_slurm import Cluster

FLOW = """
import os, time
import hpcflow as hf

def note(word, x):
    line = " ".join([word, str(x), os.environ["HPCFLOW_ATTEMPT"], os.environ.get("HPCFLOW_SCHEDULER_ID", "-")])
    log = os.open(os.environ["HPCFLOW_CAMPAIGN"] + "/log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(log, line.encode() + b"\\n")
    os.close(log)

def work(x, seconds=0.0):
    note("begin", x)
    time.sleep(seconds)
    note("end", x)
    return x * x

def flow(run: hf.Run, count: int = 20, seconds: float = 0.0):
    run.map(work, range(count), task_class="work", seconds=seconds).results()
"""
YAML = "workflow: flow.py:flow\nsite: cluster\nparameters: {{{parameters}}}\n"
SITE = """
title: the test cluster
scheduler:
  kind: slurm
  min_interval: 0
  settle: 2s
  beat: 0.5s
  submit_from_nodes: true
  environment: {{SLURM_CONF: {conf}, PATH: "{path}"}}
limits: {{{limits}}}
shell: /bin/bash
queues:
  debug: {{options: {{partition: debug}}}}
  low: {{options: {{partition: low}}}}
classes:
  default: {{queue: debug, walltime: 10m, memory: 100M, margin: 5s, grace: 2s}}
  work: {{like: default{work}}}
  reference: {{like: default}}
"""
LEARNING = """
workflow: learning
site: cluster
seed: 3
parameters:
  start: start.xyz
  arguments: {method: GFN2-xTB}
  iterations: 1
  members: 2
  copies: 1
  rattle: 0.05
  valid: 0.15
  test: 0.2
  mace: {model: ScaleShiftMACE, r_max: 4.0, num_channels: 4, max_L: 0, num_interactions: 1, correlation: 1, max_ell: 1,
         max_num_epochs: 2, batch_size: 5, default_dtype: float32}
  walkers: 2
  steps: 10
  every: 5
  lo: 0.0
  hi: 50.0
  max_new: 2
  min_new: 1
  device: cpu
"""
"""The smallest campaign that really trains and samples; beside it lies the ``start.xyz`` of the example."""
SETTLE = 2.0


@dataclass(frozen=True)
class Life:
    """One run of one task, from the log that tasks write."""

    task: int
    attempt: int
    element: str
    ended: bool


class SlurmCampaign(Campaign):
    """A campaign whose site is the test cluster.

    Parameters
    ----------
    cluster
        The running cluster.
    user
        Who owns it and types the commands, if another than who runs the tests.
    python
        The interpreter of that user, and where it finds packages.
    """

    def __init__(
        self,
        directory: Path,
        home: Path,
        cluster: Cluster,
        user: str | None = None,
        python: tuple[str, str] | None = None,
    ) -> None:
        super().__init__(directory, home)
        self.cluster = cluster
        self.user = user
        self.bin = home / "bin"
        """In front of PATH, for stand-ins."""
        self.bin.mkdir(exist_ok=True)
        self.polls = 0
        self.path = f"{self.bin}:{cluster.environment['PATH']}"
        self.environment["PATH"] = self.path
        self._python = python
        if python is not None:
            self.environment["PYTHONPATH"] = python[1]

    # -- the user's files

    def site(self, limits: str = "submit: 4", work: str = "", more: str = "", name: str = "cluster") -> None:
        """Write the site file; ``work`` has more keys of the class of that name, with a comma before each."""
        text = SITE.format(conf=self.cluster.environment["SLURM_CONF"], path=self.path, limits=limits, work=work)
        self.write(f"sites/{name}.yaml", text + more)

    def prepare(self, flow: str = FLOW, parameters: str = "", **site: str) -> SlurmCampaign:
        """Write ``flow.py``, ``hpcflow.yaml`` and the site file."""
        self.write("flow.py", flow)
        self.write("hpcflow.yaml", YAML.format(parameters=parameters))
        self.site(**site)
        return self

    def stand_in(self, name: str, *lines: str) -> Path:
        """Put a shell script in front of a scheduler's command; ``$REAL`` is the real one."""
        real = next(
            str(Path(part) / name)
            for part in self.cluster.environment["PATH"].split(":")
            if (Path(part) / name).exists()
        )
        script = self.bin / name
        new = self.bin / f"{name}.new"
        new.write_text("\n".join(["#!/bin/bash", f"REAL={real}", f"HERE={self.home}", *lines, ""]))
        new.chmod(0o755)
        new.rename(script)
        return script

    def honest(self, name: str) -> None:
        """Take a stand-in away."""
        (self.bin / name).unlink(missing_ok=True)

    # -- commands

    def command(self, *arguments: str) -> list[str]:
        """With the interpreter of another user, if it is another user's."""
        if self.user is None or self._python is None:
            return super().command(*arguments)
        return [*as_user(self.user), self._python[0], str(self._launcher), *arguments]

    def hpcflow(self, *arguments: str, kill_at: int = 0, **environment: str) -> Finished:
        """Run one command; that of another user as a process of that user, and not in a fork of this one."""
        if self.user is None or self._python is None:
            return super().hpcflow(*arguments, kill_at=kill_at, **environment)
        assert not kill_at, "only the own user's commands are killed"
        env = {**self.environment, **environment}
        done = subprocess.run(
            self.command(*arguments), cwd=self.directory, env=env, capture_output=True, text=True, timeout=120
        )
        return Finished(done.returncode, done.stdout, done.stderr, 0)

    def give_to_user(self) -> None:
        """Everything written so far becomes the other user's."""
        assert self.user is not None
        subprocess.run(["chown", "-R", self.user, str(self.home), str(self.directory)], check=True)

    def poll(self) -> Finished:
        """Count it, too."""
        self.polls += 1
        return super().poll()

    def fails(self, *arguments: str) -> Finished:
        """Run a command that must leave with attention."""
        done = self.hpcflow(*arguments)
        assert done.returncode == 4, f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done

    def poll_until(self, condition: Any, limit: float = 60.0, pause: float = 0.2) -> str:
        """Poll until something is so; return all that was said."""
        said = ""
        end = time.monotonic() + limit
        while not condition():
            assert time.monotonic() < end, f"never so; said: {said}\n{self.status()}"
            said += self.poll().stdout
            time.sleep(pause)
        return said

    def finish_saying(self, limit: float = 90.0, pause: float = 0.2) -> str:
        """Poll until the campaign is done; return all that was said."""
        said = ""
        end = time.monotonic() + limit
        while True:
            done = self.poll()
            said += done.stdout + done.stderr
            if done.returncode == 0:
                return said
            assert done.returncode in (3, 75), said
            assert time.monotonic() < end, f"still not done: {said}\n{self.status()}"
            time.sleep(pause)

    # -- what there is

    def lives(self) -> list[Life]:
        """Every run of every task, in the order in which they began."""
        begun: dict[tuple[int, int, str], bool] = {}
        path = self.directory / "log"
        for line in path.read_text().splitlines() if path.exists() else []:
            word, task, attempt, element = line.split()
            begun[int(task), int(attempt), element] = word == "end"
        return [Life(*key, ended) for key, ended in begun.items()]

    def ran(self) -> Counter[int]:
        """How often each task began."""
        return Counter(life.task for life in self.lives())

    def running(self) -> list[int]:
        """Tasks that have begun and not ended."""
        return [life.task for life in self.lives() if not life.ended]

    def submitted(self) -> dict[str, str]:
        """Id of each job that the journal says the cluster has taken, by token."""
        ours = {e["job"]: e["token"] for e in self.journal() if e["kind"] == "intent" and e["site"] != "here"}
        return {ours[e["job"]]: e["id"] for e in self.journal() if e["kind"] == "submitted" and e["job"] in ours}

    def intents(self) -> list[str]:
        """Tokens of all jobs that the cluster was to be asked for."""
        return [e["token"] for e in self.journal() if e["kind"] == "intent" and e["site"] != "here"]

    def queue(self, *states: str) -> list[str]:
        """Elements (``ID_INDEX``) of this campaign that wait or run."""
        tokens = set(self.intents())
        wanted = ",".join(states or ("PENDING", "RUNNING", "COMPLETING", "SUSPENDED"))
        rows = self.cluster.run("squeue", "--noheader", "--array", f"--states={wanted}", "--format=%i|%j").splitlines()
        return [row.split("|")[0] for row in rows if row.split("|")[1] in tokens]

    def accounted(self) -> dict[str, set[str]]:
        """What accounting knows: the ids of jobs, by name."""
        rows = self.cluster.run("sacct", "-XPn", "--allusers", "--starttime=now-1days", "-o", "JobID,JobName")
        found: dict[str, set[str]] = {}
        for row in rows.splitlines():
            identity, _, name = row.partition("|")
            found.setdefault(name, set()).add(re.split(r"[_\[]", identity)[0])
        return found

    def check_accounts(self) -> None:
        """Journal, accounting and the log of the tasks agree on which jobs there were, each under its one id."""
        ours = self.submitted()
        worked = {life.element.partition("_")[0] for life in self.lives()}
        assert worked <= set(ours.values())
        if not self.cluster.accounting:
            return

        def agree() -> bool:
            known = self.accounted()
            wrong = [token for token in self.intents() if known.get(token, {ours.get(token)}) != {ours.get(token)}]
            # What was cancelled before it began may be missing there.
            return not wrong and worked <= {i for token in ours for i in known.get(token, ())}

        wait_for(agree, 20, f"journal {ours}, accounting {self.accounted()}, tasks {worked}")

    def hellos(self) -> list[dict[str, Any]]:
        """What the workers of live arrays said when they began, in that order."""
        lines = [
            path.read_text().partition("\n")[0]
            for path in self.database.glob("arrays/*/work/out/hf*")
            if path.is_file()
        ]
        return sorted((json.loads(line) for line in lines if line), key=lambda hello: hello["time"])


def as_user(name: str) -> list[str]:
    """What stands in front of a command that another user runs."""
    entry = pwd.getpwnam(name)
    # env: what setpriv itself starts is still looked up with root's rights.
    return ["setpriv", f"--reuid={entry.pw_uid}", f"--regid={entry.pw_gid}", "--clear-groups", "env"]


class QueueWatch:
    """Looks at the queue all the time, in a thread: how many elements were there at once."""

    def __init__(self, campaign: SlurmCampaign) -> None:
        self.most = 0
        self.most_running = 0
        self.most_links_waiting = 0
        self._campaign = campaign
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def _watch(self) -> None:
        env = {**os.environ, **self._campaign.cluster.environment}
        command = ["squeue", "-hr", "-t", "PENDING,RUNNING", "-o", "%t %j"]
        while not self._stop.wait(0.05):
            said = subprocess.run(command, env=env, capture_output=True, text=True, check=False).stdout
            rows = [line.split() for line in said.splitlines() if " hf" in line]
            self.most = max(self.most, len(rows))
            self.most_running = max(self.most_running, sum(1 for state, _ in rows if state == "R"))
            links = [state for state, name in rows if name.startswith("hf000")]
            self.most_links_waiting = max(self.most_links_waiting, links.count("PD"))

    def __enter__(self) -> QueueWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
