"""The page of commands says what the commands say."""

import runpy
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def test_the_page_of_commands_is_what_the_generator_writes_now() -> None:
    written = (DOCS / "reference" / "cli.md").read_text("utf-8")
    now = runpy.run_path(str(DOCS / "cli_reference.py"))["page"]()
    assert written == now, "run `make docs`, and commit docs/reference/cli.md"
