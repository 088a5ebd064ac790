"""A worker that srun starts in an image, as the Container Engine does with ``--environment``: what it gets of the node.

The plugin that does it is at one site. Here srun is the real one, and a stand-in in front of it takes that option away.
"""

from __future__ import annotations

import json
import sys

import pytest
from slurm_campaigns import SlurmCampaign

pytestmark = pytest.mark.slurm

FLOW = """
import os, subprocess, time
import hpcflow as hf

NAMES = ("SLURM_CPUS_ON_NODE", "SLURM_GPUS_ON_NODE", "CUDA_VISIBLE_DEVICES", "HPCFLOW_IMAGE", "IN_IMAGE")

def look(x):
    time.sleep(0.5)
    return {name: os.environ.get(name) for name in NAMES}

def flow(run: hf.Run):
    run.map(look, range(4), task_class="inside")
    run.map('eval "$HPCFLOW_LAUNCH printenv IN_IMAGE SLURM_NTASKS"', range(2), name="program", task_class="around")
"""
MORE = """
nodes: {{n: {{cores: 4, gpus: 2, memory: 4000M}}}}
container: {{engine: edf}}
queues:
  whole:
    node: n
    exclusive: true
    options: {{partition: debug, gpus-per-node: null, gpus-per-task: "{{slot_gpus}}"}}
classes:
  inside:
    like: default
    queue: whole
    memory: null
    cores: 2
    gpus: 1
    python: {python}
    container: {{image: mace}}
    environment: {{variables: {{PATH: {path}}}}}
  around:
    like: inside
    ranks: 2
    gpus: null
    python: null
    launcher: srun --exact --nodes=1 --ntasks={{ranks}} --cpus-per-task={{threads}}
    container: {{wraps: command}}
"""
SRUN = (
    "for word; do",
    "  shift",
    '  case $word in --environment=*) export IN_IMAGE="${word#*=}" ;; *) set -- "$@" "$word" ;; esac',
    "done",
    'exec "$REAL" "$@"',
)


def test_the_step_of_a_worker_takes_the_whole_node(slurm_campaign: SlurmCampaign) -> None:
    campaign = slurm_campaign.prepare(flow=FLOW)
    path = campaign.directory / "sites" / "cluster.yaml"
    more = MORE.format(python=json.dumps(sys.executable), path=json.dumps(campaign.path))
    queues, classes = more.partition("queues:\n")[2].split("classes:\n")
    text = path.read_text().replace("queues:\n", f"queues:\n{queues}")
    path.write_text(f"{text}{classes}{more.partition('queues:')[0]}")
    campaign.stand_in("srun", *SRUN)
    campaign.good("submit", "--yes")
    campaign.finish_saying(limit=90)
    results = campaign.results("look")
    assert {r["IN_IMAGE"] for r in results} == {"mace"}
    # Each process of the job has two CPUs and one GPU; the worker has to have all of them.
    assert {(r["SLURM_CPUS_ON_NODE"], r["SLURM_GPUS_ON_NODE"]) for r in results} == {("4", "2")}
    assert {r["CUDA_VISIBLE_DEVICES"] for r in results} == {"0", "1"}
    assert all(r["HPCFLOW_IMAGE"].endswith(" - mace") for r in results)
    assert {r["stdout"] for r in campaign.results("program")} == {"mace\n2\nmace\n2\n"}
