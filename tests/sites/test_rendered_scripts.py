"""Rendered scripts, run by a real shell: a stand-in for the worker says what it was told."""

import json
import os
import shlex
import stat
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hpcflow.errors import UserError
from hpcflow.sites.layers import load_site
from hpcflow.sites.schema import Site
from hpcflow.sites.scripts import Script, render
from hpcflow.worker.arguments import read

Make = Callable[[str], Site]
Run = Callable[..., dict[str, Any]]

HOSTILE = 'it\'s 50% "à" $HOME `x` \\ #&;'

WORKER = """
import json, os, sys
told = {"arguments": sys.argv[1:], "variables": dict(os.environ), "directory": os.getcwd()}
os.write(1, json.dumps(told).encode() + b"\\n")
"""

STAND_IN = """#!{python}
import json, os, sys
words = sys.argv[1:]
with open({log!r}, "a") as log:
    print(json.dumps([os.path.basename(sys.argv[0]), *words]), file=log)
start = next(i for i, w in enumerate(words) if w in ({python!r}, "python3", "/bin/bash"))
os.execvp(words[start], words[start:])
"""


@pytest.fixture
def campaign(tmp_path: Path) -> Path:
    path = tmp_path / HOSTILE
    path.mkdir()
    (path / "worker.pyz").write_text(WORKER)
    return path


@pytest.fixture
def script(campaign: Path) -> Script:
    return Script(
        token="hf003k7w2m9x4q1",
        title="0003-label",
        width=4,
        campaign=campaign,
        array=campaign / "arrays" / "0003",
        archive=campaign / "worker.pyz",
        log=campaign / "log",
        resources="r1",
    )


@pytest.fixture
def run(script: Script, tmp_path: Path) -> Run:
    """Run the script of a class; return what the worker was told, and the calls of stand-ins."""

    def run(
        site: Site, task_class: str, variables: Mapping[str, str] | None = None, stand_ins: tuple[str, ...] = ()
    ) -> dict[str, Any]:
        commands = tmp_path / "commands"
        commands.mkdir()
        log = tmp_path / "calls"
        log.touch()
        for name in stand_ins:
            path = commands / name
            path.write_text(STAND_IN.format(python=sys.executable, log=str(log)))
            path.chmod(path.stat().st_mode | stat.S_IXUSR)
        job = tmp_path / "job.sh"
        job.write_text(render(site, task_class, script), "utf-8")
        environment = {**os.environ, "PATH": f"{commands}:{os.environ['PATH']}", **(variables or {})}
        done = subprocess.run(["bash", str(job)], env=environment, cwd="/", capture_output=True, text=True, check=False)
        calls = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
        told = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
        return {"code": done.returncode, "errors": done.stderr, "told": told, "calls": calls}

    return run


def arguments(told: Mapping[str, Any]) -> dict[str, str]:
    """The worker's options by name."""
    words = told["arguments"]
    assert words[0] == "worker"
    found, name = {}, ""
    for word in words[1:]:
        if word.startswith("--"):
            name = word[2:]
            found[name] = ""
        else:
            found[name] = word
    return found


LOCAL = "scheduler: {kind: local, beat: 10s}\nshell: /bin/bash\n"


def test_the_worker_is_told_everything_on_its_command_line(site: Make, run: Run, campaign: Path) -> None:
    machine = site(
        LOCAL + "classes: {one: {walltime: 2h, max_walltime: 10m, slots: 2, cores: 3, gpus: 1, memory: 2G, margin: 60}}"
    )
    (told,) = run(machine, "one")["told"]
    assert arguments(told) == {
        "array": str(campaign / "arrays" / "0003"),
        "job": "hf003k7w2m9x4q1",
        "resources": "r1",
        "slots": "2",
        "cores": "3",
        "gpus": "1",
        "memory": "2048",
        "walltime": "7200",
        "margin": "60",
        "grace": "30",
        "beat": "10",
        "task-walltime": "600",
    }


