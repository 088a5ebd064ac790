"""What a machine would refuse is found before anything is submitted."""

from collections.abc import Callable
from pathlib import Path

import pytest

from hpcflow.errors import UserError
from hpcflow.sites.layers import load_site
from hpcflow.sites.rules import validate
from hpcflow.sites.schema import Site

Make = Callable[[str], Site]

MACHINE = """
account: p1
scheduler: {kind: slurm}
required: [account, partition]
nodes:
  cpu: {cores: 128, memory: 224G}
  gpu: {cores: 56, gpus: 8, memory: 480G}
queues:
  small: {node: cpu, max_nodes: 4, max_walltime: 24h, min_walltime: 10m}
  whole: {node: gpu, exclusive: true, min_nodes: 2, max_walltime_by_nodes: {91: 2h, 183: 6h}}
  ratio: {node: gpu, cores_per_gpu: 7}
  share: {node: gpu, max_cores_per_gpu: 7}
  strict: {node: cpu, options: {mem: null}, forbidden: [mem, mem-per-cpu]}
  solo: {node: gpu, exclusive: true}
"""


def problems(site: Site, **request: object) -> str:
    with pytest.raises(UserError) as caught:
        validate(site, request=request)
    return str(caught.value)


def classes(text: str) -> str:
    walltime = "" if "walltime" in text else "walltime: 1h, "
    return MACHINE + f"classes: {{one: {{{walltime}{text}}}}}\n"


GOOD = [
    "queue: small, cores: 128, walltime: 24h",
    "queue: small, cores: 4, slots: 32, memory: 7G",
    "queue: whole, nodes: 91, cores: 7, gpus: 1, walltime: 2h",
    "queue: whole, nodes: 92, cores: 7, gpus: 1, walltime: 6h",
    "queue: ratio, cores: 14, gpus: 2",
    "queue: share, cores: 3, gpus: 1",
    "queue: strict, cores: 4",
    "queue: solo, cores: 7, gpus: 1",
    "queue: solo, cores: 7, gpus: 1, slots: 8",
    "queue: solo, cores: 56, gpus: 8, slots: 1",
    "queue: solo, cores: 7, gpus: 1, slots: 6",
]


@pytest.mark.parametrize("text", GOOD)
def test_what_the_machine_takes_passes(text: str, site: Make) -> None:
    validate(site(classes(text)))


@pytest.mark.parametrize(
    ("text", "key", "message"),
    [
        ("queue: small, walltime: 25h", "walltime", "25:00:00 is more than queue small allows: 24:00:00."),
        ("queue: small, walltime: 5m", "walltime", "00:05:00 is less than the 00:10:00 that queue small is for."),
        ("queue: small, nodes: 5", "nodes", "queue small takes jobs of at most 4 nodes, not 5."),
        ("queue: whole", "nodes", "queue whole takes jobs of at least 2 nodes, not 1."),
        (
            "queue: whole, nodes: 91, walltime: 3h",
            "walltime",
            "03:00:00 is more than queue whole allows for 91 nodes: 02:00:00.",
        ),
        ("queue: small, cores: 129", "cores", "129 cores are more than a node of queue small has: 128."),
        ("queue: small, cores: 8, slots: 17", "cores", "136 cores in 17 slots are more than a node of queue small"),
        ("queue: small, gpus: 1", "gpus", "1 GPUs are more than a node of queue small has: 0."),
        ("queue: small, memory: 225G", "memory", "230400 MiB of memory are more than a node of queue small has"),
        ("queue: ratio, cores: 8, gpus: 1", "cores", "queue ratio wants 7 cores per GPU: 7, not 8."),
        ("queue: ratio, cores: 7", "gpus", "queue ratio is for jobs with GPUs."),
        ("queue: share, cores: 8, gpus: 1", "cores", "queue share gives at most 7 cores per GPU: 7, not 8."),
        ("queue: share, cores: 8", "gpus", "queue share is for jobs with GPUs."),
        ("queue: strict, options: {mem: 5G}", "options.mem", "queue strict refuses jobs with the option 'mem'."),
        ("queue: small, options: {array: 0-9}", "options.array", "so that 'array' cannot be an option."),
        ("queue: small, options: {J: mine}", "options.J", "hpcflow says which elements, name and output a job has"),
        ("queue: solo, cores: 7, gpus: 1, slots: 1", "slots", "hands out whole nodes, and 8 such slots fit on one"),
        ("options: {comment: '{coers}'}", "options.comment", "there is no word {coers}. Did you mean 'cores'?"),
        ("launcher: 'srun -n {rank}'", "launcher", "there is no word {rank}. Did you mean 'ranks'?"),
        ("launcher: 'srun --mem={memory}M'", "launcher", "{memory} has no value, the class asks for none."),
        ("queue: small, container: {image: /x.sif}", "container", "does not say how containers are run there"),
    ],
)
def test_what_the_machine_would_refuse_is_one_line_with_file_and_key(
    text: str, key: str, message: str, site: Make
) -> None:
    told = problems(site(classes(text)))
    line = next(line for line in told.splitlines() if message in line)
    assert "/sites/machine.yaml, line " in line
    assert f": key classes.one.{key}: " in line


def test_a_request_is_held_against_the_same_rules(site: Make) -> None:
    good = site(classes("queue: small, cores: 4"))
    validate(good)
    validate(good, "one", {"walltime": 86400.0, "memory": 1000})
    assert "48:00:00 is more than queue small allows" in problems(good, walltime=172800.0)
    assert "MiB of memory are more" in problems(good, memory=10**6)


