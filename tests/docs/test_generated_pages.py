"""Generated pages say what the code says."""

import runpy
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize(
    ("page", "generator"), [("cli.md", "cli_reference.py"), ("workflows.md", "workflow_reference.py")]
)
def test_a_generated_page_is_what_its_generator_writes_now(page: str, generator: str) -> None:
    written = (DOCS / "reference" / page).read_text("utf-8")
    now = runpy.run_path(str(DOCS / generator))["page"]()
    assert written == now, f"run `make docs`, and commit docs/reference/{page}"
