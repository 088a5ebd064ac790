"""Campaigns on the stand-ins for PBS and LSF, through the command line.

Every task of ``FLOW`` writes a line when it begins and one when it ends into the file ``log`` of the
campaign, with the job element that it runs in.
"""

from __future__ import annotations

import json
import os
import re
import signal
import time
from typing import Any

from campaign_harness import Campaign, wait_for
from standin_jobs import end_keepers, environment

FLOW = """
import os, time
import hpcflow as hf

def note(word, x):
    line = " ".join([word, str(x), os.environ["HPCFLOW_SCHEDULER_ID"], os.environ.get("STANDIN_NODE", "-")])
    log = os.open(os.environ["HPCFLOW_CAMPAIGN"] + "/log", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(log, line.encode() + b"\\n")
    os.close(log)

def work(x, seconds=0.0, fails=()):
    note("begin", x)
    time.sleep(seconds)
    if x in fails and os.environ["HPCFLOW_ATTEMPT"] == "1":
        raise ValueError("not yet")
    note("end", x)
    return x * x

def flow(run: hf.Run, count: int = 8, seconds: float = 0.0, fails: list = []):
    run.map(work, range(count), task_class="work", seconds=seconds, fails=fails).results()
"""
STEPS = """
import os, time
from pathlib import Path
import hpcflow as hf

@hf.task(version=1, checkpoint=True)
def walk(x, steps):
    done = Path("done")
    for step in range(int(done.read_text()) if done.exists() else 0, steps):
        time.sleep(0.1)
        done.write_text(str(step + 1))
    return steps

def flow(run: hf.Run, steps: int = 20):
    run.map(walk, range(1), task_class="work", steps=steps).results()
"""
SITE = """
scheduler:
  kind: {kind}
  min_interval: 0
  settle: 1s
  beat: 0.3s
  environment: {environment}
limits: {limits}
shell: /bin/bash
classes:
  default: {{walltime: 10m, margin: 5s, grace: 1s}}
  work: {{like: default{work}}}
"""


class BatchCampaign(Campaign):
    """A campaign whose site is a stand-in for PBS or LSF."""

    kind = ""

    def prepare(
        self,
        kind: str,
        flow: str = FLOW,
        parameters: str = "",
        work: str = "",
        limits: str = "{submit: 3}",
        **settings: str,
    ) -> BatchCampaign:
        """Write ``flow.py``, ``hpcflow.yaml`` and the site file; ``work`` has more keys of that class."""
        self.kind = kind
        self.state = self.directory.parent / "state"
        self.switches = {"mute": self.state / "mute", "away": self.state / "away"}
        settings = {**settings, **{name: str(path) for name, path in self.switches.items()}}
        variables = environment(self.directory.parent, **settings)
        self.write("flow.py", flow)
        self.write("hpcflow.yaml", f"workflow: flow.py:flow\nsite: standin\nparameters: {{{parameters}}}\n")
        site = SITE.format(kind=kind, environment=json.dumps(variables), work=work, limits=limits)
        self.write("sites/standin.yaml", site)
        return self

    def turn(self, switch: str, on: bool, text: str = "") -> None:
        """Make the stand-in behave badly, or well again."""
        self.switches[switch].parent.mkdir(exist_ok=True)
        self.switches[switch].unlink(missing_ok=True)
        if on:
            self.switches[switch].write_text(text)

    def end(self) -> None:
        """Kill everything that the stand-in has started."""
        end_keepers(self.directory.parent)

    # -- what there is

    def lines(self, word: str) -> list[list[str]]:
        """Task, element and node of every task that has begun, or ended."""
        path = self.directory / "log"
        split = [line.split() for line in path.read_text().splitlines()] if path.exists() else []
        return [rest for first, *rest in split if first == word]

    def at_work(self, count: int) -> None:
        """Wait until so many tasks have begun."""
        wait_for(lambda: len(self.lines("begin")) >= count, say=f"{self.elements()}")

    def elements(self) -> list[dict[str, Any]]:
        """Everything that the batch system was ever given, in its own words."""
        found = []
        for job in sorted(self.state.glob("*/job"), key=lambda path: int(path.parent.name)):
            description = json.loads(job.read_text())
            for path in sorted(job.parent.glob("*.element")):
                element = json.loads(path.read_text())
                found.append({"job": int(job.parent.name), "name": description["name"], **element})
        return found

    def living(self) -> int:
        return sum(element["state"] in ("waiting", "running") for element in self.elements())

    def kill(self) -> None:
        """Kill all that one running element consists of."""
        element = next(e for e in self.elements() if e["state"] == "running")
        os.killpg(element["pid"], signal.SIGKILL)

    def closed(self) -> list[tuple[str, list[str]]]:
        """Causes of workers that did not say themselves why they left, and what tasks were charged with."""
        return [(e["cause"], sorted(e["charged"].values())) for e in self.journal() if e["kind"] == "close"]

    def calls(self, program: str) -> int:
        """How often a program of the batch system was called."""
        path = self.state / "calls"
        return path.read_text().split().count(program) if path.exists() else 0

    def submissions(self) -> list[dict[str, Any]]:
        return [e for e in self.journal() if e["kind"] == "intent" and e["site"] == "standin"]

    def said_until(self, words: str, limit: float = 60.0) -> str:
        """Poll until a poll says this, and return all that was said."""
        said = ""
        end = time.monotonic() + limit
        while not re.search(words, said):
            assert time.monotonic() < end, f"never said; only: {said}"
            done = self.poll()
            said += done.stdout + done.stderr
            time.sleep(0.1)
        return said
