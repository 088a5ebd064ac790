"""What the pages and the README show of hpcflow.yaml and of site files is accepted by hpcflow."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from hpcflow.sites.layers import load_site

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r'^```(?P<language>\w+)(?: title="(?P<title>[^"]+)")?\n(?P<text>.*?)^```$', re.M | re.S)


def blocks(page: Path) -> list[re.Match[str]]:
    return list(BLOCK.finditer(page.read_text("utf-8")))


def campaigns() -> list[tuple[Path, str]]:
    """Every hpcflow.yaml on a page."""
    yaml = ((page, block["text"]) for page in PAGES for block in blocks(page) if block["language"] == "yaml")
    return [(page, text) for page, text in yaml if re.search("^workflow:", text, re.M)]


CHECK = """
import sys
from pathlib import Path
from hpcflow.configuration import read_configuration
from hpcflow.errors import UserError
try:
    read_configuration(Path.cwd()).workflow_call()
except UserError as error:
    sys.exit(str(error))
"""


@pytest.mark.parametrize(("page", "text"), campaigns(), ids=lambda value: getattr(value, "stem", ""))
def test_the_parameters_on_a_page_are_those_of_the_workflow(page: Path, text: str, tmp_path: Path) -> None:
    for block in blocks(page):
        if block["title"]:
            file = tmp_path / block["title"]
            file.parent.mkdir(exist_ok=True)
            file.write_text(block["text"], "utf-8")
    (tmp_path / "hpcflow.yaml").write_text(text, "utf-8")
    # In a process of its own: the modules of one page are not those of the next.
    done = subprocess.run([sys.executable, "-c", CHECK], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


SITE_PAGE = [b["text"] for b in blocks(ROOT / "docs" / "how-to" / "site-file.md") if b["language"] == "yaml"]
COMPLETE = next(text for text in SITE_PAGE if "scheduler:" in text)


@pytest.mark.parametrize("part", [text for text in SITE_PAGE if text is not COMPLETE])
def test_each_part_of_a_site_file_on_the_page_goes_with_the_complete_one(
    part: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for directory, text in (
        (tmp_path / "config" / "hpcflow" / "sites", COMPLETE),
        (tmp_path / "campaign" / "sites", part),
    ):
        directory.mkdir(parents=True)
        (directory / "department.yaml").write_text(text, "utf-8")
    site = load_site("department", tmp_path / "campaign")
    assert site.title == "The department's cluster"
    assert set(site.classes) == {"default", "reference", "training", "evaluation"}


def test_the_template_on_the_page_extends_the_shipped_one(tmp_path: Path) -> None:
    (example,) = [b for b in blocks(ROOT / "docs" / "how-to" / "template.md") if b["language"] == "jinja"]
    (tmp_path / "templates").mkdir()
    (tmp_path / "sites").mkdir()
    (tmp_path / example["title"]).write_text(example["text"], "utf-8")
    (tmp_path / "sites" / "department.yaml").write_text(COMPLETE, "utf-8")
    (tmp_path / "hpcflow.yaml").write_text("workflow: map\n", "utf-8")
    code = "from hpcflow.cli.main import main; main()"
    command = [sys.executable, "-c", code, "sites", "render", "department", "--class", "reference"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^lscpu \|", done.stdout, re.M)
    assert "SRUN_CPUS_PER_TASK" in done.stdout
