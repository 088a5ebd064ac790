"""A Slurm whose nodes are on paper only: its controller believes that they are switched off and could be switched on.

That is enough for ``sbatch --test-only``: it reads directives as any sbatch does, and the controller says whether such
a job could start on nodes and partitions like those of a site file. Nothing runs, and nothing could.
"""

from __future__ import annotations

import os
import pwd
import secrets
import socket
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hpcflow.sites.schema import Node, Queue, Site

PROGRAMS = ("sbatch", "slurmctld", "munged")
PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"
COUNT = 8
"""Nodes of each kind."""
ANYTHING = Node(cores=256, gpus=8)
"""Where a site file does not say what the nodes of a queue are."""
UNKNOWN_MEMORY = 1_000_000
CONF = """\
ClusterName=paper
SlurmctldHost=localhost(127.0.0.1)
SlurmctldPort={port}
SlurmUser={user}
AuthType=auth/munge
AuthInfo=socket={dir}/munge.socket
CredType=cred/munge
CommunicationParameters=NoCtldInAddrAny
StateSaveLocation={dir}
SlurmctldPidFile={dir}/controller.pid
SlurmctldLogFile={dir}/controller.log
MailProg=/bin/true
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
AccountingStorageType=accounting_storage/none
GresTypes=gpu
EnforcePartLimits=ALL
ResumeProgram=/bin/true
SuspendProgram=/bin/true
SuspendTime=300
"""


class Paper:
    """Asks whether a job could run."""

    def __init__(self, directory: Path) -> None:
        self.environment = {**os.environ, "PATH": PATH, "LC_ALL": "C", "SLURM_CONF": str(directory / "slurm.conf")}

    def verdict(self, script: Path, partition: str) -> tuple[int, str]:
        """Return exit code and words of ``sbatch --test-only``."""
        command = ["sbatch", "--test-only", f"--partition={partition}", str(script)]
        done = subprocess.run(command, env=self.environment, capture_output=True, text=True, check=False)
        return done.returncode, done.stderr


def partition(site: Site, queue: str | None) -> str:
    """Return what the partition that stands for a queue of a site is called: sites use the same names."""
    return f"{site.name}-{queue or 'any'}"


def _lines(site: Site) -> Iterator[str]:
    for name, queue in [*site.queues.items(), (None, Queue())]:
        node = site.nodes[queue.node] if queue.node else ANYTHING
        called = partition(site, name)
        gres = {**site.options, **queue.options}.get("gres")
        model = gres.split("{")[0] if isinstance(gres, str) else "gpu:"  # gpu:gh200:{gpus}
        constraint = queue.options.get("constraint")
        yield (
            f"NodeName={called}-[1-{COUNT}] State=CLOUD Sockets=1 CoresPerSocket={node.cores} "
            f"ThreadsPerCore={node.cpus_per_core} RealMemory={node.memory or UNKNOWN_MEMORY}"
            + (f" Gres={model}{node.gpus}" if node.gpus else "")
            + (f" Feature={constraint}" if constraint else "")
        )
        yield (
            f"PartitionName={called} Nodes={called}-[1-{COUNT}] MinNodes={queue.min_nodes}"
            + (f" MaxNodes={queue.max_nodes}" if queue.max_nodes else "")
            + (f" MaxTime={int(queue.max_walltime // 60)}" if queue.max_walltime else "")
            + (" OverSubscribe=EXCLUSIVE" if queue.exclusive else "")
        )


@contextmanager
def paper_slurm(sites: Iterable[Site], directory: Path) -> Iterator[Paper]:
    """Start a controller for the queues of these sites, and stop it at the end."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    user = pwd.getpwuid(os.getuid()).pw_name
    text = CONF.format(port=port, user=user, dir=directory)
    directory.chmod(0o755)  # munge insists
    (directory / "slurm.conf").write_text(text + "\n".join(line for site in sites for line in _lines(site)) + "\n")
    key = directory / "munge.key"
    key.touch(0o600)
    key.write_bytes(secrets.token_bytes(1024))
    paper = Paper(directory)
    files = {"key-file": "munge.key", "socket": "munge.socket", "pid-file": "munged.pid", "log-file": "munged.log"}
    munged = ["munged", "--foreground", "--num-threads=1", f"--seed-file={directory}/munge.seed"]
    munged += [f"--{option}={directory / file}" for option, file in files.items()]
    started: list[subprocess.Popen[bytes]] = []
    try:
        with open(directory / "said", "wb") as log:
            for command in (munged, ["slurmctld", "-D"]):
                started.append(subprocess.Popen(command, env=paper.environment, stdout=log, stderr=log))
                if command is munged:
                    _until((directory / "munge.socket").exists, log.name)
        ping = ["scontrol", "ping"]
        _until(lambda: b"is UP" in subprocess.run(ping, env=paper.environment, capture_output=True).stdout, log.name)
        yield paper
    finally:
        for process in reversed(started):
            process.kill()
            process.wait()


def _until(condition: Callable[[], bool], log: str) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline, Path(log).read_text(errors="replace")
        time.sleep(0.05)
