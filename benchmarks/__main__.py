"""All benchmarks, one table: ``make bench``, or ``python -m benchmarks [NAME ...]`` for some of them."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable

from benchmarks import collecting, commands, files, indexing, slurm, worker_overhead
from benchmarks.ratios import Row


def worker() -> list[Row]:
    """Return what the worker adds to each task."""
    found = worker_overhead.measure()
    task, trip = found["python task, us"], found["JSON round trip, us"]
    command, bare = found["shell task, us"], found["bare spawn and wait, us"]
    return [
        Row("worker, Python task", f"{task:.1f} µs", f"JSON round trip: {trip:.1f} µs", task / trip, "66 µs"),
        Row("worker, shell task", f"{command:.0f} µs", f"bare spawn and wait: {bare:.0f} µs", command / bare, "1.3 ×"),
    ]


ALL: dict[str, Callable[[], list[Row]]] = {
    "worker": worker,
    "collecting": collecting.measure,
    "commands": commands.measure,
    "files": files.measure,
    "indexing": indexing.measure,
    "slurm": slurm.measure,
}


def main() -> None:
    """Measure and print."""
    from rich.console import Console
    from rich.table import Table

    names = sys.argv[1:] or list(ALL)
    unknown = [name for name in names if name not in ALL]
    if unknown:
        sys.exit(f"There is no benchmark {unknown[0]!r}. All of them: {', '.join(ALL)}")
    console = Console(width=None if sys.stdout.isatty() else 130)
    console.print(f"Python {platform.python_version()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    table = Table("what", "measured", "against", "ratio", "goal", box=None, pad_edge=False)
    for name in names:
        console.print(f"[dim]{name} ...[/dim]")
        for row in ALL[name]():
            ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
            table.add_row(row.what, row.value, row.against, ratio, row.goal)
    console.print(table)


if __name__ == "__main__":
    main()
