"""From a site to its scheduler."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .base import Scheduler

if TYPE_CHECKING:
    from hpcflow.sites.schema import Site


def open_scheduler(site: Site) -> Scheduler:
    """Return the back end for a site. Nothing is asked of the scheduler yet."""
    environment = site.scheduler.environment
    # One back end is imported and not four: a tick that finds nothing to do is light.
    if site.scheduler.kind == "slurm":
        from .slurm import Slurm

        return Slurm(clusters=site.clusters, environment=environment, account=site.account)
    if site.scheduler.kind == "pbs":
        from .pbs import PBS

        return PBS(environment=environment)
    if site.scheduler.kind == "lsf":
        from .lsf import LSF

        return LSF(environment=environment)
    from .local import Local

    return Local()
