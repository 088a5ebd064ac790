"""The container image that a job runs in, or runs programs in: written down, and never part of what a task is."""

from __future__ import annotations

import os
from collections.abc import Mapping

SHORT = 12
"""Digits of a digest in the record of each task; the worker's hello has all of them."""


def image_of(worker: str, environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """Return name and digest of the image, as far as the script of the job knew them.

    Parameters
    ----------
    worker
        Name of the worker, or of its job.
    environment
        ``HPCFLOW_IMAGE`` is ``JOB DIGEST NAME``, with - for a digest that is not known. One of another job was
        inherited from a job that submitted this one, and says nothing.
    """
    job, _, rest = environment.get("HPCFLOW_IMAGE", "").partition(" ")
    if not rest or job != worker.partition(".")[0]:
        return {}
    digest, _, name = rest.partition(" ")
    if digest == "-" and "@sha256:" in name:  # of a registry, and named by what it is
        digest = name.rpartition("@sha256:")[2]
    return {"image": name} if digest == "-" else {"image": name, "image_digest": digest}


def short_digest(worker: str) -> dict[str, str]:
    """Return what the records of tasks say of the image."""
    digest = image_of(worker).get("image_digest")
    return {"image": digest[:SHORT]} if digest else {}
