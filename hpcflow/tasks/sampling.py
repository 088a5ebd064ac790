"""Explore configurations with the committee: one walker, from its last safe state, under guard."""

from __future__ import annotations

import io
import json
import math
import os
import time
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcflow.task import Output, Unfinished, task
from hpcflow.tasks.committee import Prediction, load
from hpcflow.tasks.dynamics import Dynamics, start, temperature
from hpcflow.tasks.interruption import Interruption, seed
from hpcflow.tasks.metadynamics import Metadynamics
from hpcflow.tasks.surface import Conditions, Evaluation

if TYPE_CHECKING:
    from ase import Atoms

SAVE_EVERY = 60.0  # seconds; a kill without warning loses at most this much


@dataclass(frozen=True)
class Guards:
    """When a walker has left the region where the committee means anything.

    Any NaN stops it as well. The defaults are wide: they catch explosions, not surprises.
    """

    force: float = 30.0
    """Largest force on an atom in eV/Å."""
    distance: float = 0.6
    """Smallest distance of two atoms, in units of the sum of their covalent radii."""
    temperature: float = 3.0
    """Highest instantaneous temperature, in units of the walker's own."""
    volume: float = 0.5
    """Largest relative change of the volume."""
    deviation: float = 0.25
    """Largest force deviation σ of the committee in eV/Å: the level above which a frame is not labelled."""


@task(version=1, checkpoint=True)
def explore(
    walker: Atoms,
    *,
    models: Sequence[str],
    steps: int = 1000,
    every: int = 20,
    timestep: float = 0.5,
    friction: float = 0.01,
    guards: Mapping[str, float] | None = None,
    bias: Mapping[str, Any] | None = None,
    engine: str = "auto",
    device: str = "auto",
    dtype: str = "auto",
) -> Output:
    """Run molecular dynamics of one walker and return the frames it saw.

    Parameters
    ----------
    walker
        Where to start, with momenta if it goes on. Its ``info`` holds ``walker`` (a number), ``temperature``
        in K, ``parent`` (what its frames descend from, for the split) and, for constant pressure,
        ``pressure`` in bar.
    models
        The model files of the committee.
    steps, every
        Length of the run, and the distance of the frames that are kept, in time steps.
    timestep, friction
        In fs and 1/fs. 0.5 fs resolves bonds to hydrogen; 0.01/fs thermalises within 0.1 ps.
    guards
        What stops the walker, see `Guards`.
    bias
        Metadynamics along one variable, see `hpcflow.tasks.metadynamics.Metadynamics`. It starts anew in each run.
    engine
        ``openmm``, ``ase``, or ``auto``: OpenMM if it is there.
    device, dtype
        Of the models, see `hpcflow.tasks.committee.Committee`.

    Returns
    -------
    Output
        Frames with ``info["kind"]``: ``sample``, at most one ``unsafe`` (where a guard stopped the walker)
        and, last, ``state`` (the last safe state, with momenta). Each sample carries ``deviation`` (σ in eV/Å),
        ``predicted_energy`` (eV), ``predicted_forces`` (eV/Å), ``step``, ``walker`` and ``parent``. The result
        holds ``walker``, ``status`` (``done`` or ``unsafe``), ``reason``, ``steps`` and the mean
        ``temperature``.
    """
    info = walker.info
    limits = Guards(**(guards or {}))
    conditions = Conditions(
        temperature=float(info["temperature"]),
        timestep=timestep,
        friction=friction,
        pressure=float(info["pressure"]) if "pressure" in info else None,
        seed=seed(int(info.get("walker", 0))),
        bias=Metadynamics(**bias) if bias else None,
    )
    dynamics = start(walker, load(models, device, dtype), conditions, engine)
    run = _Run(last=walker.copy())
    checkpoint = Path("walker.zip")
    if zipfile.is_zipfile(checkpoint):
        run = run.read(checkpoint, dynamics)
    volume = walker.get_volume() if walker.cell.rank == 3 else None

    saved = time.monotonic()
    longest = 0.0
    with Interruption() as stop:
        while run.step < steps and run.reason is None:
            began = time.monotonic()
            dynamics.step()
            run.step += 1
            run.reason = _trouble(dynamics.evaluation, limits)
            if run.reason is not None:
                run.add(_sample(dynamics.evaluation.atoms, dynamics.evaluation.prediction, walker, run, "unsafe"))
            elif run.step % every == 0 or run.step == steps:
                _look(dynamics, run, walker, limits, conditions.temperature, volume)
            longest = max(longest, time.monotonic() - began)
            stopping = stop.due(ahead=5.0 + 10 * longest)
            if stopping or time.monotonic() - saved > SAVE_EVERY:
                run.write(checkpoint, dynamics)
                saved = time.monotonic()
            if stopping and run.step < steps and run.reason is None:
                raise Unfinished(f"stopped at step {run.step} of {steps}")
    return run.output(walker)


