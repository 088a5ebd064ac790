"""One finished campaign for all tests that only look at it."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from campaign_harness import Campaign

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The directory of the made-up learning campaign, finished."""
    directory = tmp_path_factory.mktemp("report") / "water"
    shutil.copytree(HERE / "campaign", directory)
    campaign = Campaign(directory, directory.parent / "home")
    campaign.good("submit", "--yes")
    campaign.finish()
    yield directory
    campaign.end_processes()


@pytest.fixture
def copy(finished: Path, tmp_path: Path) -> Path:
    """A copy of it to do harm to."""
    return Path(shutil.copytree(finished, tmp_path / "water"))