def test_the_real_worker_understands_every_option(site: Make, run: Run) -> None:
    machine = site(
        LOCAL + "scratch: /tmp\nnodes: {n: {cores: 4, gpus: 2, gpu_cores: ['0-1', '2-3']}}\n"
        "queues: {q: {node: n, exclusive: true}}\n"
        "classes: {one: {queue: q, walltime: 2h, max_walltime: 10m, cores: 2, gpus: 1, memory: 2G, launcher: mpirun}}"
    )
    (told,) = run(machine, "one")["told"]
    options = read(told["arguments"][1:], told["variables"])
    assert (options.slots, options.cores, options.gpus, options.memory) == (2, 2, 1, 2048)
    assert (options.whole_node, options.map_cores, options.map_gpus) == (True, "0-1;2-3", "0;1")
    assert (options.launch, options.scratch, options.task_walltime) == ("mpirun", "/tmp", 600)
    assert options.end == float(told["variables"]["HPCFLOW_STARTED"]) + 7200


def test_a_script_runs_anywhere_and_starts_in_the_campaign(site: Make, run: Run, campaign: Path) -> None:
    (told,) = run(site(LOCAL + "classes: {one: {walltime: 1h}}"), "one")["told"]
    assert told["directory"] == str(campaign)
    assert int(told["variables"]["HPCFLOW_STARTED"]) > 0


@pytest.mark.parametrize(
    ("kind", "variables", "element", "scheduler_id"),
    [
        ("slurm", {"SLURM_JOB_ID": "131", "SLURM_ARRAY_JOB_ID": "124", "SLURM_ARRAY_TASK_ID": "7"}, "7", "124_7"),
        ("slurm", {"SLURM_JOB_ID": "131"}, "", "131"),
        ("pbs", {"PBS_JOBID": "44[3].server", "PBS_ARRAY_INDEX": "3"}, "3", "44[3].server"),
        ("pbs", {"PBS_JOBID": "45.server"}, "", "45.server"),
        ("lsf", {"LSB_JOBID": "12", "LSB_JOBINDEX": "5"}, "4", "12[5]"),
        ("lsf", {"LSB_JOBID": "13", "LSB_JOBINDEX": "0"}, "", "13"),
        ("local", {"HPCFLOW_ELEMENT": "2"}, "2", None),
    ],
)
def test_a_job_knows_which_element_it_is(
    kind: str, variables: dict[str, str], element: str, scheduler_id: str | None, site: Make, run: Run
) -> None:
    # What a job of another scheduler, or another job, left in the environment must not count.
    stale = {} if kind == "local" else {"HPCFLOW_ELEMENT": "99", "HPCFLOW_SCHEDULER_ID": "99"}
    machine = site(f"scheduler: {{kind: {kind}}}\nclasses: {{one: {{walltime: 1h}}}}")
    (told,) = run(machine, "one", {**stale, **variables, "HPCFLOW_END_TIME": "5"})["told"]
    assert told["variables"]["HPCFLOW_ELEMENT"] == element
    assert told["variables"].get("HPCFLOW_SCHEDULER_ID") == scheduler_id
    assert not told["variables"].get("HPCFLOW_END_TIME")


def test_slurm_says_when_the_job_ends_and_what_srun_forgets(site: Make, run: Run) -> None:
    machine = site("scheduler: {kind: slurm}\nclasses: {one: {walltime: 1h}}")
    slurm = {"SLURM_JOB_ID": "1", "SLURM_JOB_END_TIME": "1795170386", "SLURM_CPUS_PER_TASK": "8"}
    (told,) = run(machine, "one", slurm)["told"]
    assert told["variables"]["HPCFLOW_END_TIME"] == "1795170386"
    assert told["variables"]["SRUN_CPUS_PER_TASK"] == "8"


def test_variables_are_expanded_on_the_node_and_keep_their_quotes(site: Make, run: Run) -> None:
    machine = site(
        LOCAL + "environment: {variables: {A: 'x $NODE \"y\"', B: $(echo $A | tr x z), C: a}}\n"
        "classes: {one: {walltime: 1h, environment: {variables: {C: $C b, D: null}, lines: ['E=f # no', export E]}}}"
    )
    (told,) = run(machine, "one", {"NODE": "n 1"})["told"]
    found = told["variables"]
    assert (found["A"], found["B"], found["C"]) == ('x n 1 "y"', 'z n 1 "y"', "a b")
    assert "D" not in found
    assert found["E"] == "f"


