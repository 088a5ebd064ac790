"""A site is put together from the shipped file, the user's, the campaign's, and the environment."""

from pathlib import Path

import pytest

from hpcflow.errors import UserError
from hpcflow.sites.cached import cached_site
from hpcflow.sites.facts import facts, open_questions
from hpcflow.sites.layers import list_sites, load_site, site_document

SMALL = """
scheduler: {kind: slurm}
queues: {main: {options: {qos: normal}}}
environment: {modules: [gcc], variables: {A: "1"}}
classes:
  default: {queue: main, walltime: 1h}
  training: {queue: main, walltime: 2h, cores: 4, options: {comment: x}}
"""


@pytest.fixture
def campaign(tmp_path: Path) -> Path:
    return tmp_path / "campaign"


def test_a_site_of_ten_lines_is_complete(write) -> None:
    write("small", SMALL)
    site = load_site("small")
    assert (site.name, site.scheduler.kind) == ("small", "slurm")
    assert site.task_class("training").cores == 4
    assert site.task_class("training").walltime == 7200


def test_layers_are_merged_by_key(write, campaign: Path) -> None:
    write("small", SMALL)
    write("small", "classes: {training: {cores: 8}, mine: {walltime: 5h}}", layer="campaign")
    site = load_site("small", campaign)
    training = site.task_class("training")
    assert (training.cores, training.walltime, training.options) == (8, 7200, {"comment": "x"})
    assert site.task_class("mine").walltime == 5 * 3600
    assert load_site("small").task_class("training").cores == 4


def test_a_list_is_replaced_as_a_whole(write, campaign: Path) -> None:
    write("small", SMALL)
    write("small", "environment: {modules: [cp2k]}", layer="campaign")
    environment = load_site("small", campaign).environment
    assert (environment.modules, environment.variables) == (["cp2k"], {"A": "1"})


def test_null_takes_away_what_a_lower_layer_said(write, campaign: Path) -> None:
    write("small", SMALL)
    write("small", "classes: {training: {cores: null}, default: null}", layer="campaign")
    site = load_site("small", campaign)
    assert list(site.classes) == ["training"]
    assert site.task_class("training").cores == 1


def test_null_in_options_is_kept_because_it_also_takes_away_what_is_usual(write, campaign: Path) -> None:
    write("small", SMALL)
    write("small", "queues: {main: {options: {mem: null}}}", layer="campaign")
    assert load_site("small", campaign).queues["main"].options == {"qos": "normal", "mem": None}


def test_classes_in_hpcflow_yaml_are_the_highest_layer(write, campaign: Path) -> None:
    write("small", SMALL)
    write("small", "classes: {training: {cores: 8}}", layer="campaign")
    (campaign / "hpcflow.yaml").write_text("workflow: label\nclasses:\n  training: {cores: 16}\n")
    assert load_site("small", campaign).task_class("training").cores == 16


def test_hpcflow_yaml_alone_does_not_make_a_site(campaign: Path) -> None:
    campaign.mkdir()
    (campaign / "hpcflow.yaml").write_text("classes: {training: {cores: 16}}\n")
    with pytest.raises(UserError, match="There is no site 'nowhere'"):
        load_site("nowhere", campaign)


def test_a_campaign_may_bring_a_site_of_its_own(write, campaign: Path) -> None:
    write("ours", SMALL, layer="campaign")
    assert load_site("ours", campaign).name == "ours"


def test_one_class_may_be_like_another(write) -> None:
    write("small", SMALL + "  sampling: {like: training, cores: 2, options: {qos: y}}\n  more: {like: sampling}\n")
    more = load_site("small").task_class("more")
    assert (more.cores, more.walltime, more.options) == (2, 7200, {"comment": "x", "qos": "y"})


@pytest.mark.parametrize(
    ("classes", "message"),
    [
        ("  a: {like: b}\n  b: {like: a}\n", "is like"),
        ("  a: {like: a}\n", "'a' is like 'a' itself"),
        ("  a: {like: trainin}\n", "there is no class 'trainin'. Did you mean 'training'?"),
    ],
)
def test_a_class_cannot_be_like_itself_or_like_nothing(write, classes: str, message: str) -> None:
    path = write("small", SMALL + classes)
    with pytest.raises(UserError) as caught:
        load_site("small")
    assert str(caught.value).startswith(f"{path}, line ")
    assert message in str(caught.value)


def test_the_account_comes_from_a_layer_of_the_user(write) -> None:
    write("slurm-generic", "account: 2026_042")
    assert load_site("slurm-generic").account == "2026_042"


def test_the_account_in_the_environment_wins(write, monkeypatch: pytest.MonkeyPatch) -> None:
    write("slurm-generic", "account: 2026_042")
    monkeypatch.setenv("HPCFLOW_ACCOUNT", "project_7")
    assert load_site("slurm-generic").account == "project_7"
    (fact,) = (f for f in facts(site_document("slurm-generic")) if f.key == "account")
    assert (fact.value, fact.layer, fact.line) == ("project_7", "environment", 0)


