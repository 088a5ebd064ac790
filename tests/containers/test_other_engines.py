"""Campaigns through podman-hpc and Shifter, as far as stand-ins for them can tell."""

import json
import os
import sys
from pathlib import Path

import pytest
from campaign_harness import Campaign, MakeCampaign

STAND_IN = Path(__file__).with_name("engine_stand_in.py")
IMAGES = {"podman-hpc": "registry.example.org/me/mace:1", "shifter": "docker:me/mace:1"}
FLOW = """
import os, socket
import hpcflow as hf

PROGRAM = 'eval "$HPCFLOW_LAUNCH pwd"; eval "$HPCFLOW_LAUNCH printenv INSIDE OF_THE_JOB OMP_NUM_THREADS"'

def where(x):
    names = ("INSIDE", "OF_THE_JOB", "OF_THE_HOST", "HPCFLOW_IMAGE")
    return {"x": x, "host": socket.gethostname(), **{name: os.environ.get(name) for name in names}}

def flow(run: hf.Run):
    run.map(where, range(3), task_class="inside")
    run.map(PROGRAM, range(2), name="program", task_class="around")
"""


@pytest.fixture
def campaign(make_campaign: MakeCampaign, request: pytest.FixtureRequest, tmp_path: Path) -> Campaign:
    """A campaign whose site has the engine of the test; its directory has a blank in its name."""
    engine = request.param
    commands = tmp_path / "bin"
    commands.mkdir()
    program = commands / engine
    program.write_text(f"#!{sys.executable}\n{STAND_IN.read_text('utf-8')}")
    program.chmod(0o755)
    campaign = make_campaign(FLOW, name="my campaign")
    campaign.environment["PATH"] = f"{commands}:{os.environ['PATH']}"
    campaign.environment["OF_THE_HOST"] = "yes"
    image = json.dumps(IMAGES[engine])
    campaign.write(
        "sites/local.yaml",
        f"container: {{engine: {engine}, gpu: --gpu}}\n"
        "environment: {variables: {OF_THE_JOB: 'two words'}}\n"
        "classes:\n"
        f"  inside: {{like: default, cores: 1, container: {{image: {image}}}, python: {json.dumps(sys.executable)}}}\n"
        f"  around: {{like: default, cores: 2, ranks: 1, container: {{image: {image}, wraps: command}}}}\n",
    )
    return campaign


ENGINES = pytest.mark.parametrize("campaign", IMAGES, indirect=True)


@ENGINES
def test_workers_and_programs_run_through_the_engine(campaign: Campaign, request: pytest.FixtureRequest) -> None:
    engine = request.node.callspec.params["campaign"]
    campaign.good("submit", "--yes")
    campaign.finish()
    for result in campaign.results("where"):
        assert (result["INSIDE"], result["OF_THE_JOB"]) == (engine, "two words")
        assert result["HPCFLOW_IMAGE"].endswith(f" - {IMAGES[engine]}")
        # Podman passes on what it is told to, Shifter everything.
        assert result["OF_THE_HOST"] == {"podman-hpc": None, "shifter": "yes"}[engine]
    for result in campaign.results("program"):
        directory, *rest = result["stdout"].splitlines()
        assert "/hpcflow-" in directory, "it runs where the task runs"
        assert rest == [engine, "two words", "1"]


@pytest.mark.parametrize("campaign", ["podman-hpc"], indirect=True)
def test_an_image_that_the_engine_does_not_have_ends_the_array_with_its_words(campaign: Campaign) -> None:
    path = campaign.directory / "sites" / "local.yaml"
    path.write_text(path.read_text().replace("mace:1", "mace:2"))
    campaign.good("submit", "--yes")
    assert campaign.run_to_end().returncode == 4
    messages = " ".join(campaign.status()["attention"].values())
    assert "registry.example.org/me/mace:2: manifest unknown" in messages
