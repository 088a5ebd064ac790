"""Walkers: physics that can be checked, guards, and going on exactly where they stopped."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule
from ase.constraints import FixAtoms

from hpcflow.task import Output, Unfinished
from hpcflow.tasks import sampling
from hpcflow.tasks.barostat import Barostat
from hpcflow.tasks.committee import Committee, load
from hpcflow.tasks.dynamics import start, temperature
from hpcflow.tasks.interruption import Interruption
from hpcflow.tasks.sampling import explore
from hpcflow.tasks.surface import Conditions

ENGINES = ("openmm", "ase")
OFF = {"deviation": 100.0}
"""Tiny models disagree about everything."""


@pytest.fixture
def walker() -> Atoms:
    frame = molecule("CH3CH2OH")
    frame.info = {"walker": 3, "temperature": 300.0, "parent": "walker 3 in iteration 0"}
    return frame


@pytest.fixture
def liquid() -> Atoms:
    """Two waters in a small skewed box."""
    frame = molecule("H2O")
    frame += molecule("H2O")
    frame.positions[3:] += [2.6, 0.4, 0.2]
    frame.set_cell([[5.5, 0.0, 0.0], [1.5, 5.0, 0.0], [-1.0, 0.7, 5.2]])
    frame.rotate(35, (1, 1, 0.3), rotate_cell=True)
    frame.pbc = True
    frame.info = {"walker": 1, "temperature": 300.0, "parent": "w", "pressure": 2000.0}
    return frame


def samples(output: Output) -> list[Atoms]:
    return [frame for frame in output.frames if frame.info["kind"] != "state"]


class StopAfter(Interruption):
    """A signal that comes at a certain step."""

    steps = 0

    def due(self, ahead: float) -> bool:
        StopAfter.steps -= 1
        return StopAfter.steps == 0


@contextlib.contextmanager
def stopped_after(steps: int) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(StopAfter, "steps", steps)
        patch.setattr(sampling, "Interruption", StopAfter)
        yield


@pytest.mark.parametrize("engine", ENGINES)
def test_without_friction_the_energy_is_conserved(models: list[str], walker: Atoms, engine: str) -> None:
    committee = load(models, "cpu", "float64")
    conditions = Conditions(temperature=300.0, timestep=0.1, friction=1e-9, seed=1)
    dynamics = start(walker, committee, conditions, engine)
    totals = []
    for step in range(120):
        dynamics.step()
        if step % 10 == 9:
            frame = dynamics.frame()
            (prediction,) = committee.predict([frame])
            totals.append(prediction.energy + frame.get_kinetic_energy())
    assert np.ptp(totals) < 0.02 * frame.get_kinetic_energy()
    assert temperature(frame) > 50


@pytest.mark.parametrize("engine", ENGINES)
def test_the_thermostat_brings_the_walker_to_its_temperature(models: list[str], walker: Atoms, engine: str) -> None:
    walker.set_momenta(np.zeros((9, 3)))
    conditions = Conditions(temperature=500.0, timestep=0.5, friction=0.1, seed=2)
    dynamics = start(walker, load(models, "cpu"), conditions, engine)
    found = []
    for step in range(600):
        dynamics.step()
        if step >= 100:
            found.append(temperature(dynamics.frame()))
    assert 350 < np.mean(found) < 650


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("ensemble", ["nvt", "npt", "biased"])
def test_a_walk_in_parts_is_a_walk_at_once(
    models: list[str], walker: Atoms, liquid: Atoms, workdir: Path, engine: str, ensemble: str
) -> None:
    origin = liquid if ensemble == "npt" else walker
    settings: dict[str, Any] = {
        "models": models, "steps": 110, "every": 22, "guards": OFF, "engine": engine, "device": "cpu", "timestep": 0.2
    }  # fmt: skip
    if ensemble == "biased":
        settings["bias"] = {"variable": "torsion", "atoms": [0, 1, 2, 3], "width": 10.0, "height": 0.1, "every": 7}
    whole = explore(origin, **settings)
    for steps in (30, 37):
        with stopped_after(steps), pytest.raises(Unfinished):
            explore(origin, **settings)
    parts = explore(origin, **settings)
    assert parts.result == pytest.approx(whole.result)
    assert len(samples(parts)) == 5
    for one, other in zip(whole.frames, parts.frames, strict=True):
        # What has been through a checkpoint is rounded as it would be in the result.
        np.testing.assert_allclose(other.positions, one.positions, atol=1.01e-8)
        np.testing.assert_allclose(other.cell.array, one.cell.array, atol=1.01e-8)
    np.testing.assert_array_equal(parts.frames[-1].positions, whole.frames[-1].positions)


def test_the_seed_decides_the_walk(
    models: list[str], walker: Atoms, workdir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def end(seed: str) -> np.ndarray:
        monkeypatch.setenv("HPCFLOW_SEED", seed)
        return explore(walker, models=models, steps=10, guards=OFF, device="cpu").frames[-1].positions

    for seed in ("0", "5"):
        np.testing.assert_array_equal(end(seed), end(seed))
    assert abs(end("5") - end("6")).max() > 1e-3


def test_frames_carry_what_the_committee_says_about_them(models: list[str], walker: Atoms, workdir: Path) -> None:
    frames = samples(explore(walker, models=models, steps=40, every=10, guards=OFF, device="cpu"))
    assert [frame.info["step"] for frame in frames] == [10, 20, 30, 40]
    for frame, prediction in zip(frames, Committee(models, device="cpu").predict(frames), strict=True):
        assert frame.info["deviation"] == pytest.approx(prediction.deviation, rel=1e-4)
        assert frame.info["predicted_energy"] == pytest.approx(prediction.energy, abs=1e-4)
        np.testing.assert_allclose(frame.arrays["predicted_forces"], prediction.mean_forces, atol=1e-4)


def test_frames_say_where_they_come_from(models: list[str], walker: Atoms, workdir: Path) -> None:
    (frame,) = samples(explore(walker, models=models, steps=10, every=10, guards=OFF, device="cpu"))
    assert frame.info["parent"] == "walker 3 in iteration 0"
    assert frame.info["walker"] == 3
    assert frame.info["config_type"] == "explore_300K"
    assert not frame.has("momenta")


def test_a_walker_goes_on_from_its_state(models: list[str], walker: Atoms, workdir: Path) -> None:
    output = explore(walker, models=models, steps=20, every=20, guards=OFF, device="cpu")
    state = output.frames[-1]
    assert state.info == {**walker.info, "kind": "state"}
    conditions = Conditions(temperature=300.0, timestep=0.01, friction=1e-9)
    following = start(state, load(models, "cpu"), conditions)
    following.step()
    assert temperature(following.frame()) == pytest.approx(temperature(state), rel=0.05)


@pytest.mark.parametrize(
    ("guards", "guard"),
    [
        ({"deviation": 1e-9}, "deviation"),
        ({"deviation": 100.0, "force": 1e-9}, "force"),
        ({"deviation": 100.0, "distance": 2.0}, "distance"),
        ({"deviation": 100.0, "temperature": 1e-3}, "temperature"),
    ],
)
def test_a_guard_stops_the_walker(
    models: list[str], walker: Atoms, workdir: Path, guards: dict[str, float], guard: str
) -> None:
    output = explore(walker, models=models, steps=40, every=10, guards=guards, device="cpu")
    assert output.result["status"] == "unsafe"
    assert output.result["reason"].startswith(f"{guard}: ")
    assert output.result["steps"] <= 10
    unsafe, state = output.frames
    assert (unsafe.info["kind"], unsafe.info["guard"]) == ("unsafe", guard)
    np.testing.assert_array_equal(state.positions, walker.positions)


def test_the_volume_is_guarded(models: list[str], liquid: Atoms, workdir: Path) -> None:
    output = explore(
        liquid, models=models, steps=60, every=30, guards={**OFF, "volume": 1e-12}, device="cpu", timestep=0.1
    )
    assert output.result["reason"].startswith("volume: ")


def test_a_number_that_is_none_stops_the_walker(models: list[str], walker: Atoms, workdir: Path) -> None:
    import torch

    broken = torch.load(models[0], weights_only=False)
    for parameter in broken.readouts.parameters():
        parameter.data[:] = np.nan
    torch.save(broken, "broken")
    output = explore(walker, models=[models[0], "broken"], steps=5, guards=OFF, device="cpu")
    assert output.result["reason"] == "finite: energy or forces are not"


def test_the_pressure_changes_the_volume_and_not_the_shape(models: list[str], liquid: Atoms, workdir: Path) -> None:
    output = explore(liquid, models=models, steps=200, every=50, guards=OFF, device="cpu", timestep=0.2)
    ratios = [frame.cell.array / liquid.cell.array for frame in samples(output)]
    for ratio in ratios:
        np.testing.assert_allclose(ratio, ratio[0, 0], rtol=1e-9)
    assert len({round(ratio[0, 0], 9) for ratio in ratios}) > 1


class IdealGas:
    """Particles that do not see each other."""

    def surface(self, positions: np.ndarray, cell: np.ndarray) -> tuple[float, np.ndarray]:
        return 0.0, np.zeros_like(positions)


def test_the_volume_of_an_ideal_gas_obeys_its_law() -> None:
    count, kelvin, bar = 20, 300.0, 1000.0
    expected = (count + 1) * units.kB * kelvin / (bar * units.bar)  # the mean for moves that are uniform in the volume
    cell = np.eye(3) * expected ** (1 / 3)
    gas = Atoms(f"He{count}", cell=cell, pbc=True)
    barostat = Barostat(gas, Conditions(temperature=kelvin, timestep=1.0, friction=0.01, pressure=bar, seed=4))
    positions, volumes = gas.positions, []
    for _ in range(Barostat.INTERVAL * 6000):
        moved = barostat.move(IdealGas(), positions, cell)  # type: ignore[arg-type]
        positions, cell = moved or (positions, cell)
        volumes.append(np.linalg.det(cell))
    assert np.mean(volumes) == pytest.approx(expected, rel=0.05)
    assert np.std(volumes) == pytest.approx(expected / np.sqrt(count + 1), rel=0.15)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_pulled_box_expands(models: list[str], liquid: Atoms, workdir: Path, engine: str) -> None:
    liquid.info["pressure"] = -300_000.0  # bar: no matter holds against that
    settings: dict[str, Any] = {"models": models, "device": "cpu", "engine": engine, "timestep": 0.2}
    output = explore(liquid, steps=300, every=100, guards={**OFF, "volume": 9.0}, **settings)
    assert samples(output)[-1].get_volume() > liquid.get_volume()


def test_a_pressure_needs_a_box(models: list[str], walker: Atoms, workdir: Path) -> None:
    walker.info["pressure"] = 1.0
    with pytest.raises(ValueError, match="periodic in three directions"):
        explore(walker, models=models, steps=1, device="cpu")


def test_a_pressure_goes_with_no_fixed_atoms(models: list[str], liquid: Atoms, workdir: Path) -> None:
    liquid.set_constraint(FixAtoms([0]))
    with pytest.raises(ValueError, match="cannot have fixed atoms"):
        explore(liquid, models=models, steps=1, device="cpu")


@pytest.mark.parametrize("engine", ENGINES)
def test_the_first_step_follows_the_forces(models: list[str], liquid: Atoms, engine: str) -> None:
    committee = load(models, "cpu", "float64")
    liquid.set_momenta(np.zeros((6, 3)))
    conditions = Conditions(temperature=1e-9, timestep=0.1, friction=1e-9)
    dynamics = start(liquid, committee, conditions, engine)
    dynamics.step()
    forces = committee.predict([liquid])[0].mean_forces
    np.testing.assert_allclose(dynamics.frame().get_momenta(), forces * 0.1 * units.fs, rtol=0.02, atol=1e-4)


def test_an_unknown_engine_is_refused(models: list[str], walker: Atoms, workdir: Path) -> None:
    with pytest.raises(ValueError, match="no engine 'lammps'"):
        explore(walker, models=models, steps=1, device="cpu", engine="lammps")


@pytest.mark.parametrize("engine", ENGINES)
def test_fixed_atoms_stay(models: list[str], walker: Atoms, workdir: Path, engine: str) -> None:
    walker.set_constraint(FixAtoms([0, 1]))
    output = explore(walker, models=models, steps=10, guards=OFF, device="cpu", engine=engine)
    moved = np.linalg.norm(output.frames[-1].positions - walker.positions, axis=1)
    assert (moved[:2] < 1e-12).all()
    assert (moved[2:] > 1e-6).all()
