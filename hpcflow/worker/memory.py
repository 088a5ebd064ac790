"""How much memory this job has, and whether the kernel killed something for lack of it."""

from __future__ import annotations

import os

_ROOTS = ("/sys/fs/cgroup/memory", "/sys/fs/cgroup")  # of version 1 and 2
_LIMITS = ("memory.limit_in_bytes", "memory.max")
_COUNTERS = ("memory.oom_control", "memory.events")


def cgroup(membership: str) -> tuple[str, str]:
    """Return the root and the directory of the memory cgroup that ``/proc/self/cgroup`` names.

    In a container the path that the kernel names may not be visible; then what is mounted as the root is
    this process's own group. Both are empty where there is none.
    """
    for line in membership.splitlines():
        _, controllers, path = line.split(":", 2)
        if "memory" in controllers.split(",") or not controllers:
            root = _ROOTS[0] if controllers else _ROOTS[1]
            own = root + path.rstrip("/")
            if any(os.path.exists(os.path.join(own, name)) for name in _COUNTERS):
                return root, own
            if any(os.path.exists(os.path.join(root, name)) for name in _COUNTERS):
                return root, root
    return "", ""


def own_cgroup() -> tuple[str, str]:
    """Return ``cgroup`` of this process."""
    try:
        with open("/proc/self/cgroup", encoding="utf-8", errors="surrogateescape") as stream:
            return cgroup(stream.read())
    except FileNotFoundError:  # a kernel without cgroups
        return "", ""


def limit(root: str, own: str) -> int:
    """Return the memory of this job in MiB: the least that its cgroup and those around it allow."""
    least = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    while own:
        for name in _LIMITS:
            try:
                with open(os.path.join(own, name), encoding="ascii") as stream:
                    text = stream.read().strip()
            except FileNotFoundError:
                continue  # the other version's name, or a group without a limit of its own
            if text.isdigit():  # and not "max"
                least = min(least, int(text))
        own = "" if own == root else os.path.dirname(own)
    return least >> 20


class Kills:
    """Counts what the kernel killed for lack of memory in a cgroup.

    Parameters
    ----------
    directory
        The cgroup; empty if there is none, and then nothing is ever counted.
    """

    def __init__(self, directory: str) -> None:
        paths = [os.path.join(directory, name) for name in _COUNTERS] if directory else []
        path = next((path for path in paths if os.path.exists(path)), "")
        self._fd = os.open(path, os.O_RDONLY) if path else -1  # stays open: it is read for every task

    def count(self) -> int:
        """Return how many processes were killed so far."""
        if self._fd < 0:
            return 0
        try:
            fields = os.pread(self._fd, 4096, 0).split()
        except OSError:  # this process was moved elsewhere and the group removed
            return 0
        return int(fields[fields.index(b"oom_kill") + 1]) if b"oom_kill" in fields else 0
