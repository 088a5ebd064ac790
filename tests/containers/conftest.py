"""Real images for the tests that want them, made once and only if somebody asks."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from image_lab import BoxedCampaign, Lab, missing_programs, open_lab

sys.path.append(str(Path(__file__).parents[1] / "slurm"))  # private_slurm and slurm_campaigns


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """Images, and what is needed to make them."""
    if missing := missing_programs():
        pytest.skip(f"{', '.join(missing)} not found: as root, run .ci/install and .ci/install-apptainer")
    if os.getuid() != 0:
        pytest.skip("images of Debian packages are made as root")
    with open_lab() as found:
        yield found


@pytest.fixture
def boxed(lab: Lab, request: pytest.FixtureRequest) -> Iterator[BoxedCampaign]:
    """A campaign in the lab; one of an ordinary user with the parameter ``ordinary``."""
    user = lab.person("ordinary") if getattr(request, "param", "") == "ordinary" else None
    campaign = BoxedCampaign(lab, f"{abs(hash(request.node.name)):x}", user)
    yield campaign
    campaign.end_processes()
