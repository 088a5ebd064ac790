"""Why a container did not start, read from what its engine printed.

Apptainer leaves with 255 whether the image, a directory to show, or the program is missing, and Charliecloud with 1
for all of them: only the text tells them apart. Its patterns are what Apptainer 1.4.5 and Charliecloud 0.31
printed, as root and as an ordinary user; Singularity, from which Apptainer comes, says the same.
"""

from __future__ import annotations

import re
from pathlib import Path

from hpcflow.containers import how_to_make

_IMAGE = "there is no image {0} on the node. {make}"
_SOURCE = (
    "there is no directory {0} on the node, and the container was to show it. It is one of `binds`, `scratch` or the "
    "campaign itself: is it on a file system that nodes have?"
)
_PROGRAM = "the image has no program {0}.{python}"
_PYTHON = " A worker wants Python 3.9 or newer: `python` of the class says where the image has it."
_BROKEN = "the image is damaged or not whole. Copy it again, or make it anew."
_PLACE = (
    "the image has no place {0} at which a directory could be shown. Make that directory in the image, or let the "
    "engine add it (--write-fake in newer versions), as `options` of the site's container."
)
_UNREADABLE = "the image {0} is not readable for you on the node."
_UNKNOWN = "{0} is no image that this engine can read."
_FOREIGN = "the image is for processors of another kind ({0}) than the node's ({1}). Build it on such a machine."
_ADDRESS = "the node cannot reach the registry of {0}. Fetch it first, with: hpcflow containers pull {0}"
_ENGINE = "the node has no {0}. If it comes with a module, add that to `modules` of the environment."
_ENGINES = "apptainer|singularity|podman-hpc|shifter|ch-run|uenv"

_PATTERNS = tuple(
    (re.compile(pattern, re.MULTILINE), message)
    for pattern, message in (
        (r"could not open image (.+): failed to retrieve path for .*: no such file or directory$", _IMAGE),
        (r"could not open image (.+): image format not recognized$", _UNKNOWN),
        (r"could not open image (.+?): .* is not readable by the current user", _UNREADABLE),
        (r"the image's architecture \((.+?)\) could not run on the host's \((.+?)\)", _FOREIGN),
        (r"mount source (.+?) doesn't exist", _SOURCE),
        (r"bad superblock for squashfs|trying to read the squashfs image", _BROKEN),
        (r'^FATAL: +"(.+)": executable file not found in \$PATH$', _PROGRAM),
        (r"^FATAL: +stat (.+): no such file or directory$", _PROGRAM),
        (r"^FATAL: +Unable to handle (\S+) uri: ", _ADDRESS),
        (r"^ch-run\[\d+\]: error: can't stat: (.+): No such file or directory", _IMAGE),
        (r"^ch-run\[\d+\]: error: unknown image type: (.+) \(", _UNKNOWN),
        (r"^ch-run\[\d+\]: error: can't bind: source not found: (.+) \(", _SOURCE),
        (r"^ch-run\[\d+\]: error: can't mkdir: (.+): Read-only file system", _PLACE),
        (r"^ch-run\[\d+\]: error: can't execve\(2\): (.+): No such file", _PROGRAM),
        (rf"\b({_ENGINES}): (?:command )?not found$", _ENGINE),
    )
)


def explain_failure(text: str) -> str:
    """Return why a container did not start and what to do about it; nothing if the text is about something else.

    Parameters
    ----------
    text
        The last lines that a job or a task printed.
    """
    for pattern, message in _PATTERNS:
        found = pattern.search(text)
        if found:
            words = found.groups()
            make = how_to_make(Path(words[0])) if message is _IMAGE else ""
            python = _PYTHON if message is _PROGRAM and "python" in words[0] else ""
            return "The container did not start: " + message.format(*words, make=make, python=python)
    return ""
