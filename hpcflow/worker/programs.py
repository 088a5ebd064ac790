"""Commands that need no shell: a shell would only become the program, and starting it costs as much as a short task."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping

from hpcflow.worker.processes import SHELL

# One program and arguments in which nothing means anything to a shell; a first word with = would be an assignment.
_PLAIN = re.compile(r"[\w@%+:,./-]+(?: [\w@%+=:,./-]+)*", re.ASCII)


class Programs:
    """Finds programs as the shell does, and remembers where they are.

    Parameters
    ----------
    environment
        Of the commands.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._found: dict[str, str] = {}

    def words(self, command: str) -> list[str]:
        """Return the absolute path of a plain command's program, and its arguments; nothing if it needs a shell."""
        if not _PLAIN.fullmatch(command):
            return []
        name, *arguments = command.split(" ")
        if name not in self._found:
            self._found[name] = self._find(name)
        return [self._found[name], *arguments] if self._found[name] else []

    def _find(self, name: str) -> str:
        """Ask the shell, which knows what it does itself: only of a program it says the whole path."""
        import subprocess  # only now: every worker would load it

        asked = [SHELL, "-c", f"command -v {name}"]
        said = subprocess.run(
            asked, env=self._environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        path = os.fsdecode(said.stdout).rstrip("\n")
        return path if os.path.isabs(path) else ""
