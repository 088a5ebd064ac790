"""Parallel programs, several at once on a node, and GPUs that tasks do not share."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from itertools import pairwise

import pytest
from private_slurm import Cluster
from slurm_campaigns import SlurmCampaign

pytestmark = pytest.mark.slurm

needs_cp2k = pytest.mark.skipif(shutil.which("cp2k.psmp") is None, reason="cp2k.psmp is not installed (.ci/install)")

XTB = """
&GLOBAL
  PROJECT water
&END GLOBAL
&FORCE_EVAL
  METHOD QS
  &DFT
    &QS
      METHOD xTB
    &END QS
    &SCF
      SCF_GUESS MOPAC
      EPS_SCF 1e-6
    &END SCF
  &END DFT
  &SUBSYS
    &CELL
      ABC 8 8 8
    &END CELL
    &COORD
      O 4.0 4.0 4.0
      H 4.8 4.6 4.0
      H 3.2 4.6 4.0
    &END COORD
  &END SUBSYS
&END FORCE_EVAL
"""
PBE = """
&GLOBAL
  PROJECT water
&END GLOBAL
&FORCE_EVAL
  METHOD QS
  &DFT
    BASIS_SET_FILE_NAME BASIS_MOLOPT
    POTENTIAL_FILE_NAME GTH_POTENTIALS
    &MGRID
      CUTOFF 120
    &END MGRID
    &XC
      &XC_FUNCTIONAL PBE
      &END XC_FUNCTIONAL
    &END XC
    &SCF
      EPS_SCF 1e-4
      &OT
      &END OT
    &END SCF
  &END DFT
  &SUBSYS
    &KIND H
      BASIS_SET SZV-MOLOPT-SR-GTH
      POTENTIAL GTH-PBE-q1
    &END KIND
    &KIND O
      BASIS_SET SZV-MOLOPT-SR-GTH
      POTENTIAL GTH-PBE-q6
    &END KIND
  &END SUBSYS
&END FORCE_EVAL
"""
WATER = """3
Lattice="{0} 0 0 0 {0} 0 0 0 {0}" Properties=species:S:1:pos:R:3 pbc="T T T"
O 2.5 2.5 {1}
H 3.3 3.1 2.5
H 1.7 3.1 2.5
"""
FLOW = """
from pathlib import Path
import hpcflow as hf
from hpcflow.tasks.reference_cp2k import cp2k

def flow(run: hf.Run, name: str):
    command = str(run.campaign / "noted.sh")
    run.map(cp2k, hf.frames(f"{name}.xyz"), task_class="mpi", template=Path(f"{name}.inp"), command=command).frames()
"""
# When it ran, on which cores, and with what around it; then the real program.
NOTED = """#!/bin/bash
cores=$(sed -n 's/Cpus_allowed_list:\\t//p' /proc/self/status)
begin=$(date +%s.%N)
cp2k.psmp "$@"
status=$?
echo "$begin $(date +%s.%N) $cores ${SLURM_STEP_ID:--} $OMP_NUM_THREADS" >>"$HPCFLOW_CAMPAIGN/noted"
exit $status
"""
MPI = """
  mpi:
    like: default
    memory: 500M
    slots: 2
    launcher: {launcher}
    environment:
      variables:
        OMPI_ALLOW_RUN_AS_ROOT: "1"
        OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: "1"
        # A virtual node has another name than the machine: mpirun would start its processes there, through srun.
        OMPI_MCA_ras: ^slurm
        OMPI_MCA_plm: isolated