@pytest.mark.parametrize("text", ["account: x", "classes: {default: {account: x}}"])
def test_an_account_in_a_shipped_file_is_refused(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slurm-generic.yaml").write_text(text)
    monkeypatch.setattr("hpcflow.sites.layers.shipped", lambda kind: tmp_path)
    with pytest.raises(UserError, match=r"line 1: an account does not belong into a shipped file\. Write it into"):
        load_site("slurm-generic")


@pytest.mark.parametrize("name", ["lmui", "../../etc/passwd", "", "LUMI", "a b"])
def test_an_unknown_site_is_one_message_with_the_next_command(name: str, write) -> None:
    with pytest.raises(UserError) as caught:
        load_site(name)
    assert str(caught.value).startswith(f"There is no site {name!r}.")
    assert str(caught.value).endswith("type: hpcflow sites list")


def test_the_nearest_site_is_named(write) -> None:
    with pytest.raises(UserError, match="Did you mean 'lumi'"):
        load_site("lmui")


def test_an_unknown_class_is_one_message_with_the_nearest(write) -> None:
    write("small", SMALL)
    with pytest.raises(UserError, match=r"Site small has no task class 'trainin'\. Did you mean 'training'\?"):
        load_site("small").task_class("trainin")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("queues: {main: {nod: x}}", "line 1: unknown key queues.main.nod. Did you mean 'node'?"),
        ("queues: {main: {node: x}}", "line 1: key queues.main.node: there are no nodes called 'x'."),
        ("\nclasses: {training: {queue: man}}", "line 2: key classes.training.queue: there is no queue 'man'."),
        ("classes: {training: {walltime: soon}}", "line 1: key classes.training.walltime: expected a time"),
        (
            "classes: {training: {cores: 4, ranks: 3}}",
            "key classes.training.ranks: 3 ranks cannot share 4 cores evenly.",
        ),
        ("classes: {training: {retries: {erorr: 1}}}", "there are no retries for 'erorr'. Did you mean 'error'?"),
        ("classes: {training: {margin: 10}}", "margin (10 s) is shorter than grace (30 s)"),
        ("classes: {training: {walltime: 90}}", "walltime (90 s) is not longer than margin (120 s)"),
        ("classes: {training: {span: true, slots: 2}}", "a class whose tasks span all nodes has one slot"),
        ("environment: {variables: {a-b: x}}", "'a-b' cannot be the name of a variable"),
        ("scheduler: {kind: slrm}", "key scheduler.kind: expected local or slurm or pbs or lsf, got 'slrm'."),
        ("name: other", "line 1: key name: a site is named by its file, expected 'small'"),
        ("classes: {training: 5}", "key classes.training: expected keys and values"),
        ("classes: 5", "key classes: expected keys and values"),
    ],
)
def test_a_mistake_is_told_with_the_file_and_line_of_its_layer(write, campaign: Path, text: str, message: str) -> None:
    write("small", SMALL)
    path = write("small", text, layer="campaign")
    with pytest.raises(UserError) as caught:
        load_site("small", campaign)
    assert str(caught.value).startswith(f"{path}, line ")
    assert message in str(caught.value)


def test_a_value_knows_its_layer_file_and_line(write, campaign: Path) -> None:
    write("small", SMALL)
    path = write("small", "classes:\n  training:\n    cores: 8\n", layer="campaign")
    found = {f.key: f for f in facts(site_document("small", campaign))}
    changed, kept = found["classes.training.cores"], found["classes.training.walltime"]
    assert (changed.value, changed.layer, changed.file, changed.line) == ("8", "campaign", str(path), 3)
    assert (kept.layer, kept.line) == ("user", 7)


def test_sources_and_doubts_hold_for_everything_below_their_key(write) -> None:
    notes = """
sources: {queues: page A, queues.*.max_walltime: page B}
unverified: {queues.main.options: guess, x.y: open}
"""
    write("small", SMALL.replace("{qos: normal}}", "{qos: normal}, max_walltime: 2h}") + notes)
    document = site_document("small")
    found = {f.key: (f.source, f.unverified) for f in facts(document)}
    assert found["queues.main.options.qos"] == ("page A", "guess")
    assert found["queues.main.max_walltime"] == ("page B", None)
    assert found["scheduler.kind"] == (None, None)
    assert open_questions(document) == {"x.y": "open"}


def test_all_sites_are_listed_with_their_layers(write, campaign: Path) -> None:
    write("small", "title: Ours\n" + SMALL)
    write("small", "title: Mine", layer="campaign")
    entries = {entry.name: entry for entry in list_sites(campaign)}
    assert entries["small"].title == "Mine"
    assert entries["small"].layers == ("user", "campaign")
    assert entries["lumi"].layers == ("shipped",)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_the_cache_holds_what_the_files_say(write, cache: Path) -> None:
    write("small", SMALL)
    assert cached_site("small") == load_site("small")
    assert cached_site("small") == load_site("small")


def test_a_cached_site_is_read_without_its_files_being_parsed(
    write, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write("small", SMALL)
    first = cached_site("small")
    monkeypatch.setattr("hpcflow.sites.layers.load", lambda path: pytest.fail("parsed again"))
    assert cached_site("small") == first


@pytest.mark.parametrize("layer", ["user", "campaign"])
def test_a_changed_layer_is_seen_at_once(write, cache: Path, campaign: Path, layer: str) -> None:
    write("small", SMALL)
    cached_site("small", campaign)
    write("small", SMALL.replace("cores: 4", "cores: 6"), layer=layer)
    assert cached_site("small", campaign).task_class("training").cores == 6


def test_a_changed_account_is_seen_at_once(write, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write("small", SMALL)
    cached_site("small")
    monkeypatch.setenv("HPCFLOW_ACCOUNT", "a")
    assert cached_site("small").account == "a"


def test_a_damaged_cache_is_read_past(write, cache: Path) -> None:
    write("small", SMALL)
    cached_site("small")
    (file,) = (cache / "hpcflow" / "sites").iterdir()
    file.write_bytes(file.read_bytes()[:-5])
    assert cached_site("small") == load_site("small")


def test_a_cache_that_cannot_be_written_does_not_matter(write, cache: Path) -> None:
    write("small", SMALL)
    cache.write_text("a file where a directory should be")
    assert cached_site("small") == load_site("small")
