"""A real Slurm for the tests that want one, started once and only if somebody asks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from private_slurm import Cluster, missing_programs, running_cluster
from slurm_campaigns import SlurmCampaign


@pytest.fixture(scope="session")
def slurm_cluster() -> Iterator[Cluster]:
    """Start a private Slurm."""
    if missing := missing_programs():
        pytest.skip(f"no Slurm here: {', '.join(missing)} not found (packages: .ci/packages-slurm)")
    with running_cluster() as found:
        yield found


@pytest.fixture
def cluster(slurm_cluster: Cluster) -> Iterator[Cluster]:
    """Give the cluster to one test and take away what it leaves behind."""
    yield slurm_cluster
    slurm_cluster.calm()


@pytest.fixture
def slurm_campaign(cluster: Cluster, tmp_path: Path) -> SlurmCampaign:
    """Give an empty campaign for the cluster."""
    return SlurmCampaign(tmp_path / "campaign", tmp_path / "home", cluster)
