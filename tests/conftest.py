"""What every test starts from: nothing of the person's own set-up, and one thread per process."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from campaign_harness import Campaign, MakeCampaign

FOREIGN = ("HPCFLOW_", "SLURM_", "SBATCH_", "SQUEUE_", "SACCT_", "PBS_", "LSB_")


@pytest.fixture(scope="session", autouse=True)
def _neutral_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    # Whoever starts the tests in the background makes them, and what they start, deaf to Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(FOREIGN)]:
            patch.delenv(name)
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("no-configuration")))
        # Small cases on few cores: threads of numerical libraries only get into each other's way.
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


@pytest.fixture
def make_campaign(tmp_path: Path) -> Iterator[MakeCampaign]:
    """Write campaigns: ``make_campaign(flow, yaml, name=...)``. What they leave running is ended."""
    made: list[Campaign] = []

    def make(
        flow: str | None = None, yaml: str = "workflow: flow.py:flow\nsite: local\n", name: str = "campaign"
    ) -> Campaign:
        campaign = Campaign(tmp_path / name, tmp_path / "home")
        if flow is not None:
            campaign.write("flow.py", flow)
        campaign.write("hpcflow.yaml", yaml)
        made.append(campaign)
        return campaign

    yield make
    for campaign in made:
        campaign.end_processes()