@dataclass
class _Run:
    """How far a walker has come."""

    last: Atoms
    """Its last safe state, with momenta."""
    step: int = 0
    reason: str | None = None
    frames: list[Atoms] = field(default_factory=list)
    temperatures: list[float] = field(default_factory=list)

    def add(self, frame: Atoms) -> None:
        self.frames.append(frame)

    def output(self, walker: Atoms) -> Output:
        state = self.last.copy()
        state.info = {**walker.info, "kind": "state"}
        result = {
            "walker": int(walker.info.get("walker", 0)),
            "status": "done" if self.reason is None else "unsafe",
            "reason": self.reason,
            "steps": self.step,
            "temperature": float(np.mean(self.temperatures)) if self.temperatures else None,
        }
        return Output(result, [*self.frames, state])

    def write(self, path: Path, dynamics: Dynamics) -> None:
        from ase.io import write

        part = path.with_suffix(".part")
        with part.open("wb") as file:
            with zipfile.ZipFile(file, "w") as archive:
                text = io.StringIO()
                write(text, [*self.frames, self.last], format="extxyz")
                archive.writestr("frames.xyz", text.getvalue())
                archive.writestr("dynamics", dynamics.save())
                archive.writestr(
                    "run.json",
                    json.dumps({"step": self.step, "reason": self.reason, "temperatures": self.temperatures}),
                )
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)

    def read(self, path: Path, dynamics: Dynamics) -> _Run:
        from ase.io import read

        with zipfile.ZipFile(path) as archive:
            frames = read(io.StringIO(archive.read("frames.xyz").decode()), ":", format="extxyz")
            dynamics.load(archive.read("dynamics"))
            return _Run(last=frames[-1], frames=frames[:-1], **json.loads(archive.read("run.json")))


def _look(dynamics: Dynamics, run: _Run, walker: Atoms, limits: Guards, target: float, volume: float | None) -> None:
    """Take the present frame as a sample and, if it is safe, as the state to go on from."""
    frame = dynamics.frame()
    now = temperature(frame)
    prediction = dynamics.evaluation.at(frame.positions, frame.cell.array)
    run.reason = _trouble(dynamics.evaluation, limits)
    if run.reason is None and not now <= limits.temperature * target:
        run.reason = f"temperature: {now:.0f} K above {limits.temperature:g} times {target:g} K"
    if run.reason is None and volume is not None and abs(frame.get_volume() / volume - 1) > limits.volume:
        run.reason = f"volume: {frame.get_volume():.1f} Å³, changed by more than {100 * limits.volume:g} %"
    run.temperatures.append(now)
    run.add(_sample(frame, prediction, walker, run, "sample" if run.reason is None else "unsafe"))
    if run.reason is None:
        run.last = frame


def _trouble(evaluation: Evaluation, limits: Guards) -> str | None:
    """Return why the configuration that was evaluated last is not safe, as ``guard: reason``, or None."""
    prediction = evaluation.prediction
    force = float(np.linalg.norm(prediction.mean_forces, axis=1).max(initial=0.0))
    if not (math.isfinite(force) and math.isfinite(prediction.energy)):
        return "finite: energy or forces are not"
    if force > limits.force:
        return f"force: {force:.1f} eV/Å above {limits.force:g}"
    if evaluation.closest < limits.distance:
        return f"distance: {evaluation.closest:.2f} of the sum of two radii, below {limits.distance:g}"
    if prediction.deviation >= limits.deviation:
        return f"deviation: {prediction.deviation:.3f} eV/Å reached {limits.deviation:g}"
    return None


def _sample(frame: Atoms, prediction: Prediction, walker: Atoms, run: _Run, kind: str) -> Atoms:
    """Return a frame as it goes on to selection: what was predicted, and where it comes from."""
    sample = frame.copy()
    sample.set_constraint()
    sample.arrays = {name: frame.arrays[name].copy() for name in ("numbers", "positions")}
    inherited = ("walker", "parent", "temperature", "pressure")
    sample.info = {key: walker.info[key] for key in inherited if key in walker.info}
    sample.info |= {
        "kind": kind,
        "step": run.step,
        "deviation": prediction.deviation,
        "predicted_energy": prediction.energy,
        "config_type": f"explore_{walker.info['temperature']:g}K",
    }
    if kind == "unsafe" and run.reason is not None:
        sample.info["guard"] = run.reason.split(":")[0]
    sample.arrays["predicted_forces"] = prediction.mean_forces.copy()
    return sample
