"""``workflow: sample``: molecular dynamics with a committee that exists already, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hpcflow as hf


def sample(
    run: hf.Run,
    start: hf.Structures,
    models: list[str],
    walkers: int = 8,
    temperatures: list[float] = [300.0],  # noqa: B006 read only; msgspec copies it
    pressures: list[float] = [],  # noqa: B006
    steps: int = 1000,
    every: int = 20,
    timestep: float = 0.5,
    friction: float = 0.01,
    guards: dict[str, float] = {},  # noqa: B006
    bias: dict[str, Any] = {},  # noqa: B006
    engine: str = "auto",
    device: str = "auto",
    dtype: str = "auto",
) -> None:
    """Run walkers with the mean of a committee; each frame carries how far its models disagree.

    Parameters
    ----------
    start
        Extended XYZ file or files where the walkers start.
    models
        MACE model files. With a single one there is no deviation.
    walkers, temperatures, pressures
        How many walkers, and the ladders of their temperatures (K) and pressures (bar; none: the cell stays).
    steps, every, timestep, friction
        Steps of each walker, steps from one kept frame to the next, fs, 1/fs.
    guards
        What stops a walker: force (eV/Å), distance (in sums of radii), temperature (in that of the walker), volume
        (relative change), deviation (eV/Å).
    bias
        Metadynamics: variable (distance, angle or torsion), atoms (counted from 0), width (Å or degrees), height (eV),
        every (steps), factor.
    engine
        openmm, ase, or auto: OpenMM if it is there.
    device, dtype
        Of the models: auto, cpu or cuda; auto, float32 or float64.
    """
    from dataclasses import fields

    from hpcflow.tasks import metadynamics, sampling, seeding
    from hpcflow.workflows.learning import check_keys

    check_keys("guards", guards, [field.name for field in fields(sampling.Guards)])
    check_keys("bias", bias, [field.name for field in fields(metadynamics.Metadynamics)])
    places = run.call(
        seeding.place_walkers,
        hf.frames(start),
        name="walkers",
        number=walkers,
        temperatures=temperatures,
        pressures=pressures,
    )
    run.map(
        sampling.explore,
        places.frames(),
        name="explore",
        task_class="evaluation",
        models=[Path(model) for model in models],
        steps=steps,
        every=every,
        timestep=timestep,
        friction=friction,
        guards=guards,
        bias=bias,
        engine=engine,
        device=device,
        dtype=dtype,
    )
