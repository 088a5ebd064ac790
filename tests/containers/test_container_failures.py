"""Why a container did not start: told apart, and said in words, although the exit code is always the same."""

import json
from pathlib import Path

import pytest
from image_lab import BoxedCampaign, Lab

from hpcflow.sites.container_failures import explain_failure

SAID = Path(__file__).with_name("said.txt").read_text("utf-8").split("\n\n")[1:]


@pytest.mark.parametrize("block", SAID, ids=lambda block: block.partition("\n")[0])
def test_what_an_engine_said_is_explained(block: str) -> None:
    conclusion, _, said = block.partition("\n")
    assert conclusion.removeprefix("> ") in explain_failure(said)


def test_a_missing_image_of_a_definition_comes_with_the_command_that_makes_it() -> None:
    path = "/scratch/my images/cp2k.sif"
    said = SAID[0].replace("/data/no such.sif", path)
    assert explain_failure(said).endswith(f"hpcflow containers build cp2k --output '{path}'")


@pytest.mark.parametrize(
    "said",
    [
        "",
        "Traceback (most recent call last):\nFileNotFoundError: No such file or directory: 'x'",
        "bash: line 1: cp2k: command not found",
        "INFO:    fuse2fs not found, will not be able to mount EXT3 filesystems",
    ],
)
def test_what_is_about_something_else_is_left_alone(said: str) -> None:
    assert explain_failure(said) == ""


FLOW = """
import hpcflow as hf

def flow(run: hf.Run):
    run.map('eval "$HPCFLOW_LAUNCH true"', range(2), name="inside", task_class="inside")
"""
NOWHERE = "/no such/directory"
CASES = {
    "image": ({"image": "$IMAGES/x.sif"}, f"there is no image {NOWHERE}/x.sif on the node"),
    "bind": ({"binds": [NOWHERE]}, f"there is no directory {NOWHERE} on the node"),
}


def prepare(campaign: BoxedCampaign, lab: Lab, keys: dict[str, object], more: str = "") -> None:
    campaign.write("flow.py", FLOW)
    campaign.write("hpcflow.yaml", "workflow: flow.py:flow\nsite: local\n")
    container = json.dumps({"image": str(lab.tree), **keys})
    # Known on the node only, so that nothing can be said before the job runs.
    variables = f"environment: {{variables: {{IMAGES: {json.dumps(NOWHERE)}}}}}"
    campaign.site(
        "container: {engine: apptainer}",
        f"classes: {{inside: {{like: default, cores: 1, container: {container}, {variables}{more}}}}}",
    )


@pytest.mark.container
@pytest.mark.parametrize("case", [*CASES, "python"])
def test_a_worker_that_cannot_start_says_why(boxed: BoxedCampaign, lab: Lab, case: str) -> None:
    keys, words = CASES.get(case, ({}, "the image has no program /opt/python3. A worker wants Python 3.9"))
    prepare(boxed, lab, keys, ", python: /opt/python3" if case == "python" else "")
    boxed.good("submit", "--yes")
    assert boxed.run_to_end().returncode == 4
    (message,) = boxed.status()["attention"].values()
    assert "FATAL" in message
    assert words in message
    assert words in boxed.good("explain", "inside")


@pytest.mark.container
@pytest.mark.parametrize("case", [*CASES, "program"])
def test_a_command_that_cannot_start_says_why(boxed: BoxedCampaign, lab: Lab, case: str) -> None:
    keys, words = CASES.get(case, ({}, "the image has no program nosuchprogram."))
    prepare(boxed, lab, {**keys, "wraps": "command"})
    if case == "program":
        boxed.write("flow.py", FLOW.replace("LAUNCH true", "LAUNCH nosuchprogram"))
    boxed.good("submit", "--yes")
    boxed.run_to_end()
    said = boxed.good("explain", "inside/0")
    assert "255" in said
    assert words in said
