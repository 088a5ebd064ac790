"""``hpcflow sites``: what is known of a machine, and what its scripts look like."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from hpcflow.cli import completion

_campaign = click.option(
    "-C",
    "--campaign",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="A campaign whose own site files and templates count (default: the current directory).",
)


@click.group()
def sites() -> None:
    """Machines: list them, show what is known of one, render its scripts, check it where it is.

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
    click.echo("Another machine: hpcflow sites new NAME, on its login node", err=True)


@sites.command()
@click.argument("name", shell_complete=completion.sites)
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
    if as_json:
        _print_json({"name": name, "values": [asdict(fact) for fact in found], "unknown": open_questions(document)})
        return
    keys = max(len(fact.key) for fact in found)
    values = min(48, max(len(_text(fact.value)) for fact in found))
    layers = max(len(fact.layer) for fact in found)
    for fact in found:
        mark = "?" if fact.unverified else " "
        value = _text(fact.value)
        line = f"{fact.key:{keys}} {mark} {value:{values}}  {fact.layer:{layers}}  {fact.source or ''}"
        click.echo(line.rstrip())
    for key, reason in (document.data.get("unverified") or {}).items():
        click.echo(f"? {key}: {reason}")


@sites.command()
@click.argument("name", shell_complete=completion.sites)
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


@sites.command()
@click.argument("name")
@click.option(
    "-C",
    "--campaign",
    type=click.Path(path_type=Path, file_okay=False, exists=True),
    help="Write it into this campaign's sites/ (default: into your own, for all campaigns).",
)
def new(name: str, campaign: Path | None) -> None:
    """Write a first site file from what can be found on this machine; use it on a login node.

    Scheduler, queues with their limits, nodes, GPUs, accounts, container runtime and modules, and a suggestion
    for the four classes. What was guessed is marked. Nothing that is there is overwritten.

    Example: hpcflow sites new department
    """
    import datetime

    from hpcflow.sites.machine import look
    from hpcflow.sites.starting_file import KINDS, place_for, starting_file

    path = place_for(name, campaign.absolute() if campaign else None)
    machine = look()
    text = starting_file(name, machine, datetime.date.today())
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "x", encoding="utf-8") as file:
        file.write(text)
    found = machine.queues
    what = f"{KINDS[machine.kind]} {machine.version}".strip()
    names = ", ".join(found.queues) or "none found"
    click.echo(f"{path}: {what}, queues: {names}")
    if machine.kind == "local":
        click.echo("No sbatch, qsub or bsub was found: the file is for this machine alone, as the site `local` is that")
        click.echo("comes with hpcflow. On a cluster, load the scheduler's module, delete the file and try again.")
    for failure in machine.silent:
        click.echo(f"no answer: {failure}")
    click.echo(f"Read it, correct what it guessed, and then type: hpcflow sites check {name}")


@sites.command()
@click.argument("name", required=False, shell_complete=completion.sites)
@click.option("--job", is_flag=True, help="Also submit a test array of two elements of class default, and wait for it.")
@click.option("--wait", type=click.FloatRange(min=1), default=600.0, show_default=True, help="For the job, in seconds.")
@_campaign
def check(name: str | None, job: bool, wait: float, campaign: Path | None) -> None:
    """Look whether a site is on this machine what its file says; by default the campaign's own site.

    Commands, account, partitions, limits, modules, images, and what the file system can do. Exit
    code: 0 nothing is wrong, 2 something has to be mended.

    Example: hpcflow sites check lumi --job
    """
    import sys

    from hpcflow.sites.checks import BAD, GOOD, check_site
    from hpcflow.sites.layers import load_site
    from hpcflow.sites.trial import try_job

    here = _here(campaign)
    site = load_site(name or _site_of(here), here)
    directory = here or Path.cwd()
    wrong = False
    for finding in check_site(site, directory):
        wrong = wrong or finding.verdict == BAD
        _tell(finding.what, finding.verdict, finding.text, GOOD)
    if job and wrong:
        click.echo("No job was submitted: mend what is wrong first.")
    elif job:
        for finding in try_job(site, directory, wait):
            wrong = wrong or finding.verdict == BAD
            _tell(finding.what, finding.verdict, finding.text, GOOD)
    sys.exit(2 if wrong else 0)


def _tell(what: str, verdict: str, text: str, good: str) -> None:
    mark = "ok" if verdict == good else verdict.upper()
    click.echo(f"{mark:8} {what:12} {text}")


def _site_of(here: Path | None) -> str:
    from hpcflow.configuration import read_configuration
    from hpcflow.errors import UserError

    if here is None or not (here / "hpcflow.yaml").is_file():
        raise UserError("there is no hpcflow.yaml here that names a site; type: hpcflow sites check NAME")
    return read_configuration(here).site


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