@pytest.mark.parametrize(
    "line", ["false", "false | false", "true && false", "cd /nowhere # really", "module load nothing", "(exit 5)"]
)
def test_an_environment_line_that_fails_ends_the_job_and_says_which(line: str, site: Make, run: Run) -> None:
    where = "modules" if line.startswith("module") else "lines"
    entry = line.removeprefix("module load ")
    machine = site(LOCAL + f"classes: {{one: {{walltime: 1h, environment: {{{where}: [{json.dumps(entry)}]}}}}}}")
    result = run(machine, "one")
    assert result["told"] == []
    assert result["code"] == 78
    assert result["errors"].strip().endswith(f": {line}")


def test_lines_of_several_commands_are_kept_as_they_are(site: Make, run: Run) -> None:
    machine = site(
        LOCAL + "classes:\n  one:\n    walltime: 1h\n    environment:\n      lines:\n"
        "        - |\n          for x in a b; do\n            Y=$Y$x\n          done\n          export Y\n"
        "        - sleep 0 &\n        - export Z=$(cat <<< 'q')\n"
    )
    (told,) = run(machine, "one")["told"]
    assert (told["variables"]["Y"], told["variables"]["Z"]) == ("ab", "q")


def test_module_commands_are_told_from_names(site: Make, script: Script) -> None:
    machine = site(
        LOCAL + "classes: {one: {walltime: 1h, environment: {modules: [purge, use /a b, cp2k/1 x, --force purge]}}}"
    )
    text = render(machine, "one", script)
    found = [line.split(" ||")[0] for line in text.splitlines() if line.startswith("module")]
    assert found == ["module purge", "module use /a b", "module load cp2k/1 x", "module --force purge"]


def test_a_campaign_that_the_node_cannot_see_ends_the_job(site: Make, run: Run, campaign: Path) -> None:
    (campaign / "worker.pyz").unlink()
    campaign.rmdir()
    result = run(site(LOCAL + "classes: {one: {walltime: 1h}}"), "one")
    assert result["code"] == 78
    assert "cd (into the campaign)" in result["errors"]


def test_mpi_processes_get_their_threads(site: Make, run: Run) -> None:
    machine = site(LOCAL + "classes: {one: {walltime: 1h, cores: 8, ranks: 4}}")
    (told,) = run(machine, "one")["told"]
    assert told["variables"]["OMP_NUM_THREADS"] == "2"


def test_the_launcher_is_filled_in_but_for_what_only_the_worker_knows(site: Make, run: Run) -> None:
    machine = site(
        LOCAL + "classes: {one: {walltime: 1h, cores: 8, ranks: 4, memory: 2G, "
        "launcher: 'run -n {ranks} -c {threads} --mem={memory} -x \"A $B\" {cpu_list} {cores}'}}"
    )
    (told,) = run(machine, "one", {"B": "b"})["told"]
    launch = shlex.split(arguments(told)["launch"])
    assert launch == ["run", "-n", "4", "-c", "2", "--mem=2048", "-x", "A b", "{cpu_list}", "{cores}"]


CONTAINER = """
container: {engine: ENGINE, gpu: --gpu-flag, options: --more, binds: [/pfs, $WORK/x]}
scratch: $SCRATCH
classes:
  worker: {walltime: 1h, gpus: 1, container: {image: $WORK/a.sif, binds: [/data]}}
  command: {walltime: 1h, launcher: 'mpirun -np 2 {container} env', container: {image: $WORK/a.sif, wraps: command}}
"""
NODE = {"WORK": "/work dir", "SCRATCH": "/local"}


def test_workers_tick_on_their_way_out_but_in_containers(site: Make, script: Script) -> None:
    machine = site(LOCAL + CONTAINER.replace("ENGINE", "apptainer") + "  bare: {walltime: 1h}\n")
    ticking = replace(script, tick="hpcflow link --campaign 'a b'")
    texts = {name: render(machine, name, ticking) for name in machine.classes}
    assert {name for name, text in texts.items() if "--tick" in text} == {"bare", "command"}


def test_a_container_around_the_worker_shows_what_it_needs(site: Make, run: Run, campaign: Path) -> None:
    machine = site(LOCAL + CONTAINER.replace("ENGINE", "apptainer"))
    result = run(machine, "worker", NODE, ("apptainer",))
    (call,) = result["calls"]
    assert call[: call.index("python3")] == [
        *("apptainer", "exec", "--gpu-flag", "--more"),
        *("--bind", str(campaign), "--bind", "/local", "--bind", "/pfs", "--bind", "/work dir/x"),
        *("--bind", "/data", "/work dir/a.sif"),
    ]
    assert arguments(result["told"][0])["job"] == "hf003k7w2m9x4q1"


