"""The script of one job, written next to the array it brings workers to."""

from __future__ import annotations

from pathlib import Path

from hpcflow.database.arrays import describe
from hpcflow.database.files import write_whole
from hpcflow.database.state import ArrayState, JobState
from hpcflow.engine.engine import Engine


def write_script(engine: Engine, array: ArrayState, job: JobState) -> tuple[Path, Path]:
    """Render ``jobs/NNNN/job.sh``.

    Returns
    -------
    script, log
        The script, and the directory for what the job prints outside of tasks.
    """
    from hpcflow.sites.scripts import Script, render

    path = engine.path(array)
    log = path / "work" / "log"
    script = path / "jobs" / f"{job.number:04d}" / "job.sh"
    script.parent.mkdir(parents=True, exist_ok=True)
    text = render(
        engine.site(job.site),
        "default" if array.call else array.task_class,
        Script(
            token=job.token,
            title=array.key,
            width=job.width,
            campaign=engine.campaign,
            array=path,
            archive=engine.database.directory / "code" / f"{describe(path)['code']}.pyz",
            log=log,
            resources=job.resources,
            request=job.request,
        ),
        engine.campaign,
    )
    write_whole(script, text.encode(), durable=False)
    return script, log
