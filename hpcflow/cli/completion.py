"""What the Tab key offers for names of sites and arrays; nothing where there is no campaign to ask."""

from __future__ import annotations

import click

from hpcflow.errors import UserError


def sites(context: click.Context, _: click.Parameter, begun: str) -> list[str]:
    """Sites that come with hpcflow, of the user and of the campaign."""
    from hpcflow.database.database import find_campaign
    from hpcflow.sites.layers import site_names

    try:
        campaign = find_campaign(context.params.get("directory") or context.params.get("campaign"))
    except UserError:
        campaign = None
    return [name for name in site_names(campaign) if name.startswith(begun)]


def arrays(context: click.Context, _: click.Parameter, begun: str) -> list[str]:
    """Arrays of the campaign, as of its last tick."""
    from hpcflow.database.database import Database, find_campaign
    from hpcflow.engine.engine import look

    try:
        engine = look(Database(find_campaign(context.params.get("directory"))))
    except (UserError, OSError):
        return []
    found = engine.state.campaign.arrays.values()
    return [array.key for array in found if array.current and array.key.startswith(begun)]
