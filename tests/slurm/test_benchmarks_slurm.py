"""The benchmarks on Slurm run: with few tasks, and without an opinion on what they measure."""

from __future__ import annotations

from pathlib import Path

import pytest
from private_slurm import Cluster

slurm = pytest.importorskip("benchmarks.slurm", reason="benchmarks are part of the repository and not of the package")

pytestmark = pytest.mark.slurm

FEW = {"TASKS": 16, "ROUNDS": 1, "STAGES": 2, "INTERVAL": 1.0, "UNEVEN_TASKS": 16, "ARRAYS": 2, "POLLS": 2}


@pytest.mark.slow  # five campaigns, small as they are
def test_all_of_them_say_something(cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in FEW.items():
        monkeypatch.setattr(slurm, name, value)
    rows = [
        *slurm.throughput(cluster, tmp_path / "throughput"),
        *slurm.listings(cluster, tmp_path / "listings"),
        *slurm.gaps(cluster, tmp_path / "gaps"),
        *slurm.idle(cluster, tmp_path / "idle"),
    ]
    assert [row.value for row in rows if "squeue" in row.what] == ["1"]
    assert len(rows) == 5


def test_without_slurm_they_say_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("private_slurm.missing_programs", lambda: ["sbatch", "munged"])
    assert [row.value for row in slurm.measure()] == ["not measured: sbatch, munged not found"]
