"""The script of one job, written next to the array it brings workers to."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

from hpcflow.database.arrays import describe
from hpcflow.database.files import write_whole
from hpcflow.database.state import ArrayState, JobState
from hpcflow.engine.engine import Engine
from hpcflow.engine.excluded import excluded_nodes


def job_script(engine: Engine, array: ArrayState, job: JobState) -> str:
    """The text of a job's script.

    Raises
    ------
    UserError
        If the site or a template asks for something that cannot be.
    """
    from hpcflow.sites.images import known_of
    from hpcflow.sites.scripts import Script, render

    site = engine.site(job.site)
    path = engine.path(array)
    name = "default" if array.call else array.task_class
    return render(
        site,
        name,
        Script(
            token=job.token,
            title=array.key,
            width=job.width,
            campaign=engine.campaign,
            array=path,
            archive=engine.database.directory / "code" / f"{describe(path)['code']}.pyz",
            log=log_directory(engine, array),
            resources=job.resources,
            request=job.request,
            excluded=excluded_nodes(engine, job.site),
            tick=link_command(engine) if _may_tick(engine, array, job) else "",
            image=known_of(site, name, str(engine.campaign)),
        ),
        engine.campaign,
    )


def _may_tick(engine: Engine, array: ArrayState, job: JobState) -> bool:
    """Whether the last worker of a job ticks when it leaves: where it has the memory that links have for calls."""
    if not engine.state.campaign.chain or array.call:
        return False
    site = engine.site(job.site)
    shape, link = site.task_class(array.task_class).shape(job.request), site.task_class("default").shape()
    return None in (shape.memory, link.memory) or (shape.memory or 0) * (shape.slots or 1) >= (link.memory or 0)


def link_command(engine: Engine) -> str:
    """Shell command of a tick inside of a job."""
    return f"{shlex.quote(sys.executable)} -m hpcflow link --campaign {shlex.quote(str(engine.campaign))}"


def write_script(engine: Engine, array: ArrayState, job: JobState, text: str) -> Path:
    """Write ``jobs/NNNN/job.sh``."""
    script = engine.path(array) / "jobs" / f"{job.number:04d}" / "job.sh"
    script.parent.mkdir(parents=True, exist_ok=True)
    write_whole(script, text.encode(), durable=False)
    return script


def log_directory(engine: Engine, array: ArrayState) -> Path:
    """Where jobs of an array print what does not belong to a task."""
    return engine.path(array) / "work" / "log"
