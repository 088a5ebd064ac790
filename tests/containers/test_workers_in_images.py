"""Workers inside of real images, as root and as an ordinary user, from a file and from a directory."""

import json
from pathlib import Path

import pytest
from image_lab import BoxedCampaign, Lab

from hpcflow.database import records
from hpcflow.sites.images import known

pytestmark = pytest.mark.container

FLOW = """
import os, platform, sys
import hpcflow as hf

def where(x):
    return {"x": x, "inside": os.environ.get("APPTAINER_NAME", ""), "python": platform.python_version(),
            "host": os.path.exists(os.environ["OF_THE_HOST"]), "at": os.getcwd()}

def flow(run: hf.Run, release: bool = True):
    run.map(where, range(3), task_class="inside")
    run.map("head -n 1 /etc/os-release; pwd", range(2), name="shell", task_class="inside")
"""


def prepare(campaign: BoxedCampaign, image: Path, **environment: str) -> None:
    campaign.write("flow.py", FLOW)
    campaign.write("hpcflow.yaml", "workflow: flow.py:flow\nsite: local\n")
    campaign.site(
        "container: {engine: apptainer}",
        f"classes: {{inside: {{like: default, cores: 1, container: {{image: {json.dumps(str(image))}}}}}}}",
    )
    # Something of the machine that the image must not see.
    campaign.environment["OF_THE_HOST"] = str(Path(__file__))
    campaign.hand_over()


@pytest.mark.parametrize("kind", ["sif", "tree"])
@pytest.mark.parametrize("boxed", ["own", "ordinary"], indirect=True)
def test_a_worker_runs_inside_of_its_image(boxed: BoxedCampaign, lab: Lab, kind: str) -> None:
    image = getattr(lab, kind)
    prepare(boxed, image)
    boxed.good("submit", "--yes")
    boxed.finish()
    results = boxed.results("where")
    assert [r["x"] for r in results] == [0, 1, 2]
    assert {r["inside"] for r in results} == {image.name}
    assert {r["host"] for r in results} == {False}
    assert all("trixie" in r["stdout"] for r in boxed.results("shell"))


def test_the_image_stands_in_the_records_and_not_in_what_a_task_is(boxed: BoxedCampaign, lab: Lab) -> None:
    prepare(boxed, lab.sif)
    boxed.good("submit", "--yes")
    boxed.finish()
    found = known(lab.sif)
    assert found is not None
    data = (boxed.array("where") / "results").read_bytes()
    headers = [r.header for r in records.scan(data, data.index(b"\n") + 1)]
    assert [h["image"] for h in headers] == [found.digest[:12]] * 3
    assert f"hpcflow_digest={found.digest}" in (boxed.array("where") / "jobs.txt").read_text()
    assert f"in image {found.digest[:12]}" in boxed.good("explain", "where/0")
    # The same computation in another image, or in none, is done already.
    boxed.site("classes: {inside: {like: default, cores: 1}}")
    assert "Nothing new to submit" in boxed.good("submit", "--dry-run")
