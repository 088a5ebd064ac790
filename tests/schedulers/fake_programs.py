"""Programs under the names of a scheduler's, made of a few shell lines, that note how they are called."""

from __future__ import annotations

import os
from pathlib import Path


class Programs:
    """A directory of programs for PATH."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        directory.mkdir()
        self.environment = {"PATH": f"{directory}:{os.environ['PATH']}"}

    def add(self, name: str, *lines: str) -> None:
        """Write a program that notes its arguments and then runs these shell lines."""
        note = f'printf "%s\\n" "{name} $*" >>"{self.directory}/calls"'
        path = self.directory / name
        path.write_text("\n".join(["#!/bin/sh", note, *lines, ""]))
        path.chmod(0o755)

    def says(self, name: str, stdout: str, stderr: str = "", exit_code: int = 0) -> None:
        """Write a program that always says the same."""
        (self.directory / f"{name}.out").write_text(stdout)
        (self.directory / f"{name}.err").write_text(stderr)
        here = f'cat "{self.directory}/{name}'
        self.add(name, f'{here}.out"', f'{here}.err" >&2', f"exit {exit_code}")

    @property
    def calls(self) -> list[str]:
        """Command lines in the order in which they were run."""
        path = self.directory / "calls"
        return path.read_text().splitlines() if path.exists() else []
