"""What every test starts from: nothing of the person's own set-up, and one thread per process."""

import os
from collections.abc import Iterator

import pytest

FOREIGN = ("HPCFLOW_", "SLURM_", "SBATCH_", "SQUEUE_", "SACCT_", "PBS_", "LSB_")


@pytest.fixture(scope="session", autouse=True)
def _neutral_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(FOREIGN)]:
            patch.delenv(name)
        patch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("no-configuration")))
        # Small cases on few cores: threads of numerical libraries only get into each other's way.
        patch.setenv("OMP_NUM_THREADS", "1")
        yield
