"""Look around on a machine that no site file describes: what ``hpcflow sites new`` begins with.

A handful of commands, each asked once and with little patience. What does not answer is noted and left out.
"""

from __future__ import annotations

import os
import platform
import pwd
import re
import shutil
import socket
from dataclasses import dataclass, field, replace

import msgspec

from hpcflow.schedulers import commands, lsf_text, pbs_text, slurm_text
from hpcflow.schedulers.base import Limits, SchedulerError
from hpcflow.sites import machine_text
from hpcflow.sites.machine_text import Found

PATIENCE = 30.0
"""Seconds for each command: a person is waiting."""

SUBMIT = {"slurm": "sbatch", "lsf": "bsub", "pbs": "qsub"}
"""The command of each scheduler that submits. Slurm and LSF may bring a qsub along, so PBS comes last."""

FIRST = {
    "slurm": ("scontrol", "show", "config"),
    "lsf": ("bparams", "-l"),
    "pbs": ("qstat", "-B", "-f"),
}
"""The first question to each scheduler. One that does not answer is installed here, but not in use."""

ENGINES = {
    "apptainer": "apptainer",
    "singularity": "singularity",
    "podman-hpc": "podman-hpc",
    "shifter": "shifter",
    "uenv": "uenv",
    "ch-run": "charliecloud",
}
"""Program, to the container engine in the words of site files; the first one found is taken."""


@dataclass
class Machine:
    """What was found."""

    kind: str
    """Of the scheduler; ``local`` if there is none."""
    version: str = ""
    queues: Found = field(default_factory=lambda: Found({}, {}, {}))
    limits: Limits = field(default_factory=Limits)
    accounts: list[str] = field(default_factory=list)
    engine: str | None = None
    modules: list[str] = field(default_factory=list)
    """Modules for MPI, CP2K and containers."""
    host: str = field(default_factory=socket.gethostname)
    silent: list[str] = field(default_factory=list)
    """Commands that were not there or gave no good answer, and what they said."""


def look() -> Machine:
    """Return what this machine says of itself."""
    machine = Machine("local", engine=next((name for program, name in ENGINES.items() if shutil.which(program)), None))
    ask = _Asker(machine)
    installed = [kind for kind, program in SUBMIT.items() if shutil.which(program)]
    answer = ""
    for kind in installed:
        machine.kind = kind
        answer = ask(*FIRST[kind])
        if answer:
            break
    else:
        machine.kind = installed[0] if installed else "local"
    if machine.kind == "slurm":
        _slurm(machine, ask, answer)
    elif machine.kind == "pbs":
        server = answer
        machine.version = _first(r"pbs_version = (\S+)", server)
        machine.queues = machine_text.pbs_queues(ask("qstat", "-Q", "-f"), ask("pbsnodes", "-a"), server, _user())
        machine.limits = _said(pbs_text.limits(server, _user()), "max_array_size" in server)
    elif machine.kind == "lsf":
        parameters = answer
        machine.queues = machine_text.lsf_queues(ask("bqueues", "-l"), ask("lshosts", "-w"))
        machine.limits = _said(lsf_text.limits(parameters), "MAX_JOB_ARRAY_SIZE" in parameters)
    # Only a shell that logs in knows of modules.
    machine.modules = machine_text.modules(ask("/bin/bash", "-lc", "module -t avail 2>&1", may_fail=True))
    arch = platform.machine()
    if arch != "x86_64":  # of this machine; that nodes are the same is a guess
        nodes = {name: msgspec.structs.replace(node, arch=arch) for name, node in machine.queues.nodes.items()}
        machine.queues = machine.queues._replace(nodes=nodes)
    return machine


def _slurm(machine: Machine, ask: _Asker, config: str) -> None:
    machine.version = _first(r"SLURM_VERSION\s*= (\S+)", config)
    whole = "select/linear" in _first(r"SelectType\s*= (\S+)", config)
    machine.queues = machine_text.slurm_queues(
        ask("scontrol", "show", "partition", "--oneliner"),
        ask("sinfo", "--noheader", "--exact", f"--format={machine_text.SINFO}"),
        whole,
    )
    who = f"user={_user()}"
    columns = "format=Account,Partition,MaxJobs,MaxSubmitJobs,DefaultQOS"
    associations = ask("sacctmgr", "-nP", "show", "assoc", who, columns)
    machine.accounts = machine_text.accounts(associations)
    qualities = ask("sacctmgr", "-nP", "show", "qos", "format=Name,MaxJobsPU,MaxSubmitPU") if associations else ""
    known = slurm_text.user_limits(associations, qualities, None)
    array = slurm_text.configured_limits(config).array if "MaxArraySize" in config else None
    machine.limits = Limits(submit=known.submit, running=known.running, array=array)


class _Asker:
    """Runs commands, and notes those that gave no answer."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine

    def __call__(self, *command: str, may_fail: bool = False) -> str:
        what = " ".join(os.path.basename(word) for word in command[:3])
        try:
            reply = commands.run(command, timeout=PATIENCE)
        except SchedulerError as error:
            self.machine.silent.append(str(error).partition(" (")[0])
            return ""
        if reply.exit_code and not may_fail:
            last = (reply.said.splitlines() or ["it said nothing"])[-1]
            self.machine.silent.append(f"{what} {reply.fate}: {last}")
            return ""
        return reply.stdout


def _said(limits: Limits, has_array: bool) -> Limits:
    """Return limits without the number that a scheduler has by default: that is asked for when it matters."""
    return limits if has_array else replace(limits, array=None)


def _user() -> str:
    return pwd.getpwuid(os.getuid()).pw_name


def _first(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    return match[1] if match else ""
