"""What the page on containers shows is accepted, and its commands exist."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from hpcflow.sites.layers import load_site
from hpcflow.sites.scripts import Script, render

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "how-to" / "use-containers.md").read_text("utf-8")
LAYERS = re.findall(r'^```yaml title="sites/(\w+)\.yaml"\n(.*?)^```$', TEXT, re.M | re.S)
COMMANDS = re.findall(r"^hpcflow (containers|sites) (\w+)(.*)$", TEXT, re.M)


@pytest.mark.parametrize(("name", "layer"), LAYERS)
def test_each_part_of_a_site_file_is_accepted_and_shows_in_a_script(
    name: str, layer: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("HPCFLOW_ACCOUNT", "project_1")
    (tmp_path / "sites").mkdir()
    (tmp_path / "sites" / f"{name}.yaml").write_text(layer, "utf-8")
    site = load_site(name, tmp_path)
    named = re.findall(r"^  (\w+):$", layer.partition("classes:")[2], re.M)
    assert named
    for task_class in named:
        text = render(site, task_class, Script("hf1", "t", 1, tmp_path, tmp_path, tmp_path, tmp_path, "r0"))
        container = site.classes[task_class].container
        assert container is not None
        assert re.search(rf"\b(singularity|apptainer) exec .*{re.escape(container.image)}", text)
        assert ("mpirun" in text) == (container.wraps == "command")


@pytest.mark.parametrize(("group", "verb", "rest"), COMMANDS)
def test_each_command_has_the_options_that_are_shown(group: str, verb: str, rest: str) -> None:
    command = [sys.executable, "-m", "hpcflow", group, verb, "--help"]
    told = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for option in re.findall(r"--[a-z]+", rest.partition(" -- ")[0]):
        assert option in told
