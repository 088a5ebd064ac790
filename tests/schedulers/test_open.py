"""From a site to its scheduler."""

from __future__ import annotations

import pytest

from hpcflow.schedulers.open import open_scheduler
from hpcflow.sites.layers import load_site


@pytest.mark.parametrize(
    ("site", "scheduler"),
    [("local", "Local"), ("slurm-generic", "Slurm"), ("pbs-generic", "PBS"), ("lsf-generic", "LSF")],
)
def test_every_kind_has_its_back_end(site: str, scheduler: str) -> None:
    assert type(open_scheduler(load_site(site))).__name__ == scheduler


def test_a_site_of_several_clusters_names_them_to_slurm() -> None:
    assert {"doduo", "shinx"} <= set(open_scheduler(load_site("ugent")).clusters)  # type: ignore[attr-defined]
