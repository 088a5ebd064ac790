"""A cron daemon for one test, with tables of its own: it and its commands see them in a mount namespace."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

PATH = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"

START = """
set -e
mkdir -p run cron.d spool/crontabs
chgrp crontab spool/crontabs
chmod 1730 spool/crontabs
: >crontab
mount --bind run /run
mount --bind spool /var/spool/cron
mount --bind cron.d /etc/cron.d
mount --bind crontab /etc/crontab
touch ready
exec cron -f
"""
"""The machine's own tables, in any place, are out of sight, and nothing is written to them."""


class Cron:
    """The running daemon."""

    def __init__(self, pid: int) -> None:
        self.pid = pid

    def inside(self, command: Sequence[str]) -> list[str]:
        """What to run for a command to see this daemon's tables."""
        return ["nsenter", f"--mount=/proc/{self.pid}/ns/mnt", *command]

    def table(self) -> list[str]:
        """The crontab of the user."""
        done = subprocess.run(self.inside(["crontab", "-l"]), capture_output=True, text=True, check=False)
        return done.stdout.splitlines()


def why_not() -> str:
    """Why there can be no private cron here; empty if there can."""
    if os.getuid() != 0:
        return "only root can give a cron daemon tables of its own"
    if missing := [name for name in ("cron", "crontab", "unshare", "nsenter") if not shutil.which(name, path=PATH)]:
        return f"{', '.join(missing)} not found"
    tried = subprocess.run(["unshare", "--mount", "true"], capture_output=True, text=True, check=False)
    return "" if tried.returncode == 0 else f"no mount namespace here: {tried.stderr.strip()}"


@contextmanager
def running_cron(directory: Path) -> Iterator[Cron]:
    """Start a daemon whose tables lie in a directory, and end it with what it has started."""
    directory.mkdir()
    log = directory / "log"
    with open(log, "wb") as stream:
        child = subprocess.Popen(
            ["unshare", "--mount", "--propagation=private", "sh", "-c", START],
            cwd=directory,
            env={"PATH": PATH},
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=stream,
        )
    try:
        end = time.monotonic() + 20
        while not (directory / "ready").exists():
            assert child.poll() is None, log.read_text()
            assert time.monotonic() < end, log.read_text()
            time.sleep(0.02)
        yield Cron(child.pid)
        assert child.poll() is None, log.read_text()
    finally:
        child.kill()
        child.wait()
