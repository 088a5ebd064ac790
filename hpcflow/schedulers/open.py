"""From a site file to its back end."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hpcflow.schedulers.base import Scheduler
    from hpcflow.sites.schema import Site


def open_scheduler(site: Site) -> Scheduler:
    """Return the back end that a site names; its module is imported only now."""
    settings = site.scheduler
    if settings.kind == "local":
        from hpcflow.schedulers.local import Local

        return Local()
    if settings.kind == "slurm":
        from hpcflow.schedulers.slurm import Slurm

        return Slurm(clusters=site.clusters, environment=settings.environment, account=site.account)
    raise ValueError(f"no back end for {settings.kind!r}")
