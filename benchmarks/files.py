"""How many files a finished array leaves, however many tasks and workers it had."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.ratios import Command, Row

YAML = """
workflow: map
site: local
parameters:
  rows: rows.csv
  command: "true"
"""
ROWS = 500


def measure() -> list[Row]:
    """Run a real array to its end and count."""
    with tempfile.TemporaryDirectory() as name:
        campaign = Path(name) / "campaign"
        campaign.mkdir()
        (campaign / "hpcflow.yaml").write_text(YAML)
        (campaign / "rows.csv").write_text("n\n" + "".join(f"{n}\n" for n in range(ROWS)))
        Command(campaign, ["run"]).run()
        arrays = [path for path in (campaign / ".hpcflow" / "arrays").iterdir() if path.is_dir()]
        left = [path for array in arrays for path in array.rglob("*") if not path.is_dir()]
    if len(arrays) != 1:
        raise RuntimeError(f"there are {len(arrays)} arrays")
    names = ", ".join(sorted(path.name for path in left))
    return [Row(f"files left by an array of {ROWS} tasks", str(len(left)), names, goal="8")]
