"""The live display of ``hpcflow run``: a bar per array on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Any

import click

from hpcflow.cli.table import about


class Display:
    """Shows news as they come, and progress of live arrays."""

    def __init__(self) -> None:
        self._live: Any = None
        self._console: Any = None
        self._told = 0.0
        self._last = ""
        self._start = time.monotonic()

    def __enter__(self) -> Display:
        if sys.stdout.isatty():
            from rich.console import Console
            from rich.live import Live

            self._console = Console(highlight=False)
            self._live = Live(console=self._console, refresh_per_second=4)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Leave the terminal as it was."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def update(self, news: list[str], summary: dict[str, Any] | None) -> None:
        """Print what is new and draw where things stand."""
        clock = f"[{time.monotonic() - self._start:5.0f} s]"
        for line in news:
            if self._live is not None:
                self._console.print(f"{clock} {line}", markup=False)
            else:
                click.echo(f"{clock} {line}")
        if summary is None:
            return
        if self._live is not None:
            self._live.update(self._bars(summary))
        else:
            self._tell(clock, summary)

    def _tell(self, clock: str, summary: dict[str, Any]) -> None:
        """Without a terminal: a line when something moved, at most every ten seconds."""
        live = [a for a in summary["arrays"] if a["state"] != "done"]
        text = ", ".join(f"{a['name']} {a['succeeded'] + a['failed']}/{a['total']}{_left(a)}" for a in live)
        if text and text != self._last and time.monotonic() - self._told > 10:
            click.echo(f"{clock} {text}")
            self._told = time.monotonic()
            self._last = text

    @staticmethod
    def _bars(summary: dict[str, Any]) -> Any:
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        table = Table.grid(padding=(0, 2))
        for array in summary["arrays"]:
            if array["state"] == "done":
                continue
            done = array["succeeded"] + array["failed"]
            failed = f"{array['failed']} failed" if array["failed"] else ""
            table.add_row(
                array["name"],
                ProgressBar(total=max(1, array["total"]), completed=done, width=30),
                f"{done}/{array['total']}",
                f"{array['in_flight']} running",
                _left(array),
                failed,
            )
        return table


def _left(array: dict[str, Any]) -> str:
    return f" {about(array['left_seconds'])} left" if array["left_seconds"] else ""