@pytest.mark.parametrize("engine", ["apptainer", "singularity", "podman-hpc", "shifter", "charliecloud", "uenv"])
def test_a_container_around_the_command_works_in_the_directory_of_the_task(
    engine: str, site: Make, run: Run, tmp_path: Path, script: Script
) -> None:
    machine = site(LOCAL + CONTAINER.replace("ENGINE", engine))
    program = {"charliecloud": "ch-run"}.get(engine, engine)
    (told,) = run(machine, "command", NODE)["told"]
    launch = shlex.split(arguments(told)["launch"])
    assert launch[:3] == ["mpirun", "-np", "2"]
    stand_in = tmp_path / "commands" / program
    stand_in.write_text(f"#!{sys.executable}\nimport sys, json; print(json.dumps(sys.argv[1:]))")
    stand_in.chmod(0o755)
    task = tmp_path / "task directory"
    task.mkdir()
    environment = {**os.environ, **NODE, "PATH": f"{stand_in.parent}:{os.environ['PATH']}"}
    # As a task would: the launcher's words, then the program's.
    done = subprocess.run([*launch[3:], "prog", "a b"], cwd=task, env=environment, capture_output=True, check=True)
    words = json.loads(done.stdout)
    assert words[-3:] == ["env", "prog", "a b"]
    assert [w for w in words if "a.sif" in w] == [{"shifter": "--image="}.get(engine, "") + "/work dir/a.sif"]
    if engine in ("podman-hpc", "charliecloud"):
        assert str(task) in words
        assert f"{script.campaign}:{script.campaign}" in words


SEVERAL = """
classes:
  each: {walltime: 1h, nodes: 2}
  all: {walltime: 1h, nodes: 2, span: true}
"""


@pytest.mark.parametrize(("kind", "launcher"), [("slurm", "srun"), ("lsf", "blaunch")])
def test_every_node_of_an_element_gets_a_worker(kind: str, launcher: str, site: Make, run: Run, tmp_path: Path) -> None:
    (tmp_path / "hosts").write_text("n2\nn1\nn1\nn2\n")
    machine = site(f"scheduler: {{kind: {kind}}}\n" + SEVERAL)
    result = run(machine, "each", {"LSB_DJOB_HOSTFILE": str(tmp_path / "hosts")}, (launcher,))
    (call,) = result["calls"]
    assert call[1:3] == {"srun": ["--nodes=2", "--ntasks=2"], "blaunch": ["-z", "n1 n2 "]}[launcher]
    assert len(result["told"]) == 1


def test_lsf_without_a_file_of_hosts_names_them_in_a_variable(site: Make, run: Run) -> None:
    machine = site("scheduler: {kind: lsf}\n" + SEVERAL)
    result = run(machine, "each", {"LSB_HOSTS": "n2 n2 n1"}, ("blaunch",))
    assert result["calls"][0][1:3] == ["-z", "n1 n2 "]


def test_lsf_without_blaunch_says_what_to_do(site: Make, run: Run) -> None:
    result = run(site("scheduler: {kind: lsf}\n" + SEVERAL), "each", {"LSB_HOSTS": "n1 n2"}, ())
    assert result["calls"] == []
    assert "scheduler.worker_launcher" in result["errors"]


def test_pbs_starts_a_worker_once_on_each_host_with_the_environment_of_the_job(
    site: Make, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "hosts").write_text("n1\nn1\nn2\nn2\n")
    variables = 'environment: {variables: {A: "b \'c"}}\n'
    several = SEVERAL.replace("each: {", "each: {launcher: 'run $A', ")
    machine = site("scheduler: {kind: pbs}\n" + variables + several)
    result = run(machine, "each", {"PBS_NODEFILE": str(tmp_path / "hosts"), "PBS_JOBID": "1.s"}, ("pbsdsh",))
    assert sorted(call[1:3] for call in result["calls"]) == [["-n", "0"], ["-n", "2"]]
    assert [told["variables"]["A"] for told in result["told"]] == ["b 'c", "b 'c"]
    assert [shlex.split(arguments(told)["launch"]) for told in result["told"]] == [["run", "b", "'c"]] * 2
    assert [told["variables"]["HPCFLOW_SCHEDULER_ID"] for told in result["told"]] == ["1.s", "1.s"]


