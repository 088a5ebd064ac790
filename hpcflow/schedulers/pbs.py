"""PBS Pro and OpenPBS: the commands. What they are told and what they say is in ``pbs_text``."""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from . import commands, pbs_text
from .base import Element, Ending, Limits, Submission
from .targets import cancel_targets


class PBS:
    """Jobs through qsub, qstat and qdel.

    Parameters
    ----------
    environment
        Variables for the commands, such as PBS_CONF_FILE.
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
        self._history = True

    def submit(self, submission: Submission) -> str:
        """Run qsub and return the id that it printed.

        Where PBS does not know throttles, the job is only as wide as the throttle: nothing
        happened when it refused, and the engine tops up.
        """
        reply = self._qsub(submission, submission.width, throttle=True)
        if submission.throttle and submission.width > 1 and pbs_text.throttle_refused(reply.stderr):
            reply = self._qsub(submission, min(submission.width, submission.throttle), throttle=False)
        identity = pbs_text.job_id(reply.stdout)
        if reply.exit_code == 0 and identity is not None:
            return identity
        if reply.timed_out or reply.exit_code <= 0:
            raise commands.failure("unclear", reply)
        raise commands.failure(pbs_text.submit_error(reply.said), reply)

    def listing(self) -> list[Element]:
        """Run qstat once for everything of this user that has not finished."""
        reply = self._run(["qstat", *pbs_text.listing_arguments(_user())])
        if reply.exit_code != 0 or reply.stderr.strip():
            raise commands.failure("transient", reply)
        try:
            return pbs_text.listing(reply.stdout)
        except ValueError as error:
            raise commands.failure("transient", reply, str(error)) from error

    def endings(self, elements: Iterable[Element]) -> Mapping[tuple[str, int | None], Ending]:
        """Run qstat once with history. Most servers keep none: then nothing is known."""
        asked = list(elements)
        if not asked or not self._history:
            return {}
        reply = self._run(["qstat", *pbs_text.accounting_arguments(e.job for e in asked)])
        if pbs_text.no_history(reply.stderr):
            self._history = False
            return {}
        # An id that is not known gives an error code, and the others are printed all the same.
        if reply.timed_out or reply.exit_code < 0 or pbs_text.unreachable(reply.stderr):
            raise commands.failure("transient", reply)
        return pbs_text.accounting(reply.stdout, asked)

    def cancel(self, elements: Iterable[Element]) -> None:
        """Look once, then run qdel for what is still there under the same id and name."""
        asked = list(elements)
        whole = {e.job for e in asked if e.index is None}
        for job, found in cancel_targets(asked, self.listing()).items():
            for identity in pbs_text.cancel_ids(job, found, whole=job in whole):
                reply = self._run(["qdel", identity])
                if reply.timed_out or reply.exit_code < 0 or pbs_text.delete_error(reply.stderr):
                    raise commands.failure("transient", reply)

    def limits(self) -> Limits:
        """Read the server's attributes."""
        reply = self._run(["qstat", "-B", "-f"])
        if reply.exit_code != 0:
            raise commands.failure("transient", reply)
        return pbs_text.limits(reply.stdout, _user())

    def visible(self, host: str, pid: int, start: int) -> bool | None:
        """Workers are on other machines."""
        return None

    def _qsub(self, submission: Submission, width: int, *, throttle: bool) -> commands.Reply:
        arguments = pbs_text.submit_arguments(submission, width, throttle=throttle, now=time.time())
        directory = commands.submit_directory(submission)
        return self._run(["qsub", *arguments], timeout=self.submit_timeout, cwd=directory)

    def _run(self, command: Sequence[str], *, timeout: float | None = None, cwd: Path | None = None) -> commands.Reply:
        environment = commands.environment(self._environment)
        return commands.run(command, timeout=timeout or self.query_timeout, env=environment, cwd=cwd)


def _user() -> str:
    return pwd.getpwuid(os.getuid()).pw_name
