"""The local scheduler knows its jobs by their processes, which containers hide for a while."""

import os
import time
from pathlib import Path

import pytest
from image_lab import Lab

from hpcflow.schedulers.base import Element, State, Submission
from hpcflow.schedulers.local import Local

pytestmark = pytest.mark.container


@pytest.mark.parametrize("kind", ["sif", "tree"])
def test_a_job_is_there_all_the_time_while_its_container_starts(lab: Lab, kind: str, tmp_path: Path) -> None:
    script = tmp_path / "job.sh"
    begun = tmp_path / "begun"
    image = getattr(lab, kind)
    script.write_text(f'#!/bin/bash\nexec apptainer exec --bind {tmp_path} "{image}" sh -c "touch {begun}; sleep 60"\n')
    script.chmod(0o755)
    scheduler = Local(cores=1, grace=0.5)
    name = f"box{os.getpid()}{kind}"
    job = scheduler.submit(Submission(script, name, 1))
    looks = 0
    end = time.monotonic() + 60
    try:
        while not begun.exists() or looks < 50:
            assert name in {element.name for element in scheduler.listing()}, f"gone at look {looks}"
            assert time.monotonic() < end, "the container never started"
            looks += 1
    finally:
        scheduler.cancel([Element(job, None, name, State.RUNNING, "")])