def test_only_the_class_that_is_asked_for_is_looked_at(site: Make) -> None:
    one = site(MACHINE + "classes: {good: {queue: small, walltime: 1h}, bad: {queue: small, walltime: 48h}}")
    validate(one, "good")
    with pytest.raises(UserError, match="class bad"):
        validate(one, "bad")


def test_all_problems_are_told_at_once(site: Make) -> None:
    told = problems(site(classes("queue: small, walltime: 48h, nodes: 9")))
    assert len(told.splitlines()) == 2


def test_a_missing_account_says_where_to_write_it(site: Make) -> None:
    told = problems(site(classes("queue: small").replace("account: p1", "")))
    assert "runs no job without an account (option account). Set `account:` in " in told
    assert told.endswith("machine.yaml, or HPCFLOW_ACCOUNT.")


def test_a_required_option_that_is_taken_away_is_missed(site: Make) -> None:
    told = problems(site(classes("queue: small, options: {partition: null}")))
    assert "the option 'partition' is required on machine." in told


def test_a_machine_that_is_switched_off_takes_no_jobs(site: Make) -> None:
    told = problems(site(classes("queue: small") + "until: 2024-11-15\n"))
    assert "key until: machine went out of service on 2024-11-15." in told
    validate(site(classes("queue: small") + "until: 2999-01-01\n"))


@pytest.mark.parametrize(("place", "refused"), [("$PLACE", True), ("$PLACE/camp", False), ("/elsewhere", False)])
def test_a_campaign_where_nodes_cannot_use_it_is_refused(
    place: str, refused: bool, write: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLACE", str(tmp_path))
    write("machine", classes("queue: small") + f"campaign_not_in: [{place}]\n")
    validate(load_site("machine"))
    (tmp_path / "link").symlink_to(tmp_path / "campaign")
    (tmp_path / "campaign").mkdir()
    site = load_site("machine", tmp_path / "link")
    if refused:
        assert f"must not be below $PLACE, as {tmp_path}/campaign is: move it." in problems(site)
    else:
        validate(site)


CONTAINER = "container: {engine: apptainer, image_on: [$IMAGES]}\n"


@pytest.fixture
def images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("IMAGES", str(tmp_path / "images"))
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.sif").touch()
    (tmp_path / "elsewhere.sif").touch()
    (tmp_path / "images" / "link.sif").symlink_to(tmp_path / "elsewhere.sif")
    return tmp_path


def test_an_image_where_it_may_be_passes(site: Make, images: Path) -> None:
    validate(site(classes("queue: small, container: {image: $IMAGES/a.sif}") + CONTAINER))


def test_an_image_that_is_not_there_is_missed(site: Make, images: Path) -> None:
    told = problems(site(classes("queue: small, container: {image: $IMAGES/b.sif}") + CONTAINER))
    assert f"there is no image {images}/images/b.sif." in told


@pytest.mark.parametrize("name", ["elsewhere.sif", "images/link.sif"])
def test_an_image_on_the_wrong_file_system_is_refused(name: str, site: Make, images: Path) -> None:
    told = problems(site(classes(f"queue: small, container: {{image: {images}/{name}}}") + CONTAINER))
    assert f"images must lie below $IMAGES on machine, not at {images}/elsewhere.sif." in told


@pytest.mark.parametrize("image", ["docker://a/b", "$UNKNOWN/a.sif"])
def test_an_image_that_only_the_node_can_find_is_left_to_it(image: str, site: Make, images: Path) -> None:
    validate(site(classes(f"queue: small, container: {{image: '{image}'}}") + CONTAINER))


def test_a_container_must_not_hide_the_variables_of_the_job_from_a_worker(site: Make, images: Path) -> None:
    hiding = CONTAINER.replace("engine", "options: --cleanenv, engine")
    told = problems(site(classes("queue: small, container: {image: $IMAGES/a.sif}") + hiding))
    assert "--cleanenv hides" in told
    validate(site(classes("queue: small, container: {image: $IMAGES/a.sif, wraps: command}") + hiding))


EDF = "container: {engine: edf}\n"


@pytest.mark.parametrize(
    ("text", "key", "message"),
    [
        ("container: {image: mace, wraps: command}", "launcher", "so the launcher must begin with srun."),
        (
            "nodes: 2, container: {image: mace}",
            "nodes",
            "a worker is started by srun, and cannot be started so on each of several nodes.",
        ),
    ],
)
def test_where_the_image_is_an_option_of_srun_there_must_be_one_srun(
    text: str, key: str, message: str, site: Make
) -> None:
    told = problems(site(classes(f"queue: small, {text}") + EDF))
    assert f"key classes.one.{key}: " in told
    assert message in told
    validate(site(classes("queue: small, launcher: srun, container: {image: mace, wraps: command}") + EDF))
    validate(site(classes("queue: small, container: {image: mace}") + EDF))
    told = problems(site(classes("queue: small, container: {image: /nowhere/mace.toml}") + EDF))
    assert "there is no image /nowhere/mace.toml. The site's documentation says how to write one." in told


def test_what_changed_between_reading_and_telling_is_told_from_the_files_of_the_campaign(
    write: Callable[..., Path], tmp_path: Path
) -> None:
    write("machine", classes("queue: small"))
    path = write("machine", "\n\nclasses: {one: {walltime: 48h}}", layer="campaign")
    told = problems(load_site("machine", tmp_path / "campaign"))
    assert told.startswith(f"{path}, line 3: key classes.one.walltime: ")
