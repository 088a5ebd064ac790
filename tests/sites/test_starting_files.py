"""``hpcflow sites new``: from what the programs of a machine say to a site file that loads."""

import datetime
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from hpcflow.cli.main import cli
from hpcflow.errors import UserError
from hpcflow.sites.layers import load_site
from hpcflow.sites.machine import Machine, look
from hpcflow.sites.machine_text import Found, gpu_variable, lsf_queues, modules, pbs_queues, slurm_queues
from hpcflow.sites.rules import validate
from hpcflow.sites.schema import Limits, Node, Queue
from hpcflow.sites.starting_file import starting_file

DATA = Path(__file__).with_name("data")
DAY = datetime.date(2026, 11, 20)
CLASSES = {"default", "reference", "training", "evaluation"}
Programs = Callable[[dict[str, str]], None]


def said(name: str) -> str:
    return (DATA / name).read_text("utf-8")


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Programs:
    """Put programs on an otherwise empty PATH: name, to the shell line that they are."""
    place = tmp_path / "bin"
    place.mkdir()
    monkeypatch.setenv("PATH", str(place))
    monkeypatch.setenv("HOME", str(tmp_path))  # whose profile may do anything, and must not be killed at it
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("HPCFLOW_ACCOUNT", raising=False)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")

    def programs(lines: dict[str, str]) -> None:
        for name, line in lines.items():
            (place / name).write_text(f"#!/bin/sh\n{line}\n")
            (place / name).chmod(0o755)

    return programs


def saying(file: str) -> str:
    return f"while IFS= read -r line; do echo \"$line\"; done <'{DATA / file}'"


def test_slurm_says_its_partitions_and_nodes() -> None:
    found = slurm_queues(said("scontrol_show_partition.txt"), said("sinfo.txt"), whole_nodes=False)
    assert found.default == "debug"
    assert found.nodes == {"4cores-2gpus": Node(cores=4, gpus=2, memory=4000)}
    assert {name: (q.node, q.max_walltime, q.max_nodes, q.exclusive) for name, q in found.queues.items()} == {
        "debug": ("4cores-2gpus", None, None, False),
        "high": ("4cores-2gpus", 3600, None, False),
        "low": ("4cores-2gpus", 3600, None, False),
    }


PARTITION = (
    "PartitionName=p AllowGroups=ALL AllowAccounts=a,b AllowQos=ALL Default=NO QoS=q MaxNodes=4 MaxTime=1-00:00:00"
)
PARTITION += " MinNodes=2 OverSubscribe=EXCLUSIVE RootOnly=NO State=UP\n"


@pytest.mark.parametrize(
    ("columns", "node"),
    [
        ("128|2|64|1|257000|(null)", Node(cores=128, memory=257000)),
        ("256|2|64|2|515000|(null)", Node(cores=128, memory=515000, cpus_per_core=2)),
        ("64|2|32|2|515000|(null)", Node(cores=64, memory=515000)),
        ("128|2|64|1|515000|gpu:a100:4(S:0-3)", Node(cores=128, memory=515000, gpus=4)),
        ("64|1|64|1|1000|gpu:4,nvme:900", Node(cores=64, memory=1000, gpus=4)),
        (
            "64|1|64|1|1000|nvme:900,gpu:mi250:8(S:0-7)",
            Node(cores=64, memory=1000, gpus=8, gpu_variable="ROCR_VISIBLE_DEVICES"),
        ),
    ],
)
def test_slurm_counts_threads_or_cores(columns: str, node: Node) -> None:
    found = slurm_queues(PARTITION, f"p|10|{columns}\n", whole_nodes=False)
    assert list(found.nodes.values()) == [node]
    queue = found.queues["p"]
    assert (queue.exclusive, queue.min_nodes, queue.max_nodes, queue.max_walltime) == (True, 2, 4, 86400)
    assert [remark.partition(":")[0] for remark in found.remarks["p"]] == [
        "AllowAccounts=a,b",
        "Limits of QOS q hold here",
    ]


def test_a_queue_has_the_nodes_that_it_has_most_of() -> None:
    kinds = "p|3|64|1|64|1|1000|(null)\np|50|64|1|64|1|2000|(null)\nelsewhere|99|8|1|8|1|1000|(null)\n"
    found = slurm_queues(PARTITION, kinds, whole_nodes=False)
    assert found.nodes[found.queues["p"].node or ""].memory == 2000
    assert found.remarks["p"][-1] == "Its nodes differ; others are 64cores."


@pytest.mark.parametrize("model", ["mi250", "MI300X", "gfx90a"])
def test_gpus_of_amd_have_a_variable_of_their_own(model: str) -> None:
    assert gpu_variable(model) == "ROCR_VISIBLE_DEVICES"
    assert gpu_variable("h100") == "CUDA_VISIBLE_DEVICES"


