"""Ten lines describe a simple cluster: those of the page on site files."""

import re
import subprocess
from pathlib import Path

import pytest

from hpcflow.sites.layers import load_site
from hpcflow.sites.rules import validate
from hpcflow.sites.scripts import Script, render

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "site-file.md"
(SHORTEST,) = re.findall(r"^## The shortest one\n\n```yaml\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S)


@pytest.mark.parametrize("kind", ["slurm", "pbs", "lsf"])
def test_ten_lines_give_a_script_for_every_class(kind: str, write, tmp_path: Path) -> None:
    assert len(SHORTEST.splitlines()) <= 10
    write("department", SHORTEST.replace("kind: slurm", f"kind: {kind}"))
    site = load_site("department")
    validate(site)
    asked = {}
    for name in ("default", "reference", "training", "evaluation"):
        text = render(site, name, Script("hf1", "t", 4, tmp_path, tmp_path, tmp_path, tmp_path, "r0"))
        subprocess.run(["bash", "-n"], input=text, text=True, check=True)
        asked[name] = [line for line in text.splitlines() if re.match("#(SBATCH|PBS|BSUB)", line)]
    assert len({tuple(lines) for lines in asked.values()}) == 4
    assert all(any(re.search(r"\bmain\b", line) for line in lines) for lines in asked.values())
