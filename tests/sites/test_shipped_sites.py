"""Every shipped site is complete, could be submitted to, and says where its numbers come from."""

import re
import runpy
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner

from hpcflow.cli.main import cli
from hpcflow.errors import UserError
from hpcflow.sites import schema
from hpcflow.sites.facts import covering, facts
from hpcflow.sites.layers import load_site, site_document
from hpcflow.sites.rules import validate

Writer = Callable[..., Path]

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


REFUSED = [
    ("lumi", "training: {cores: 8}", "queue small-g gives at most 7 cores per GPU: 7, not 8."),
    ("lumi", "training: {queue: standard-g, slots: 1}", "queue standard-g hands out whole nodes, and 8 such slots fit"),
    ("frontier", "training: {walltime: 6h}", "06:00:00 is more than queue batch allows for 1 nodes: 02:00:00."),
    ("frontier", "training: {walltime: 7h, nodes: 100}", "more than queue batch allows for 100 nodes: 06:00:00."),
    (
        "perlmutter",
        "evaluation: {queue: preempt, walltime: 1h}",
        "01:00:00 is less than the 02:00:00 that queue preempt",
    ),
    ("perlmutter", "evaluation: {options: {partition: x}}", "queue gpu refuses jobs with the option 'partition'."),
    ("polaris", "training: {queue: prod, walltime: 1h}", "queue prod takes jobs of at least 10 nodes, not 1."),
    ("polaris", "training: {options: {filesystems: null}}", "the option 'filesystems' is required on polaris."),
    ("aurora", "training: {queue: prod, walltime: 1h}", "queue prod takes jobs of at least 256 nodes, not 1."),
    ("gadi", "training: {cores: 16}", "queue gpuhopper wants 12 cores per GPU: 12, not 16."),
    ("gadi", "training: {options: {storage: null}}", "the option 'storage' is required on gadi."),
    ("marenostrum5", "training: {cores: 10}", "queue acc_ehpc wants 20 cores per GPU: 20, not 10."),
    ("sofia", "training: {options: {mem: 10G}}", "queue zen4_h200 refuses jobs with the option 'mem'."),
    ("sofia", "training: {cores: 12}", "queue zen4_h200 wants 24 cores per GPU: 24, not 12."),
    ("hortense", "default: {cores: 16}", "16 cores are more than a node of queue debug_milan_rhel9 has: 8."),
    ("hortense", "training: {container: {image: /apps/x.sif}}", "images must lie below $VSC_SCRATCH_PROJECTS_BASE or"),
    ("daint", "reference: {launcher: '', container: {image: x, wraps: command}}", "the launcher must begin with srun."),
    ("roihu", "reference: {nodes: 7}", "queue medium takes jobs of at most 6 nodes, not 7."),
    ("ugent", "default: {options: {clusters: null}}", "the option 'clusters' is required on ugent."),
    ("dtu", "training: {options: {J: mine}}", "so that 'J' cannot be an option."),
]


@pytest.mark.parametrize(("name", "classes", "message"), REFUSED)
def test_a_site_refuses_what_its_machine_would(name: str, classes: str, message: str, write: Writer) -> None:
    write(name, f"account: project_1\nclasses: {{{classes}}}\n")
    with pytest.raises(UserError) as caught:
        validate(load_site(name))
    assert message in str(caught.value)


def test_a_campaign_on_aurora_is_not_in_the_home_directory(write: Writer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    write("aurora", "account: project_1")
    with pytest.raises(UserError, match=r"must not be below \$HOME, as /home/somebody/campaign is"):
        validate(load_site("aurora", Path("/home/somebody/campaign")))
    validate(load_site("aurora", Path("/lus/flare/projects/p/campaign")))


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
