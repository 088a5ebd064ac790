"""LSF: the commands. What they are told and what they say is in ``lsf_text``."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from . import commands, lsf_text
from .base import Element, Ending, Limits, SchedulerError, Submission
from .targets import cancel_targets


class LSF:
    """Jobs through bsub, bjobs, bhist and bkill.

    While its daemons are away, LSF's clients wait for ever: the time-outs end them.

    Parameters
    ----------
    environment
        Variables for the commands, such as LSF_ENVDIR.
    submit_timeout, query_timeout
        Seconds after which a command that does not answer is ended.
    """

    def __init__(
        self,
        *,
        environment: Mapping[str, str] | None = None,
        submit_timeout: float = commands.SUBMIT_TIMEOUT,
        query_timeout: float = commands.QUERY_TIMEOUT,
    ) -> None:
        self.submit_timeout = submit_timeout
        self.query_timeout = query_timeout
        self._environment = dict(environment or {})
        self._fields = True
        self._largest: int | None = None

    def submit(self, submission: Submission) -> str:
        """Run bsub once, with the script as its input, and return the id that it reported."""
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
        arguments = lsf_text.submit_arguments(submission, time.time())
        directory = commands.submit_directory(submission)
        reply = self._run(["bsub", *arguments], timeout=self.submit_timeout, cwd=directory, input=script)
        identity = lsf_text.job_id(reply.stdout)
        if reply.exit_code == 0 and identity is not None:
            return identity
        if reply.timed_out or reply.exit_code <= 0:
            raise commands.failure("unclear", reply)
        raise commands.failure(lsf_text.submit_error(reply.said), reply)

    def listing(self) -> list[Element]:
        """Run bjobs once for everything of this user, finished jobs included as long as LSF has them."""
        reply = self._run(["bjobs", *lsf_text.listing_arguments()])
        # Exit codes differ between versions and for an empty queue: the text decides.
        if reply.timed_out or reply.exit_code < 0:
            raise commands.failure("transient", reply)
        try:
            return lsf_text.listing(reply.stdout, reply.stderr)
        except ValueError as error:
            raise commands.failure("transient", reply, str(error)) from error

    def endings(self, elements: Iterable[Element]) -> Mapping[tuple[str, int | None], Ending]:
        """Run bjobs once; and bhist once more for elements that LSF has forgotten by now."""
        asked = list(elements)
        if not asked:
            return {}
        jobs = [e.job for e in asked]
        if self._fields:
            reply = self._run(["bjobs", *lsf_text.accounting_arguments(jobs)])
            self._fields = not lsf_text.fields_refused(reply.said)
        if self._fields:
            found = lsf_text.accounting(reply.stdout, asked)
        else:
            reply = self._run(["bjobs", "-a", *lsf_text.long_arguments(jobs)])
            found = lsf_text.long_accounting(reply.stdout, asked)
        if reply.timed_out or reply.exit_code < 0:
            raise commands.failure("transient", reply)
        forgotten = [e for e in asked if (e.job, e.index) not in found]
        if forgotten:
            reply = self._run(["bhist", *lsf_text.long_arguments(e.job for e in forgotten)])
            if reply.timed_out or reply.exit_code < 0:
                raise commands.failure("transient", reply)
            found |= lsf_text.long_accounting(reply.stdout, forgotten)
        return found

    def cancel(self, elements: Iterable[Element]) -> None:
        """Look once, then run bkill for what is still there under the same id and name."""
        asked = list(elements)
        whole = {e.job for e in asked if e.index is None}
        for job, found in cancel_targets(asked, self.listing()).items():
            reply = self._run(["bkill", lsf_text.cancel_argument(job, found, whole=job in whole)])
            if reply.timed_out or reply.exit_code < 0 or lsf_text.kill_error(reply.stderr, reply.stdout):
                raise commands.failure("transient", reply)

    def limits(self) -> Limits:
        """Read the batch system's parameters."""
        reply = self._run(["bparams", "-l"])
        if reply.exit_code != 0:
            raise commands.failure("transient", reply)
        return lsf_text.limits(reply.stdout)

    def visible(self, host: str, pid: int, start: int) -> bool | None:
        """Workers are on other machines."""
        return None

    def _run(
        self,
        command: Sequence[str],
        *,
        timeout: float | None = None,
        cwd: Path | None = None,
        input: str | None = None,
    ) -> commands.Reply:
        environment = commands.environment(self._environment)
        return commands.run(command, timeout=timeout or self.query_timeout, env=environment, cwd=cwd, input=input)