def test_pbs_says_its_queues_and_nodes() -> None:
    found = pbs_queues(said("pbs_queues.txt"), said("pbs_nodes.txt"), said("pbs_server.txt"))
    assert found.default == "workq"
    assert found.nodes == {
        "32cores": Node(cores=32, memory=128000),
        "64cores-4gpus": Node(cores=64, gpus=4, memory=516000),
    }
    assert found.queues == {
        "workq": Queue(node="32cores", max_nodes=10, max_walltime=86400, limits=Limits(running=10, array=50)),
        "gpuq": Queue(node="64cores-4gpus", exclusive=True, max_walltime=72 * 3600),
        "prod": Queue(node="32cores", min_nodes=10, max_nodes=496, max_walltime=86400),
    }
    assert "small, large" in found.remarks["prod"][0]
    assert "groups" in found.remarks["gpuq"][0]


@pytest.mark.parametrize(
    ("sharing", "exclusive"), [("force_exclhost", True), ("default_excl", True), ("ignore_excl", False)]
)
def test_pbs_says_whether_jobs_get_nodes_of_their_own(sharing: str, exclusive: bool) -> None:
    nodes = said("pbs_nodes.txt").replace("force_exclhost", sharing)
    assert pbs_queues(said("pbs_queues.txt"), nodes, "").queues["gpuq"].exclusive is exclusive


def test_lsf_says_its_queues_and_hosts() -> None:
    found = lsf_queues(said("lsf_queues.txt"), said("lsf_hosts.txt"))
    assert found.default == "hpc"
    assert found.nodes == {
        "24cores": Node(cores=24, memory=251 * 1024),
        "48cores": Node(cores=48, memory=round(1.4 * 1024 * 1024 + 0.5)),
    }
    assert found.queues == {
        "hpc": Queue(node="24cores", max_walltime=72 * 3600),
        "gpua100": Queue(max_walltime=86400),
    }


def test_of_hundreds_of_modules_those_are_kept_that_a_class_may_want() -> None:
    listing = (
        "/appl/modules:\ncp2k/2025.1\ncp2k/2026.1(default)\nOpenMPI/5.0.5-GCC-13.3.0\nchem/cp2k/9\nmpi4py/3\ngcc/13\n"
    )
    found = ["OpenMPI/5.0.5-GCC-13.3.0", "chem/cp2k/9", "cp2k/2025.1", "cp2k/2026.1"]
    assert modules(listing) == found


@pytest.mark.parametrize("text", ["", "error: nothing works", "PartitionName=\n|||||||", "Queue: \n", "QUEUE: x\n"])
def test_what_cannot_be_read_is_left_out(text: str) -> None:
    for found in (slurm_queues(text, text, True), pbs_queues(text, text, text), lsf_queues(text, text)):
        assert found.queues == {}


SLURM = Machine("slurm", queues=slurm_queues(said("scontrol_show_partition.txt"), said("sinfo.txt"), False))
PBS = Machine("pbs", queues=pbs_queues(said("pbs_queues.txt"), said("pbs_nodes.txt"), said("pbs_server.txt")))
LSF = Machine("lsf", queues=lsf_queues(said("lsf_queues.txt"), said("lsf_hosts.txt")), modules=["cp2k/2026.1"])
WHOLE = Machine("slurm", accounts=["2026_042"], engine="apptainer", queues=slurm_queues(
    PARTITION, "p|10|256|2|64|2|515000|gpu:mi250:8\n", False))  # fmt: skip
ODD = Machine("slurm", accounts=["a", "b"], queues=Found({}, {"null": Queue(), "a: b": Queue()}, {"null": ["# x: y"]}))
EMPTY = [Machine(kind) for kind in ("slurm", "pbs", "lsf", "local")]


