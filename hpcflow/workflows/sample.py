"""``workflow: sample``: molecular dynamics with a committee that exists already, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import hpcflow as hf
from hpcflow.workflows.parameters import (
    Count,
    Device,
    Dtype,
    Files,
    Ladder,
    NotNegative,
    Positive,
    check_bias,
    check_files,
    check_keys,
)


def sample(
    run: hf.Run,
    start: hf.Structures,
    models: Files,
    walkers: Count = 8,
    temperatures: Ladder = [300.0],  # noqa: B006 read only; msgspec copies it
    pressures: list[float] = [],  # noqa: B006
    steps: Count = 1000,
    every: Count = 20,
    timestep: Positive = 0.5,
    friction: NotNegative = 0.01,
    guards: dict[str, Positive] = {},  # noqa: B006
    bias: dict[str, Any] = {},  # noqa: B006
    engine: Literal["auto", "openmm", "ase"] = "auto",
    device: Device = "auto",
    dtype: Dtype = "auto",
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

    from hpcflow.tasks import sampling, seeding

    check_files("models", models)
    check_keys("guards", guards, [field.name for field in fields(sampling.Guards)])
    check_bias(bias)
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
