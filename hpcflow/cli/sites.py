"""``hpcflow sites``: what is known of a machine, and what its scripts look like."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

_campaign = click.option(
    "-C",
    "--campaign",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="A campaign whose own site files and templates count (default: the current directory).",
)


@click.group()
def sites() -> None:
    """Machines: list them, show what is known of one, render its scripts.

    Example: hpcflow sites show lumi
    """


@sites.command("list")
@_campaign
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_(campaign: Path | None, as_json: bool) -> None:
    """List all sites and the layers they have.

    Example: hpcflow sites list
    """
    from hpcflow.sites.layers import list_sites

    entries = list_sites(_here(campaign))
    if as_json:
        _print_json([entry._asdict() for entry in entries])
        return
    width = max(len(entry.name) for entry in entries)
    for entry in entries:
        layers = "" if entry.layers == ("shipped",) else f" [{', '.join(entry.layers)}]"
        click.echo(f"{entry.name:{width}}  {entry.title}{layers}".rstrip())


@sites.command()
@click.argument("name")
@_campaign
@click.option("--json", "as_json", is_flag=True, help="Print JSON, with file and line of every value.")
def show(name: str, campaign: Path | None, as_json: bool) -> None:
    """Show every value of a site, and which layer it comes from.

    A value that nobody verified is marked with a question mark, and the reason follows at the end.

    Example: hpcflow sites show lumi
    """
    from dataclasses import asdict

    from hpcflow.sites.facts import facts, open_questions
    from hpcflow.sites.layers import load_site, site_document

    here = _here(campaign)
    load_site(name, here)  # what is wrong with it is more important than what it says
    document = site_document(name, here)
    found = list(facts(document))
    unknown = open_questions(document)
    if as_json:
        _print_json({"name": name, "values": [asdict(fact) for fact in found], "unknown": unknown})
        return
    keys = max(len(fact.key) for fact in found)
    values = min(48, max(len(_text(fact.value)) for fact in found))
    layers = max(len(fact.layer) for fact in found)
    for fact in found:
        mark = "?" if fact.unverified else " "
        value = _text(fact.value)
        line = f"{fact.key:{keys}} {mark} {value:{values}}  {fact.layer:{layers}}  {fact.source or ''}"
        click.echo(line.rstrip())
    for reason in dict.fromkeys(fact.unverified for fact in found if fact.unverified):
        click.echo(f"? {', '.join(fact.key for fact in found if fact.unverified == reason)}: {reason}")
    for key, reason in unknown.items():
        click.echo(f"? {key}: {reason}")


@sites.command()
@click.argument("name")
@click.option("--class", "class_name", metavar="CLASS", help="Only the script of this task class.")
@_campaign
def render(name: str, class_name: str | None, campaign: Path | None) -> None:
    """Print the script of every task class, without any connection to the machine.

    Example: hpcflow sites render lumi --class training
    """
    from hpcflow.errors import UserError
    from hpcflow.sites.layers import load_site
    from hpcflow.sites.rules import validate
    from hpcflow.sites.scripts import Script
    from hpcflow.sites.scripts import render as render_script

    here = _here(campaign)
    site = load_site(name, here)
    directory = here or Path("/path/to/campaign")
    array = directory / ".hpcflow" / "arrays" / "0001-example"
    for task_class in [class_name] if class_name else site.classes:
        script = Script(
            token="example",
            title="0001-example",
            width=4,
            campaign=directory,
            array=array,
            archive=directory / ".hpcflow" / "code" / "DIGEST.pyz",
            log=array / "work" / "log",
            resources="r1",
        )
        click.echo(render_script(site, task_class, script, here))
    try:
        validate(site, class_name)
    except UserError as problems:
        click.echo(f"These scripts could not be submitted:\n{problems}", err=True)


def _here(campaign: Path | None) -> Path | None:
    if campaign is not None:
        return campaign.absolute()
    return Path.cwd() if Path("hpcflow.yaml").is_file() else None


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(str(item) for item in value) or "(nothing)"
    return "(taken away)" if value is None else str(value) or '""'


def _print_json(value: Any) -> None:
    import json

    click.echo(json.dumps(value, indent=1, ensure_ascii=False))
