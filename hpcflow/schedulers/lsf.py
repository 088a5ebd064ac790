"""LSF: the commands. What they are told and what they say is in ``lsf_text`` and ``lsf_endings``."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from . import commands, lsf_endings, lsf_text
from .base import Element, Ending, Limits, SchedulerError, Submission
from .clients import Clients, submitted, understood

_OUR_OWN = {
    # Ask once. Else clients wait for ever while the daemons are away, and bsub does where too many jobs of this user
    # wait (lsb.params, MAX_PEND_JOBS): a tick would rather hear that there is no room now.
    "LSB_NTRIES": "1",
}


class LSF(Clients):
    """Jobs through bsub, bjobs, bhist and bkill.

    Parameters
    ----------
    environment
        Variables for the programs, such as LSF_ENVDIR.
    submit_timeout, query_timeout
        Seconds after which a program that does not answer is ended.
    """

    def __init__(
        self,
        *,
        environment: Mapping[str, str] | None = None,
        submit_timeout: float = commands.SUBMIT_TIMEOUT,
        query_timeout: float = commands.QUERY_TIMEOUT,
    ) -> None:
        own = {**_OUR_OWN, **(environment or {})}
        super().__init__(environment=own, submit_timeout=submit_timeout, query_timeout=query_timeout)
        self._fields = True
        self._largest: int | None = None

    def submit(self, submission: Submission) -> str:
        """Run bsub, with the script as its input, and return the id that it reported."""
        if submission.width > 1:
            if self._largest is None:
                self._largest = self.limits().array or 1000
            if submission.width > self._largest:
                # Some versions would silently make one plain job of it.
                message = f"an array of {submission.width} is larger than LSF takes here ({self._largest})"
                raise SchedulerError("permanent", message)
        try:
            script = submission.script.read_text(encoding="utf-8", errors="surrogateescape")
        except OSError as error:
            raise SchedulerError("permanent", f"cannot read {submission.script}: {error}") from error
        command = ["bsub", *lsf_text.submit_arguments(submission, time.time())]
        directory = commands.submit_directory(submission)
        reply = self._submit(command, directory, input=script)
        if lsf_text.requirement_refused(reply.said) and (plain := lsf_text.without_units(script)) != script:
            # Nothing happened. Before 10.1.0.2 memory is a bare number, of MB.
            reply = self._submit(command, directory, input=plain)
        return submitted(reply, lsf_text.job_id(reply.stdout), lsf_text.submit_error)

    def _list(self) -> list[Element]:
        """Run bjobs once for everything of this user, finished jobs included as long as LSF has them."""
        reply = self._run(["bjobs", *lsf_text.listing_arguments()])
        # Exit codes differ between versions and for an empty queue: the text decides.
        if reply.timed_out or reply.exit_code < 0:
            raise commands.failure("transient", reply)
        return understood(reply, lambda stdout: lsf_text.listing(stdout, reply.stderr))

    def endings(self, elements: Iterable[Element]) -> Mapping[tuple[str, int | None], Ending]:
        """Run bjobs once; and bhist once more for elements that LSF has forgotten by now.

        A submission that was not answered needs no question here: the listing shows ended jobs as well.
        """
        asked = [e for e in elements if e.job]
        if not asked:
            return {}
        jobs = [e.job for e in asked]
        if self._fields:
            reply = self._run(["bjobs", *lsf_endings.accounting_arguments(jobs)])
            self._fields = not lsf_endings.fields_refused(reply.said)
        if self._fields:
            found = lsf_endings.accounting(reply.stdout, asked)
        else:
            reply = self._run(["bjobs", "-a", *lsf_endings.long_arguments(jobs)])
            found = lsf_endings.long_accounting(reply.stdout, asked)
        if reply.timed_out or reply.exit_code < 0 or lsf_text.unreachable(reply.stderr):
            raise commands.failure("transient", reply)
        forgotten = [e for e in asked if (e.job, e.index) not in found]
        if forgotten:
            reply = self._run(["bhist", *lsf_endings.history_arguments(e.job for e in forgotten)])
            failed = reply.timed_out or reply.exit_code < 0 or lsf_text.unreachable(reply.stderr)
            if failed and not found:
                raise commands.failure("transient", reply)
            found |= lsf_endings.long_accounting(reply.stdout, forgotten)
        return found

    def cancel(self, elements: Iterable[Element]) -> None:
        """Run bkill for what is there under the same id and name."""
        asked = list(elements)
        whole = {e.job for e in asked if e.index is None}
        failed: list[SchedulerError] = []
        for job, found in self._targets(asked).items():
            reply = self._run(["bkill", lsf_text.cancel_argument(job, found, whole=job in whole)])
            if reply.timed_out or reply.exit_code < 0 or lsf_text.kill_error(reply.stderr, reply.stdout):
                failed.append(commands.failure("transient", reply))  # and the others are still asked to end
        if failed:
            raise failed[0]

    def limits(self) -> Limits:
        """Read the batch system's parameters."""
        reply = self._run(["bparams", "-l"])
        if reply.exit_code != 0:
            raise commands.failure("transient", reply)
        return lsf_text.limits(reply.stdout)