"""


def label(campaign: SlurmCampaign, name: str, template: str, frames: list[str], launcher: str) -> list[list[str]]:
    """Label frames with CP2K, two at a time in one job; return what was noted of each run."""
    campaign.prepare(FLOW, limits="submit: 1", more=MPI.format(launcher=launcher))
    campaign.write("hpcflow.yaml", f"workflow: flow.py:flow\nsite: cluster\nparameters: {{name: {name}}}\n")
    campaign.write("noted.sh", NOTED).chmod(0o755)
    campaign.write(f"{name}.inp", template)
    campaign.write(f"{name}.xyz", "".join(frames))
    campaign.good("submit")
    campaign.finish_saying(limit=240)
    assert campaign.status()["tasks"]["succeeded"] == len(frames), campaign.hpcflow("explain", "cp2k/0").stdout
    campaign.good("results", "-o", "labelled.xyz")
    assert (campaign.directory / "labelled.xyz").read_text().count("REF_energy=") == len(frames)
    assert len(campaign.intents()) == 1
    return [line.split() for line in (campaign.directory / "noted").read_text().splitlines()]


def waters(count: int, edge: float = 6.0) -> list[str]:
    return [WATER.format(edge, 2.5 + 0.02 * number) for number in range(count)]


def side_by_side(runs: list[list[str]]) -> bool:
    """Whether two of them overlapped in time."""
    spans = sorted((float(run[0]), float(run[1])) for run in runs)
    return any(later[0] < earlier[1] for earlier, later in pairwise(spans))


@needs_cp2k
@pytest.mark.slow  # each start of CP2K takes a second
def test_mpirun_pins_tasks_side_by_side_to_cores_of_their_own(slurm_campaign: SlurmCampaign) -> None:
    runs = label(slurm_campaign, "xtb", XTB, waters(6), "mpirun --cpu-set {cpu_list} --bind-to core -np {ranks}")
    assert side_by_side(runs)
    assert {run[2] for run in runs} == {"0", "1"}
    assert {run[4] for run in runs} == {"1"}


@pytest.fixture
def pmix(cluster: Cluster) -> None:
    """What srun needs to start MPI programs."""
    done = subprocess.run(
        ["srun", "--mpi=pmix", "--mem=10", "true"],
        env={**os.environ, **cluster.environment},
        capture_output=True,
        text=True,
        check=False,
    )
    if "Invalid MPI type" in done.stderr:
        pytest.skip("srun cannot load PMIx (package libpmix-dev, see .ci/packages-slurm)")


@needs_cp2k
@pytest.mark.usefixtures("pmix")
@pytest.mark.slow  # each start of CP2K takes a second
def test_srun_starts_tasks_side_by_side_as_steps_of_one_job(slurm_campaign: SlurmCampaign) -> None:
    launcher = "srun --exact --nodes=1 --ntasks={ranks} --cpus-per-task={threads} --mem={memory}M --mpi=pmix"
    runs = label(slurm_campaign, "xtb", XTB, waters(6), launcher)
    assert side_by_side(runs)
    assert sorted(int(run[3]) for run in runs) == list(range(6))


@needs_cp2k
@pytest.mark.slow  # a real, if small, DFT calculation
def test_one_pbe_water(slurm_campaign: SlurmCampaign) -> None:
    label(slurm_campaign, "pbe", PBE, waters(1, 5.0), "mpirun -np {ranks}")
    line = (slurm_campaign.directory / "labelled.xyz").read_text().splitlines()[1]
    energy = float(line.split("REF_energy=")[1].split()[0])
    assert -500 < energy < -420  # eV, valence electrons only


SPAN = """
import hpcflow as hf

def flow(run: hf.Run):
    command = "$HPCFLOW_LAUNCH cp2k.psmp -i {path}"
    run.map(command, [{"path": str(run.campaign / "water.inp")}], name="wide", task_class="wide").results()
"""
WIDE = """
  wide:
    like: default
    nodes: 2
    span: true
    memory: 500M
    launcher: srun --nodes={nodes} --ntasks={ranks} --mpi=pmix
    # The nodes of the test cluster are one machine: shared memory would be taken for a way between them.
    environment: {variables: {OMPI_MCA_btl: "self,tcp"}}
"""


@needs_cp2k
@pytest.mark.usefixtures("pmix")
@pytest.mark.slow  # CP2K across two nodes
def test_a_task_spans_two_nodes(slurm_campaign: SlurmCampaign) -> None:
    campaign = slurm_campaign.prepare(SPAN, more=WIDE)
    campaign.write("water.inp", XTB)
    campaign.good("submit")
    campaign.finish_saying(limit=180)
    (result,) = campaign.results()
    assert "Total number of message passing processes                             2" in result["stdout"]
    assert "#SBATCH --nodes=2\n" in (campaign.array("wide") / "jobs.txt").read_text()


GPU = """
import os, time
import hpcflow as hf

def look(x):
    time.sleep(0.3)
    names = ("CUDA_VISIBLE_DEVICES", "HPCFLOW_GPUS", "HPCFLOW_CORES", "SRUN_CPUS_PER_TASK")
    return [os.environ.get(name) for name in names] + [time.time()]

def flow(run: hf.Run):
    run.map(look, range(6), task_class="gpu").results()
"""
SHARED = """
  gpu: {like: default, slots: 2, gpus: 1}
"""
WHOLE = """
  gpu: {like: default, queue: whole, gpus: 1, memory: 300M}
nodes:
  virtual: {cores: 4, gpus: 2, memory: 4000M}
"""


@pytest.mark.parametrize("whole", [False, True], ids=["two slots", "whole node"])
def test_each_slot_has_a_gpu_of_its_own(slurm_campaign: SlurmCampaign, whole: bool) -> None:
    campaign = slurm_campaign.prepare(GPU, limits="submit: 1", more=WHOLE if whole else SHARED)
    if whole:
        path = campaign.directory / "sites" / "cluster.yaml"
        queue = "  whole: {options: {partition: debug}, node: virtual, exclusive: true}\n"
        path.write_text(path.read_text().replace("queues:\n", "queues:\n" + queue))
    campaign.good("submit")
    campaign.finish_saying()
    results = campaign.results()
    assert {result[0] for result in results} == {"0", "1"}
    assert {result[1] for result in results} == {"1"}
    assert {result[3] for result in results} == {"1"}
    for gpu in "01":
        ends = sorted(result[4] for result in results if result[0] == gpu)
        assert all(later - earlier >= 0.28 for earlier, later in pairwise(ends)), json.dumps(results)
