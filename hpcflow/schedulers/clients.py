"""What all back ends have in common that run the client programs of a batch system."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from . import commands
from .base import Element
from .targets import cancel_targets

T = TypeVar("T")

FRESH = 10.0
"""Seconds for which a listing is good enough to cancel by."""


class Clients:
    """Runs client programs, and remembers what the last listing showed.

    Parameters
    ----------
    environment
        Variables for the programs, such as SLURM_CONF, PBS_CONF_FILE or LSF_ENVDIR.
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
        self.submit_timeout = submit_timeout
        self.query_timeout = query_timeout
        self._environment = dict(environment or {})
        self._listed: list[Element] = []
        self._listed_at = -math.inf

    def listing(self) -> list[Element]:
        """Return everything of this user that the queue knows."""
        self._listed = self._list()
        self._listed_at = time.monotonic()
        return list(self._listed)

    def visible(self, host: str, pid: int, start: int) -> bool | None:
        """Workers are on other machines."""
        return None

    def _list(self) -> list[Element]:
        """Ask for everything of this user, with as few programs as possible."""
        raise NotImplementedError

    def _targets(self, elements: Iterable[Element]) -> dict[str, list[Element]]:
        """Return, by job, what of these is there under the same id and name, after a look unless there was one now."""
        if time.monotonic() - self._listed_at > FRESH:
            self.listing()
        return cancel_targets(elements, self._listed)

    def _run(self, command: Sequence[str]) -> commands.Reply:
        return commands.run(command, timeout=self.query_timeout, env=commands.environment(self._environment))

    def _submit(self, command: Sequence[str], directory: Path, *, input: str | None = None) -> commands.Reply:
        self._listed_at = -math.inf  # the last listing does not show what is submitted now
        environment = commands.environment(self._environment)
        return commands.run(command, timeout=self.submit_timeout, env=environment, cwd=directory, input=input)


def submitted(reply: commands.Reply, identity: str | None, kind: Callable[[str], str]) -> str:
    """Return the id of what was submitted.

    Parameters
    ----------
    reply
        What the program that submits said.
    identity
        The id in it, if there is one.
    kind
        Returns the kind of an error from its text.

    Raises
    ------
    SchedulerError
        Unless exit code and id both say that there is a job. Neither, an id with an error, or an error
        without a word is ``unclear``: the engine looks for the job before it submits again.
    """
    if reply.exit_code == 0 and identity is not None:
        return identity
    if reply.timed_out or reply.exit_code <= 0 or identity is not None or not reply.said:
        raise commands.failure("unclear", reply)
    raise commands.failure(kind(reply.said), reply)


def understood(reply: commands.Reply, read: Callable[[str], T]) -> T:
    """Return what a function reads in a reply.

    Raises
    ------
    SchedulerError
        ``transient`` if the function raises ValueError, because the reply is cut or says something else.
    """
    try:
        return read(reply.stdout)
    except ValueError as error:
        raise commands.failure("transient", reply, str(error)) from error
