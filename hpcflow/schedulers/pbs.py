"""PBS Pro and OpenPBS: the commands. What they are told and what they say is in ``pbs_text`` and ``pbs_endings``."""

from __future__ import annotations

import os
import pwd
import time
from collections.abc import Iterable, Mapping

from . import commands, pbs_endings, pbs_text
from .base import Cause, Element, Ending, Limits, SchedulerError, Submission
from .clients import Clients, submitted, understood


class PBS(Clients):
    """Jobs through qsub, qstat, qselect and qdel."""

    _history = True

    def submit(self, submission: Submission) -> str:
        """Run qsub and return the id that it printed.

        Where PBS does not know throttles, the job is only as wide as the throttle: nothing
        happened when it refused, and the engine tops up.
        """
        reply = self._qsub(submission, submission.width, throttle=True)
        if submission.throttle and submission.width > 1 and pbs_text.throttle_refused(reply.stderr):
            reply = self._qsub(submission, min(submission.width, submission.throttle), throttle=False)
        return submitted(reply, pbs_text.job_id(reply.stdout), pbs_text.submit_error)

    def _list(self) -> list[Element]:
        """Run qstat for everything of this user that has not finished; again for arrays that may be held."""
        elements, arrays = pbs_text.without_arrays(self._table(pbs_text.listing_arguments(_user())))
        if not pbs_text.may_be_held(elements):
            return elements
        try:
            arrays = arrays or self._table(pbs_text.array_arguments(_user()))
        except SchedulerError:
            return elements  # nothing but why they wait is missing
        return pbs_text.with_held(elements, arrays)

    def _table(self, arguments: list[str]) -> list[Element]:
        reply = self._run(["qstat", *arguments])
        if reply.exit_code != 0 or pbs_text.complains(reply.stderr):
            raise commands.failure("transient", reply)
        return understood(reply, pbs_text.listing)

    def endings(self, elements: Iterable[Element]) -> Mapping[tuple[str, int | None], Ending]:
        """Run qstat once with history. Most servers keep none: then nothing is known."""
        everything = list(elements)
        found: dict[tuple[str, int | None], Ending] = {}
        asked = [e for e in everything if e.job]
        if asked and self._history:
            reply = self._run(["qstat", *pbs_endings.accounting_arguments(e.job for e in asked)])
            self._history = not pbs_endings.no_history(reply.stderr)
            # An id that is not known gives an error code, and the others are printed all the same.
            if reply.timed_out or reply.exit_code < 0 or pbs_text.unreachable(reply.stderr):
                raise commands.failure("transient", reply)
            found |= pbs_endings.accounting(reply.stdout, asked)
        for name in sorted({e.name for e in everything if not e.job}):
            found |= self._sought(name)
        return found

    def _sought(self, name: str) -> dict[tuple[str, int | None], Ending]:
        """Look for a submission that was not answered among jobs that have ended."""
        if not self._history:
            return {}
        reply = self._run(["qselect", *pbs_endings.search_arguments(_user(), name)])
        self._history = not pbs_endings.no_history(reply.stderr)
        if self._history and (reply.timed_out or reply.exit_code != 0):
            raise commands.failure("transient", reply)
        identity = pbs_text.job_id(reply.stdout)
        return {} if identity is None else {(name, None): Ending(Cause.UNKNOWN, "", job=identity)}

    def cancel(self, elements: Iterable[Element]) -> None:
        """Run qdel for what is there under the same id and name."""
        asked = list(elements)
        whole = {e.job for e in asked if e.index is None}
        failed: list[SchedulerError] = []
        for job, found in self._targets(asked).items():
            for identity in pbs_text.cancel_ids(job, found, whole=job in whole):
                reply = self._run(["qdel", identity])
                if reply.timed_out or reply.exit_code < 0 or pbs_text.delete_error(reply.stderr):
                    failed.append(commands.failure("transient", reply))  # and the others are still asked to end
        if failed:
            raise failed[0]

    def limits(self) -> Limits:
        """Read the server's attributes."""
        reply = self._run(["qstat", "-B", "-f"])
        if reply.exit_code != 0:
            raise commands.failure("transient", reply)
        return pbs_text.limits(reply.stdout, _user())

    def _qsub(self, submission: Submission, width: int, *, throttle: bool) -> commands.Reply:
        arguments = pbs_text.submit_arguments(submission, width, throttle=throttle, now=time.time())
        return self._submit(["qsub", *arguments], commands.submit_directory(submission))


def _user() -> str:
    return pwd.getpwuid(os.getuid()).pw_name
