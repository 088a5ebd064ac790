"""Slots, memory and options follow from class, queue and node."""

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcflow.sites.options import directives, fill, resolve_options, walltime
from hpcflow.sites.quantities import duration
from hpcflow.sites.schema import Node, Site
from hpcflow.sites.shape import fit

Make = Callable[[str], Site]

MACHINE = """
account: p1
scheduler: {kind: KIND}
nodes:
  gpu: {cores: 56, gpus: 8, memory: 480G}
  wide: {cores: 64, gpus: 4, cpus_per_core: 2}
queues:
  whole: {node: gpu, exclusive: true}
  part: {node: gpu, memory_per_gpu: 60G, memory_per_core: 1G}
  logical: {node: wide}
  unknown: {exclusive: true}
classes:
  packed: {queue: whole, cores: 7, gpus: 1, walltime: 1h}
  mpi: {queue: whole, cores: 28, ranks: 14, walltime: 1h}
  heavy: {queue: whole, cores: 7, memory: 200G, walltime: 1h}
  one: {queue: part, cores: 7, gpus: 1, walltime: 1h}
  cpu: {queue: part, cores: 2, walltime: 1h}
  several: {queue: part, cores: 2, gpus: 1, slots: 3, walltime: 1h}
  spanning: {queue: whole, nodes: 4, span: true, cores: 56, ranks: 8, walltime: 1h}
  logical: {queue: logical, cores: 16, ranks: 4, gpus: 1, walltime: 1h}
  unknown: {queue: unknown, cores: 4, walltime: 1h}
  free: {cores: 4, walltime: 36h}
"""


def options(site: Site, name: str) -> dict[str, list[str]]:
    task_class = site.task_class(name)
    return resolve_options(site, task_class, site.queue_of(task_class), task_class.shape())[0]


def lines(site: Site, name: str) -> list[str]:
    return directives(options(site, name), site.scheduler.kind)


@pytest.fixture
def slurm(site: Make) -> Site:
    return site(MACHINE.replace("KIND", "slurm"))


@pytest.mark.parametrize(
    ("name", "slots", "memory"),
    [
        ("packed", 8, 61440),
        ("mpi", 2, 245760),
        ("heavy", 2, 204800),
        ("one", 1, 61440),
        ("cpu", 1, 2048),
        ("several", 3, 61440),
        ("spanning", 1, 491520),
        ("logical", 1, None),
        ("unknown", 1, None),
        ("free", 1, None),
    ],
)
def test_slots_fill_whole_nodes_and_memory_follows(name: str, slots: int, memory: int | None, slurm: Site) -> None:
    task_class = slurm.task_class(name)
    assert (task_class.expected_slots(), task_class.memory) == (slots, memory)


@pytest.mark.parametrize(
    ("name", "request_", "slots", "memory"),
    [
        ("packed", {"memory": 100 * 1024}, 4, 100 * 1024),
        ("packed", {"gpus": 2, "cores": 14}, 4, 122880),
        ("packed", {"slots": 2}, 2, 245760),
        ("one", {"gpus": 2, "cores": 14}, 1, 122880),
        ("cpu", {"cores": 4}, 1, 4096),
        ("cpu", {"memory": 3000}, 1, 3000),
    ],
)
def test_a_request_changes_the_shape_as_the_class_would(
    name: str, request_: dict[str, int], slots: int, memory: int, slurm: Site
) -> None:
    shape = slurm.task_class(name).shape(request_)
    assert (shape.slots, shape.memory) == (slots, memory)


@given(st.integers(1, 300), st.integers(0, 9), st.integers(1, 10**6))
def test_slots_that_fit_do_not_exceed_the_node(cores: int, gpus: int, memory: int) -> None:
    node = Node(cores=128, gpus=8, memory=500_000)
    slots = fit(node, cores, gpus, memory)
    possible = cores <= 128 and gpus <= 8 and memory <= 500_000
    assert slots >= 1
    if possible:
        assert slots * cores <= 128
        assert slots * gpus <= 8
        assert slots * memory <= 500_000
        full = (slots + 1) * cores > 128 or (slots + 1) * gpus > 8 or (slots + 1) * memory > 500_000
        assert full


def test_slurm_is_asked_for_the_processes_of_all_slots(slurm: Site) -> None:
    assert lines(slurm, "mpi") == [
        "#SBATCH --account=p1",
        "#SBATCH --partition=whole",
        "#SBATCH --nodes=1",
        "#SBATCH --ntasks-per-node=28",
        "#SBATCH --cpus-per-task=2",
        "#SBATCH --exclusive",
        "#SBATCH --mem=0",
        "#SBATCH --time=01:00:00",
        "#SBATCH --no-requeue",
        "#SBATCH --open-mode=append",
    ]


def test_what_has_no_value_is_left_out(slurm: Site) -> None:
    found = options(slurm, "free")
    assert "partition" not in found
    assert "gpus-per-node" not in found
    assert "mem" not in found


def test_cpus_are_counted_as_the_scheduler_counts_them(slurm: Site) -> None:
    found = options(slurm, "logical")
    assert (found["ntasks-per-node"], found["cpus-per-task"]) == (["4"], ["8"])


