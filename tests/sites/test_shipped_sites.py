"""Every shipped site is complete, could be submitted to, and says where its numbers come from."""

import re
import runpy
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from hpcflow.cli.main import cli
from hpcflow.sites import schema
from hpcflow.sites.facts import covering, facts
from hpcflow.sites.layers import load_site, site_document
from hpcflow.sites.rules import validate

SITES = Path(__file__).parents[2] / "sites"
NAMES = sorted(path.stem for path in SITES.glob("*.yaml"))
CLASSES = {"default", "reference", "training", "evaluation"}

LIMITS = ("limits", "nodes", "min_nodes", "max_nodes", "min_walltime", "max_walltime", "max_walltime_by_nodes")
RATIOS = ("cores_per_gpu", "max_cores_per_gpu", "memory_per_core", "memory_per_gpu", "forbidden")


@pytest.fixture(autouse=True)
def _account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HPCFLOW_ACCOUNT", "project_1")


def test_the_machines_that_are_promised_are_there() -> None:
    promised = (
        "local slurm-generic pbs-generic lsf-generic lumi frontier perlmutter hortense sofia ugent "
        "marenostrum5 leonardo juwels-booster jupiter roihu snellius daint polaris aurora derecho gadi dtu"
    )
    assert set(promised.split()) <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_site_has_all_classes_and_no_machine_would_refuse_them(name: str) -> None:
    site = load_site(name)
    assert set(site.classes) == CLASSES
    assert site.title
    validate(site)


@pytest.mark.parametrize("name", NAMES)
def test_every_limit_says_where_it_comes_from_or_that_nobody_verified_it(name: str) -> None:
    unsourced = [
        fact.key
        for fact in facts(site_document(name))
        if fact.layer == "shipped"
        and not fact.key.startswith("classes.")
        and any(part in (*LIMITS, *RATIOS) for part in fact.key.split("."))
        and not (fact.source or fact.unverified)
    ]
    assert unsourced == []


@pytest.mark.parametrize("name", NAMES)
def test_a_source_has_a_date(name: str) -> None:
    sources = site_document(name).data.get("sources", {})
    assert [key for key, text in sources.items() if not re.search(r"\b20\d\d-[01]\d\b", text)] == []


@pytest.mark.parametrize("name", [name for name in NAMES if "-generic" not in name and name != "local"])
def test_what_nobody_verified_is_marked_where_the_site_is_shown(name: str) -> None:
    said = CliRunner().invoke(cli, ["sites", "show", name]).output
    document = site_document(name)
    doubts = document.data["unverified"]
    assert [key for key in doubts if f"\n? {key}: " not in said] == []
    marked = {line.split()[0] for line in said.splitlines() if line.split()[1:2] == ["?"]}
    assert marked == {fact.key for fact in facts(document) if fact.unverified}


@pytest.mark.parametrize("name", NAMES)
def test_a_source_has_something_to_be_the_source_of(name: str) -> None:
    document = site_document(name)
    keys = [tuple(fact.key.replace("[", ".[").split(".")) for fact in facts(document)]
    sources = document.data.get("sources", {})
    assert [key for key in sources if not any(covering(path, {key: ""}) == "" for path in keys)] == []


@pytest.mark.parametrize("name", NAMES)
def test_a_site_without_a_person_has_no_account(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HPCFLOW_ACCOUNT")
    site = load_site(name)
    assert site.account is None
    assert [c for c in site.classes.values() if c.account] == []


REFERENCE = runpy.run_path(str(SITES.parent / "docs" / "site_reference.py"))


def test_every_key_is_needed_by_a_shipped_site_or_has_a_reason() -> None:
    structs = [s for s in vars(schema).values() if isinstance(s, type) and issubclass(s, msgspec.Struct)]
    every = {f"{s.__name__}.{f.name}" for s in structs for f in msgspec.structs.fields(s) if not f.name.startswith("_")}
    needed = set(REFERENCE["_needed"]())
    assert every - needed == set(REFERENCE["NOT_SHIPPED"])


def test_every_key_is_explained() -> None:
    for _, struct in REFERENCE["SECTIONS"]:
        unexplained = [key for key, text in REFERENCE["_explanations"](struct).items() if not text]
        assert [key for key in unexplained if not key.startswith("_") and key != "name"] == []


def test_the_page_of_keys_is_what_the_generator_writes_now() -> None:
    written = (SITES.parent / "docs" / "reference" / "site-file.md").read_text("utf-8")
    assert written == REFERENCE["page"](), "run `python docs/site_reference.py`, and commit what it writes"
