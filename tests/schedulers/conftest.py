"""Stand-ins for the programs of schedulers."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_programs import Programs


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    """Return an empty directory for programs, to be put on PATH."""
    return Programs(tmp_path / "bin")
