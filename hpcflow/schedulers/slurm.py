"""Slurm: the commands. What they are told and what they say is in ``slurm_text``."""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from . import commands, indices, slurm_text
from .base import Element, Ending, Limits, SchedulerError, Submission
from .clients import Clients, submitted, understood

_OUR_OWN = {
    "SLURM_BITSTR_LEN": "0",  # index lists in full: by default they are cut at 64 characters
    "SLURM_TIME_FORMAT": "%s",  # seconds since the epoch
}
_NO_ACCOUNTING = ("accounting storage is disabled", "Only 'accounting_storage/slurmdbd'")
_WINDOWS = ("now-30days", "now-2days")  # some sites bound how far back one may ask


class Slurm(Clients):
    """Jobs through sbatch, squeue, sacct and scancel.

    Parameters
    ----------
    clusters
        Names of the clusters to submit to and to look at, where one installation has several.
    environment
        Variables for the commands, such as SLURM_CONF.
    account
        Whose limits ``limits`` reads; by default the most generous of the user's accounts.
    submit_timeout, query_timeout
        Seconds after which a command that does not answer is ended.
    """

    def __init__(
        self,
        *,
        clusters: Sequence[str] = (),
        environment: Mapping[str, str] | None = None,
        account: str | None = None,
        submit_timeout: float = commands.SUBMIT_TIMEOUT,
        query_timeout: float = commands.QUERY_TIMEOUT,
    ) -> None:
        super().__init__(
            environment={**_OUR_OWN, **(environment or {})}, submit_timeout=submit_timeout, query_timeout=query_timeout
        )
        self.clusters = tuple(clusters)
        self.account = account
        self._accounting = True

    def submit(self, submission: Submission) -> str:
        """Run sbatch once and return the id that it printed, and no other."""
        arguments = slurm_text.submit_arguments(submission, self.clusters, time.time())
        reply = self._submit(["sbatch", *arguments], commands.submit_directory(submission))
        return submitted(reply, slurm_text.job_id(reply.stdout, self.clusters), slurm_text.submit_error)

    def _list(self) -> list[Element]:
        """Run squeue once for everything of this user, finished jobs included as long as it has them."""
        reply = self._run(["squeue", *slurm_text.listing_arguments(os.getuid(), self.clusters)])
        if reply.exit_code != 0 or "error:" in reply.stderr:
            raise commands.failure("transient", reply)
        return understood(reply, lambda stdout: slurm_text.listing(stdout, self.clusters))

    def endings(self, elements: Iterable[Element]) -> Mapping[tuple[str, int | None], Ending]:
        """Run sacct once. Where there is no accounting, only what the last listing showed is known."""
        asked = list(elements)
        known = slurm_text.listed_endings(asked, self._listed)
        if not asked or not self._accounting:
            return known
        for since in _WINDOWS:
            arguments = slurm_text.accounting_arguments(asked, self.clusters, since)
            try:
                reply = self._run(["sacct", *arguments])
            except SchedulerError as error:
                if error.transient:
                    raise
                self._accounting = False  # no sacct on this machine
                return known
            if "date range" not in reply.stderr:
                break
        if any(words in reply.stderr for words in _NO_ACCOUNTING):
            self._accounting = False
            return known
        if reply.exit_code != 0 or "error:" in reply.stderr or (reply.stdout and reply.stdout[-1] != "\n"):
            raise commands.failure("transient", reply)
        return {**known, **understood(reply, lambda text: slurm_text.accounting(text, asked, self.clusters))}

    def cancel(self, elements: Iterable[Element]) -> None:
        """Run scancel for what is there under the same id and name, after a look unless there was one just now.

        Whole jobs are cancelled by id and name together, which the controller compares. Single
        elements cannot be: ``scancel --name TOKEN 7_2`` cancels all of array 7 that still waits
        (seen on 22.05).
        """
        asked = list(elements)
        whole = {(e.job, e.name) for e in asked if e.index is None}
        failed: list[SchedulerError] = []
        for job, found in self._targets(asked).items():
            number, _, cluster = job.partition(";")
            command = ["scancel", f"--clusters={cluster}"] if cluster else ["scancel"]
            if (job, found[0].name) in whole:
                command += [f"--name={found[0].name}", number]
            else:
                command.append(f"{number}_[{indices.compress(e.index for e in found if e.index is not None)}]")
            reply = self._run(command)
            # It may have ended in between; any other complaint is one, whatever the exit code is.
            complaints = [line for line in reply.stderr.splitlines() if "error" in line.lower()]
            ended = ("Invalid job id", "already completing or completed", "No active jobs")
            if reply.timed_out or any(not any(text in line for text in ended) for line in complaints):
                failed.append(commands.failure("transient", reply))
        if failed:
            raise failed[0]

    def limits(self) -> Limits:
        """Read the configuration and, where there is accounting, what it allows this user."""
        reply = self._run(["scontrol", *self._of_cluster(), "show", "config"])
        if reply.exit_code != 0:
            raise commands.failure("transient", reply)
        configured = understood(reply, slurm_text.configured_limits)
        if not slurm_text.has_accounting(reply.stdout):
            return configured  # sbatch will say when there is no room
        user = pwd.getpwuid(os.getuid()).pw_name
        fields = "format=Account,Partition,MaxJobs,MaxSubmitJobs,DefaultQOS"
        try:
            associations = self._sacctmgr("assoc", f"user={user}", fields)
            qualities = self._sacctmgr("qos", "format=Name,MaxJobsPU,MaxSubmitPU")
        except SchedulerError as error:
            return replace(configured, whole=not error.transient)
        known = slurm_text.user_limits(associations, qualities, self.account)
        return replace(configured, submit=known.submit, running=known.running)

    def _sacctmgr(self, *question: str) -> str:
        reply = self._run(["sacctmgr", "-nP", "show", *question])
        if reply.exit_code != 0 or "error:" in reply.stderr:
            raise commands.failure("transient", reply)
        return reply.stdout

    def _of_cluster(self) -> list[str]:
        return [f"--clusters={self.clusters[0]}"] if self.clusters else []