def test_a_site_may_start_workers_in_its_own_way(site: Make, run: Run) -> None:
    machine = site("scheduler: {kind: pbs, worker_launcher: 'mpiexec -n {nodes} --ppn 1'}\n" + SEVERAL)
    (call,) = run(machine, "each", {}, ("mpiexec",))["calls"]
    assert call[1:5] == ["-n", "2", "--ppn", "1"]


@pytest.mark.parametrize("kind", ["slurm", "pbs", "lsf"])
def test_a_task_that_spans_all_nodes_has_one_worker(kind: str, site: Make, run: Run) -> None:
    result = run(site(f"scheduler: {{kind: {kind}}}\n" + SEVERAL), "all")
    assert result["calls"] == []
    assert arguments(result["told"][0])["slots"] == "1"


@pytest.fixture
def own_template(site: Make, script: Script, tmp_path: Path) -> Callable[..., str]:
    """Render with a template of the campaign."""

    def own_template(text: str, name: str = "local.sh.j2") -> str:
        templates = tmp_path / "campaign" / "templates"
        templates.mkdir(parents=True)
        (templates / name).write_text(text)
        return render(site(LOCAL + "classes: {one: {walltime: 1h}}"), "one", script, tmp_path / "campaign")

    return own_template


def test_a_template_of_the_campaign_may_extend_the_one_it_replaces(own_template: Callable[..., str]) -> None:
    text = own_template('{% extends "shipped/local.sh.j2" %}{% block prepare %}echo {{ token }}{% endblock %}')
    assert "\necho hf003k7w2m9x4q1\n" in text
    assert "unset HPCFLOW_END_TIME" in text


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("#!/bin/bash\n{{ tokn }}\n", 2, "'tokn' is undefined. Did you mean 'token'?"),
        ("#!/bin/bash\n\n{% if nonode %}{% endif %}\n", 3, "'nonode' is undefined."),
        ("{{ worker.first }}", 1, "has no attribute 'first'"),
        ("a\n{% if x %}", 2, "Unexpected end of template"),
        ("{{ token | quote }}", 1, "No filter named 'quote'"),
        ("a\n{{ 1 / 0 }}", 2, "division by zero"),
    ],
)
def test_what_is_wrong_with_a_template_is_told_with_file_and_line(
    text: str, line: int, message: str, own_template: Callable[..., str], tmp_path: Path
) -> None:
    with pytest.raises(UserError) as caught:
        own_template(text)
    assert str(caught.value).startswith(f"{tmp_path}/campaign/templates/local.sh.j2, line {line}: ")
    assert message in str(caught.value)


def test_a_template_that_extends_nothing_is_told_the_nearest(own_template: Callable[..., str]) -> None:
    with pytest.raises(UserError, match=r"There is no template 'slrm\.sh\.j2'\. Did you mean 'slurm\.sh\.j2'\?"):
        own_template('{% extends "slrm.sh.j2" %}')


def test_an_unknown_word_in_an_option_is_an_error_and_not_a_strange_job(site: Make, script: Script) -> None:
    machine = site("scheduler: {kind: slurm}\nclasses: {one: {walltime: 1h, options: {comment: '{x}'}}}")
    with pytest.raises(UserError, match=r"option 'comment': there is no word \{x\}"):
        render(machine, "one", script)


def test_a_title_cannot_break_out_of_its_comment(site: Make, script: Script) -> None:
    text = render(site(LOCAL + "classes: {one: {walltime: 1h}}"), "one", replace(script, title="a\nrm -rf /"))
    assert "# a rm -rf /, class one" in text


def test_a_request_changes_directives_and_worker_together(site: Make, script: Script) -> None:
    machine = site("scheduler: {kind: slurm}\nclasses: {one: {walltime: 1h, memory: 1G}}")
    text = render(machine, "one", replace(script, request={"memory": 3000, "walltime": 7200.0, "cores": 2}))
    assert "#SBATCH --mem=3000M\n" in text
    assert "#SBATCH --time=02:00:00\n" in text
    assert "--cores 2 --gpus 0 --memory 3000 " in text.replace("\\\n", "\n")
    assert "--walltime 7200" in text


def test_local_scripts_of_the_shipped_site_run(run: Run) -> None:
    (told,) = run(load_site("local"), "reference")["told"]
    assert arguments(told)["slots"] == "1"
