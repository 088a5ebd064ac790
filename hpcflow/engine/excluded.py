"""Nodes that failed under a job: for a while no job of the campaign is sent there again."""

from __future__ import annotations

import re

from hpcflow.engine.engine import Engine
from hpcflow.schedulers.base import Ending

LONGEST = 86400.0
"""Seconds after which a node is no longer avoided: it has been repaired, or the site has taken it away."""

MOST = 4
"""Names at once, the newest: with more the fault is hardly that of single nodes."""


def excluded_nodes(engine: Engine, site: str) -> list[str]:
    """Nodes of a site that jobs are to be kept away from now."""
    since = engine.now() - LONGEST
    return sorted(node for node, failed in engine.state.campaign.excluded.get(site, {}).items() if failed > since)


def exclude_node(engine: Engine, site: str, ending: Ending | None) -> None:
    """Keep away from the node under which an element ended, if the scheduler names that one and no other."""
    if ending is None or engine.site(site).scheduler.kind != "slurm" or not re.fullmatch(r"[\w.-]+", ending.nodes):
        return
    known = engine.state.campaign.excluded.get(site, {})
    if ending.nodes in excluded_nodes(engine, site):
        return
    newest = sorted(known.items(), key=lambda item: item[1])[-(MOST - 1) :]
    nodes = {**dict(newest), ending.nodes: round(engine.now(), 3)}
    engine.record("excluded", site=site, nodes=nodes)
    engine.say(f"{site}: node {ending.nodes} failed; for a day no new job of this campaign goes there")


def include_all(engine: Engine, site: str) -> None:
    """Avoid no node any more: the scheduler has no others."""
    engine.record("excluded", site=site, nodes={})