def test_a_whole_node_of_unknown_size_is_asked_for_without_numbers(slurm: Site) -> None:
    found = options(slurm, "unknown")
    assert "ntasks-per-node" not in found
    assert found["exclusive"] == [""]


def test_pbs_is_asked_for_chunks(site: Make) -> None:
    assert lines(site(MACHINE.replace("KIND", "pbs")), "several") == [
        "#PBS -A p1",
        "#PBS -q part",
        "#PBS -l select=1:ncpus=6:mpiprocs=3:ngpus=3:mem=184320mb",
        "#PBS -l walltime=01:00:00",
    ]


def test_lsf_is_asked_for_cores_and_memory_per_core(site: Make) -> None:
    assert lines(site(MACHINE.replace("KIND", "lsf")), "several") == [
        "#BSUB -P p1",
        "#BSUB -q part",
        "#BSUB -n 6",
        '#BSUB -R "rusage[mem=30720MB] span[hosts=1]"',
        "#BSUB -gpu num=3",
        "#BSUB -W 01:00",
    ]


def test_local_is_asked_for_nothing(site: Make) -> None:
    assert lines(site(MACHINE.replace("KIND", "local")), "free") == []


def test_options_of_site_queue_and_class_win_in_this_order(site: Make) -> None:
    machine = site(
        "scheduler: {kind: slurm}\n"
        "options: {a: site, b: site, c: site, no-requeue: null}\n"
        "queues: {q: {options: {b: queue, c: queue}}}\n"
        "classes: {one: {queue: q, walltime: 1h, options: {c: class, d: [x, '{cores}'], e: ''}}}\n"
    )
    found = options(machine, "one")
    assert {name: found[name] for name in "abcde"} == {
        "a": ["site"],
        "b": ["queue"],
        "c": ["class"],
        "d": ["x", "1"],
        "e": [""],
    }
    assert "no-requeue" not in found
    assert lines(machine, "one")[-4:] == ["#SBATCH -c class", "#SBATCH -d x", "#SBATCH -d 1", "#SBATCH -e"]


def test_the_limits_of_a_class_are_the_tighter_ones_of_site_and_queue(site: Make) -> None:
    machine = site(
        "scheduler: {kind: slurm}\n"
        "limits: {submit: 100, array: 50}\n"
        "queues: {q: {limits: {submit: 120, running: 8}}}\n"
        "classes: {one: {queue: q, walltime: 1h}, two: {walltime: 1h}}\n"
    )
    one, two = (machine.limits_for(machine.task_class(name)) for name in ("one", "two"))
    assert (one.submit, one.running, one.array) == (100, 8, 50)
    assert (two.submit, two.running, two.array) == (100, None, 50)


def test_clusters_of_all_queues_are_known(site: Make) -> None:
    machine = site("scheduler: {kind: slurm}\nqueues: {a: {cluster: x}, b: {cluster: y}, c: {cluster: x}, d: {}}\n")
    assert machine.clusters == ("x", "y")


@pytest.mark.parametrize(
    ("kind", "name", "value", "line"),
    [
        ("slurm", "comment", 'it\'s "a" b\\c', '#SBATCH --comment="it\'s \\"a\\" b\\\\c"'),
        ("slurm", "constraint", "gpu&hbm80g", '#SBATCH --constraint="gpu&hbm80g"'),
        ("slurm", "bb", "#BB_LUA SBF", '#SBATCH --bb="#BB_LUA SBF"'),
        ("slurm", "N", "2", "#SBATCH -N 2"),
        ("pbs", "wd", "", "#PBS -l wd"),
        ("pbs", "W", "umask=022", "#PBS -W umask=022"),
        ("pbs", "filesystems", "home:eagle", "#PBS -l filesystems=home:eagle"),
        ("lsf", "alloc_flags", "gpumps smt1", '#BSUB -alloc_flags "gpumps smt1"'),
        ("lsf", "x", "", "#BSUB -x"),
    ],
)
def test_directives_are_quoted_where_they_have_to_be(kind: str, name: str, value: str, line: str) -> None:
    assert directives({name: [value]}, kind) == [line]


@pytest.mark.parametrize(
    ("kind", "seconds", "text"),
    [
        ("slurm", 3600, "01:00:00"),
        ("slurm", 86400, "1-00:00:00"),
        ("slurm", 90061, "1-01:01:01"),
        ("pbs", 360000, "100:00:00"),
        ("lsf", 61, "00:02"),
        ("lsf", 86400, "24:00"),
    ],
)
def test_walltimes_are_written_as_the_scheduler_reads_them(kind: str, seconds: float, text: str) -> None:
    assert walltime(seconds, kind) == text


@given(st.integers(1, 10**7), st.sampled_from(["slurm", "pbs", "lsf"]))
def test_no_scheduler_is_asked_for_less_time_than_meant(seconds: int, kind: str) -> None:
    asked = duration(walltime(seconds, kind))
    assert seconds <= asked < seconds + 60


def test_words_without_value_take_the_whole_text_away() -> None:
    assert fill("gpu:{gpus}", {"gpus": None}, "x") is None
    assert fill("{a}-{b}{c}", {"a": "1", "b": "2", "c": ""}, "x") == "1-2"
    assert fill("span[hosts=1] $HOME {}", {}, "x") == "span[hosts=1] $HOME {}"
