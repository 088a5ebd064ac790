"""Workers inside of real images, as root and as an ordinary user, from a file and from a directory."""

import json
import shutil
from pathlib import Path

import pytest
from campaign_harness import wait_for
from image_lab import BoxedCampaign, Lab

from hpcflow.database import records
from hpcflow.sites.images import known

pytestmark = pytest.mark.container

FLOW = """
import os
import hpcflow as hf

PROGRAM = 'eval "$HPCFLOW_LAUNCH pwd"; eval "$HPCFLOW_LAUNCH head -n 1 /etc/os-release"'

def where(x):
    with open("/etc/os-release") as stream:
        system = stream.readline()
    return {"x": x, "system": system, "host": os.path.exists(os.environ["OF_THE_HOST"])}

def flow(run: hf.Run):
    run.map(where, range(3), task_class="inside")
    run.map("head -n 1 /etc/os-release", range(2), name="shell", task_class="inside")
    run.map(PROGRAM, range(2), name="program", task_class="around")
"""


ENGINES = [("apptainer", "sif"), ("apptainer", "tree"), ("charliecloud", "tree")]


def prepare(campaign: BoxedCampaign, image: Path, engine: str = "apptainer") -> None:
    campaign.write("flow.py", FLOW)
    campaign.write("hpcflow.yaml", "workflow: flow.py:flow\nsite: local\n")
    campaign.site(
        f"container: {{engine: {engine}}}",
        "classes:",
        f"  inside: {{like: default, cores: 1, container: {{image: {json.dumps(str(image))}}}}}",
        f"  around: {{like: default, cores: 1, container: {{image: {json.dumps(str(image))}, wraps: command}}}}",
    )
    # Something of the machine that the image must not see.
    campaign.environment["OF_THE_HOST"] = str(shutil.which("apptainer"))
    campaign.hand_over()


@pytest.mark.parametrize(("engine", "kind"), ENGINES)
@pytest.mark.parametrize("boxed", ["own", "ordinary"], indirect=True)
def test_workers_and_programs_run_inside_of_an_image(boxed: BoxedCampaign, lab: Lab, engine: str, kind: str) -> None:
    if engine == "charliecloud" and shutil.which("ch-run") is None:
        pytest.skip("ch-run not found (.ci/packages-containers)")
    prepare(boxed, getattr(lab, kind), engine)
    boxed.good("submit", "--yes")
    boxed.finish()
    results = boxed.results("where")
    assert [r["x"] for r in results] == [0, 1, 2]
    assert all("trixie" in r["system"] for r in results)
    assert not any(r["host"] for r in results)
    assert all("trixie" in r["stdout"] for r in boxed.results("shell"))
    for result in boxed.results("program"):
        directory, system = result["stdout"].splitlines()
        assert "/hpcflow-" in directory, "it runs where the task runs"
        assert "trixie" in system


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
    boxed.site("classes: {inside: {like: default, cores: 1}, around: {like: default, cores: 1}}")
    assert "Nothing new to submit" in boxed.good("submit", "--dry-run")


LONG = """
import time
import hpcflow as hf

def wait(x):
    time.sleep(300)

def flow(run: hf.Run):
    run.map(wait, range(1), task_class="inside")
"""


@pytest.mark.parametrize("kind", ["sif", "tree"])
def test_a_worker_in_a_container_hears_that_it_is_to_stop(boxed: BoxedCampaign, lab: Lab, kind: str) -> None:
    prepare(boxed, getattr(lab, kind))
    boxed.write("flow.py", LONG)
    boxed.good("submit", "--yes")
    out = boxed.array("wait") / "work" / "out"

    def kinds() -> list[str]:
        return [r.header["kind"] for p in out.iterdir() if p.is_file() for r in records.scan(p.read_bytes())]

    wait_for(lambda: "start" in kinds(), say="the task never began")
    (worker,) = [path for path in out.iterdir() if path.is_file()]
    boxed.good("cancel")
    wait_for(lambda: "goodbye" in kinds(), say="the worker never said goodbye")
    last = [r.header for r in records.scan(worker.read_bytes())]
    assert last[-1]["reason"] == "signal"
    assert [h["state"] for h in last if h["kind"] == "task"] == ["unfinished"]
    wait_for(lambda: not list(boxed.processes()), say="something of the container is left")
