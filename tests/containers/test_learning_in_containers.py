"""The learning example on a real Slurm: labels on the nodes, training and sampling in a container.

The container is a Debian that knows nothing of PyTorch: to install that in an image takes minutes and gigabytes, so
the Python environment of the tests is shown inside instead, as a site does that keeps its environments on a shared
file system. What this does not prove is that the definition files with PyTorch can be built.
"""

import json
import os
import shutil
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest
from campaign_harness import ROOT
from image_lab import Lab
from private_slurm import Cluster, missing_programs, running_cluster
from slurm_campaigns import LEARNING, SlurmCampaign

from hpcflow.database import records
from hpcflow.sites.images import known

pytestmark = [
    pytest.mark.container,
    pytest.mark.slurm,
    # Every task has to import MACE, and the cluster has to start.
    pytest.mark.slow,
]


def environment() -> tuple[str, str, list[str]]:
    """The interpreter of the tests, where its packages are, and what a container must show for both to work."""
    python = os.path.realpath(sys.executable)
    packages = sysconfig.get_path("purelib")
    if sys.base_prefix == "/usr":  # beside the Python that the image has of its own
        library = [python, f"/usr/lib/python{sys.version_info[0]}.{sys.version_info[1]}"]
    else:
        library = [sys.base_prefix]
    return python, packages, [*library, packages]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """A Slurm for this module alone."""
    if missing := missing_programs():
        pytest.skip(f"no Slurm here: {', '.join(missing)} not found (packages: .ci/packages-slurm)")
    with running_cluster() as found:
        yield found


def headers(array: Path) -> list[dict[str, object]]:
    data = (array / "results").read_bytes()
    return [record.header for record in records.scan(data, data.index(b"\n") + 1)]


def test_training_and_sampling_run_in_a_container_on_slurm(cluster: Cluster, lab: Lab) -> None:
    for package in ("mace", "openmm", "tblite", "torch"):
        pytest.importorskip(package)
    campaign = SlurmCampaign(lab.directory / "learning campaign", lab.directory / "learning home", cluster)
    shutil.copy(ROOT / "examples" / "learning" / "start.xyz", campaign.directory)
    campaign.write("hpcflow.yaml", LEARNING)
    python, packages, binds = environment()
    inside = {
        "queue": "debug",
        "walltime": "10m",
        "memory": "1500M",
        "container": {"image": str(lab.sif), "binds": binds},
        "python": python,
        "environment": {"variables": {"PYTHONPATH": packages}},
    }
    more = f"  training: {json.dumps(inside)}\n  evaluation: {{like: training}}\ncontainer: {{engine: apptainer}}\n"
    campaign.site(more=more)
    campaign.good("submit", "--yes")
    campaign.finish_saying(limit=500)

    status = campaign.status()
    assert status["tasks"]["failed"] == 0
    last = json.loads((campaign.directory / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["step"] == "final"
    assert all((campaign.directory / path).is_file() for path in last["models"])
    image = known(lab.sif)
    assert image is not None
    for name in ("train", "explore"):
        assert {h["image"] for h in headers(campaign.array(name))} == {image.digest[:12]}
        # The script becomes the container: nothing of it can run outside.
        assert "\nexec apptainer exec " in (campaign.array(name) / "jobs.txt").read_text()
    assert not any("image" in h for h in headers(campaign.array("label")))
    campaign.check_accounts()
