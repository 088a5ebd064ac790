"""A shipped definition, really built: as an ordinary user, from Debian packages, without a registry."""

import json
import re
import subprocess

import pytest
from image_lab import BoxedCampaign, Lab

pytestmark = pytest.mark.container

WATER = """3
Lattice="8 0 0 0 8 0 0 0 8" Properties=species:S:1:pos:R:3 pbc="F F F"
O 4.00 4.00 4.00
H 4.96 4.00 4.00
H 3.76 4.93 4.00
"""
XTB = """\
&FORCE_EVAL
  METHOD QUICKSTEP
  &DFT
    &QS
      METHOD XTB
      &XTB
        DO_EWALD F
      &END XTB
    &END QS
    &POISSON
      PERIODIC NONE
      POISSON_SOLVER MT
    &END POISSON
    &SCF
      SCF_GUESS MOPAC
      EPS_SCF 1e-7
    &END SCF
  &END DFT
  &SUBSYS
    &CELL
      ABC 8 8 8
      PERIODIC NONE
    &END CELL
  &END SUBSYS
&END FORCE_EVAL
"""
GFN1_WATER = -156.971316
"""Energy (eV) of this molecule with GFN1-xTB, from CP2K 2023.1 outside of any container."""

HARTREE = 27.211386
PROGRAM = """
import hpcflow as hf

def flow(run: hf.Run):
    command = 'cp "$HPCFLOW_CAMPAIGN"/water.inp . && eval "$HPCFLOW_LAUNCH cp2k -i water.inp"'
    run.map(command, range(1), name="water", task_class="reference")
"""


# About half a minute for an installation of CP2K, with what it downloads.
@pytest.mark.slow
def test_an_ordinary_user_builds_cp2k(lab: Lab) -> None:
    image = lab.cp2k
    assert f"{image}: " in lab.said.stdout
    assert ", x86_64, digest " in lab.said.stdout
    assert "Build complete" in lab.said.stderr
    assert [path.name for path in image.parent.glob("*.sif*")] == ["cp2k.sif"]
    command = ["apptainer", "inspect", "--json", str(image)]
    said = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert said["data"]["attributes"]["labels"]["org.opencontainers.image.title"].startswith("hpcflow: CP2K 2025.1")


def reference(lab: Lab) -> tuple[str, ...]:
    """A site whose class reference runs programs in the image, with MPI inside, on two cores."""
    root = "environment: {variables: {OMPI_ALLOW_RUN_AS_ROOT: 1, OMPI_ALLOW_RUN_AS_ROOT_CONFIRM: 1}}"
    container = f"container: {{image: {json.dumps(str(lab.cp2k))}, wraps: command}}"
    launcher = 'launcher: "{container} mpirun --oversubscribe -np {ranks}"'
    keys = f"{{cores: 2, ranks: 2, {container}, {launcher}, {root}}}"
    return "container: {engine: apptainer}", f"classes: {{reference: {keys}}}"


@pytest.mark.slow  # waits for the build of the test above
def test_labels_come_from_an_image_with_mpi_inside(boxed: BoxedCampaign, lab: Lab) -> None:
    boxed.write("water.xyz", WATER)
    boxed.write("xtb.inp", XTB)
    boxed.write(
        "hpcflow.yaml",
        "workflow: label\nsite: local\nparameters:\n  structures: water.xyz\n"
        "  calculator: hpcflow.tasks.reference_cp2k:cp2k\n  arguments: {template: xtb.inp, command: cp2k}\n",
    )
    boxed.site(*reference(lab))
    boxed.good("submit", "--yes")
    boxed.finish()
    boxed.good("results", "-o", "labelled.xyz")
    labelled = (boxed.directory / "labelled.xyz").read_text()
    energy = float(labelled.partition("REF_energy=")[2].split()[0])
    assert energy == pytest.approx(GFN1_WATER, abs=1e-5)


@pytest.mark.slow  # as above
@pytest.mark.parametrize("boxed", ["ordinary"], indirect=True)
def test_an_ordinary_user_runs_a_program_in_an_image_with_mpi_inside(boxed: BoxedCampaign, lab: Lab) -> None:
    atoms = "\n".join(f"    {line}" for line in WATER.splitlines()[2:])
    head = "&GLOBAL\n  RUN_TYPE ENERGY\n&END GLOBAL\n"
    boxed.write("water.inp", head + XTB.replace("  &SUBSYS\n", f"  &SUBSYS\n    &COORD\n{atoms}\n    &END COORD\n"))
    boxed.write("flow.py", PROGRAM)
    boxed.write("hpcflow.yaml", "workflow: flow.py:flow\nsite: local\n")
    boxed.site(*reference(lab))
    boxed.hand_over()
    boxed.good("submit", "--yes")
    boxed.finish()
    (result,) = boxed.results("water")
    (processes,) = re.findall(r"message passing processes +(\d+)", result["stdout"])
    (energy,) = re.findall(r"energy \[hartree\] +(-[\d.]+)", result["stdout"])
    assert processes == "2"
    assert float(energy) * HARTREE == pytest.approx(GFN1_WATER, abs=1e-3)
