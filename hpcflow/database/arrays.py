"""Arrays: making one on disk, whole, and reading its description."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

from hpcflow.database import records
from hpcflow.database.files import sync_directory, write_whole
from hpcflow.database.inputs import Inputs, identities, item_digests, read_index, write_inputs
from hpcflow.database.results import Accepted
from hpcflow.database.state import VERSION


@dataclass
class ArraySpec:
    """What is to be computed; ``what`` is the digest of everything but the inputs."""

    key: str
    name: str
    task_class: str
    function: dict[str, Any]
    parameters: dict[str, Any]
    what: str
    fingerprint: str
    inputs: Inputs
    seed: int = 0
    code: str = ""
    policy: dict[str, Any] = field(default_factory=dict)
    call: bool = False
    requests: Callable[[], list[dict[str, Any]]] | None = None
    """Evaluated once, when the array is made: what each task needs beyond its class."""
    check: Callable[[], None] | None = None
    """Raises UserError if the function cannot compute these inputs."""


@dataclass
class Earlier:
    """A finished result of an earlier array, found by identity."""

    array: Path
    number: int
    record: Accepted


Lookup = Callable[[list[bytes]], Iterator[tuple[int, Earlier]]]
"""From task identities to the results that earlier arrays already have, each with its task."""


def directory_name(number: int, name: str) -> str:
    """``0003-label``: sorts by number, and says what it is."""
    slug = re.sub(r"[^A-Za-z0-9_.]+", "-", name).strip("-.")[:40] or "array"
    return f"{number:04d}-{slug}"


def create_array(
    database: Path,
    campaign: Path,
    number: int,
    spec: ArraySpec,
    lookup: Lookup | None,
    verify: Callable[[], None],
) -> tuple[str, int, int]:
    """Make an array's directory under a temporary name and rename it into place.

    A directory of the same number that no journal line names is what a kill left behind; it goes.

    Parameters
    ----------
    lookup
        Finds results that earlier arrays have already.
    verify
        Makes sure that the lock is still ours: what another holder made must not be taken for left behind.

    Returns
    -------
    name, count, taken
        Name of the directory, number of tasks, and how many results were taken over.
    """
    arrays = database / "arrays"
    arrays.mkdir(exist_ok=True)
    for left in arrays.iterdir():
        if left.name.startswith((".new-", f"{number:04d}-")):
            verify()
            shutil.rmtree(left)
    new = arrays / f".new-{secrets.token_hex(4)}"
    try:
        for sub in ("work/chunks", "work/claims", "work/out", "work/log"):
            (new / sub).mkdir(parents=True)
        inputs, count = write_inputs(new, spec.inputs, campaign)
        items = spec.inputs.items
        digests = [digest for _, _, digest in read_index(new)] if items is None else item_digests(items)
        ids = list(identities(spec.what, digests))
        (new / "ids").write_bytes(b"".join(ids))
        taken = _take_over(new, ids, lookup) if lookup is not None and count else 0
        description = {
            "version": VERSION,
            "number": number,
            "key": spec.key,
            "name": spec.name,
            "count": count,
            "task_class": spec.task_class,
            "seed": spec.seed,
            "code": spec.code,
            "created": time.time(),
            "function": spec.function,
            "parameters": spec.parameters,
            "inputs": inputs,
            "fingerprint": spec.fingerprint,
            "what": spec.what,
        }
        write_whole(new / "array.json", json.dumps(description, indent=1).encode())
        for name in os.listdir(new):
            if (new / name).is_file():
                _sync_file(new / name)
        final = arrays / directory_name(number, spec.name)
        verify()
        os.rename(new, final)
        sync_directory(arrays)
    except BaseException:
        shutil.rmtree(new, ignore_errors=True)
        raise
    return final.name, count, taken


def _sync_file(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _take_over(new: Path, ids: list[bytes], lookup: Lookup) -> int:
    """Copy results that exist already, as if a worker named ``taken`` had computed them."""
    found = lookup(ids)
    first = next(found, None)
    if first is None:
        return 0
    count = 0
    with open(new / "work" / "out" / "taken", "wb") as stream:
        hello = {"kind": "hello", "worker": "taken", "job": "", "element": 0, "host": "", "time": time.time()}
        stream.write(records.encode(hello))
        for task, earlier in chain([first], found):
            count += 1
            header = {k: v for k, v in earlier.record.header.items() if k not in ("bytes", "crc32")}
            header.setdefault("taken", [earlier.number, header["task"]])
            for name, _, _ in header.get("files", []):
                target = new / "files" / str(task) / name
                target.parent.mkdir(parents=True, exist_ok=True)
                _link_or_copy(earlier.array / "files" / str(header["task"]) / name, target)
            header.update(task=task, list=0, attempt=1)
            stream.write(records.encode(header, earlier.record.payload))
        stream.write(records.encode({"kind": "goodbye", "time": time.time(), "reason": "no work"}))
        stream.flush()
        os.fsync(stream.fileno())
    return count


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)  # kept files are never written again, so two names for one are safe
    except OSError:
        shutil.copyfile(source, target)


def describe(array: Path) -> dict[str, Any]:
    """The content of array.json."""
    content: dict[str, Any] = json.loads((array / "array.json").read_bytes())
    return content


def task_ids(array: Path) -> list[bytes]:
    """The identities of an array's tasks, in task order."""
    data = (array / "ids").read_bytes()
    return [data[i : i + 16] for i in range(0, len(data), 16)]