@pytest.mark.parametrize("machine", [SLURM, PBS, LSF, WHOLE, ODD, *EMPTY])
def test_the_file_loads_and_its_classes_break_no_rule(
    machine: Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    path = tmp_path / "hpcflow" / "sites" / "new.yaml"
    path.parent.mkdir(parents=True)
    path.write_text(starting_file("new", machine, DAY), "utf-8")
    site = load_site("new")
    assert set(site.classes) == CLASSES
    assert {name: queue.limits for name, queue in site.queues.items()} == {
        name: queue.limits for name, queue in machine.queues.queues.items()
    }
    validate(site)


def test_classes_go_where_their_work_can_run() -> None:
    text = starting_file("new", PBS, DAY)
    assert "  reference:\n    queue: workq\n    walltime: 12:00:00\n    cores: 32\n    ranks: 32\n" in text
    assert "  training:\n    queue: gpuq\n    walltime: 24:00:00\n    cores: 16\n    gpus: 1\n" in text


def test_steps_leave_the_number_of_cpus_to_the_job_where_slurm_counts_threads() -> None:
    assert '"srun --exact --nodes=1 --ntasks={ranks} --mem={memory}M"' in starting_file("new", WHOLE, DAY)
    assert " --cpus-per-task={threads} " in starting_file("new", SLURM, DAY)


def test_what_was_guessed_is_marked_and_what_was_read_has_its_source() -> None:
    text = starting_file("new", PBS, DAY)
    sources, _, doubts = text.partition("\nsources:\n")[2].partition("\nunverified:\n")
    assert f'queues: "qstat -Q -f on {PBS.host}, 2026-11-20"' in sources
    for key in ("classes", "nodes.*.cores", "queues.*.memory_per_core"):
        assert f"  {key}: " in doubts


def new(*arguments: str) -> Result:
    result = CliRunner().invoke(cli, ["sites", "new", *arguments], standalone_mode=False)
    if isinstance(result.exception, UserError):
        raise result.exception
    assert result.exception is None, result.output
    return result


def test_new_asks_pbs_and_writes_for_all_campaigns(programs: Programs, tmp_path: Path) -> None:
    which = {"-B": "pbs_server.txt", "-Q": "pbs_queues.txt"}
    cases = " ".join(f"{flag}) {saying(file)};;" for flag, file in which.items())
    programs({"qsub": "", "qstat": f"case $1 in {cases} esac", "pbsnodes": saying("pbs_nodes.txt"), "apptainer": ""})
    result = new("department")
    path = tmp_path / "config" / "hpcflow" / "sites" / "department.yaml"
    assert f"{path}: PBS 23.06.06, queues: workq, gpuq, prod\n" in result.output
    assert result.output.endswith("hpcflow sites check department\n")
    site = load_site("department")
    assert (site.limits.submit, site.limits.array) == (200, 10000)
    assert site.container is not None
    assert (site.container.engine, site.container.gpu) == ("apptainer", "--nv")


def test_new_asks_lsf_and_writes_into_a_campaign(programs: Programs, tmp_path: Path) -> None:
    programs({"bsub": "", "bqueues": saying("lsf_queues.txt"), "lshosts": saying("lsf_hosts.txt"), "bparams": "exit 1"})
    result = new("department", "--campaign", str(tmp_path))
    assert "no answer: bparams -l ended with exit code 1: it said nothing" in result.output
    assert load_site("department", tmp_path).scheduler.kind == "lsf"


def test_a_scheduler_that_is_installed_and_not_in_use_is_passed_over(programs: Programs) -> None:
    programs({"sbatch": "", "scontrol": "exit 1", "qsub": "", "qstat": saying("pbs_server.txt"), "pbsnodes": ""})
    result = new("department")
    assert "no answer: scontrol show config ended with exit code 1" in result.output
    assert load_site("department").scheduler.kind == "pbs"


def test_without_a_scheduler_the_file_is_for_this_machine(programs: Programs) -> None:
    programs({})
    assert "No sbatch, qsub or bsub was found" in new("laptop").output
    assert load_site("laptop").scheduler.kind == "local"


def test_a_scheduler_that_says_nothing_gives_a_file_without_queues(programs: Programs) -> None:
    programs({"sbatch": ""})
    result = new("silent")
    assert "no answer: scontrol was not found on this machine" in result.output
    assert load_site("silent").queues == {}


def test_a_file_that_is_there_stays_as_it_is(programs: Programs, tmp_path: Path) -> None:
    programs({})
    new("laptop")
    path = tmp_path / "config" / "hpcflow" / "sites" / "laptop.yaml"
    path.write_text("mine")
    with pytest.raises(UserError, match=r"laptop\.yaml is there already\. Look at it with: hpcflow sites show laptop"):
        new("laptop")
    assert path.read_text() == "mine"


def test_a_machine_that_comes_with_hpcflow_needs_no_new_file(programs: Programs) -> None:
    programs({})
    with pytest.raises(UserError, match=r"lumi comes with hpcflow, .* write `account: NAME` into .*/lumi\.yaml\."):
        new("lumi")


@pytest.mark.parametrize("name", ["a b", "../x", ""])
def test_a_name_that_cannot_be_one_is_refused(programs: Programs, name: str) -> None:
    programs({})
    with pytest.raises(UserError, match="A site cannot be called"):
        new(name)


def test_a_command_that_hangs_is_waited_for_only_so_long(programs: Programs, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hpcflow.sites.machine.PATIENCE", 0.2)
    programs({"bsub": "", "bqueues": f"exec {os.path.realpath('/bin/sleep')} 60"})
    assert any(line.startswith("bqueues -l did not answer") for line in look().silent)
