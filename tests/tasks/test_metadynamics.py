"""The bias of metadynamics: forces that are the slope of its energy, hills that shrink, and a variable that moves."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from ase import Atoms, units
from ase.build import molecule

from hpcflow.tasks.committee import Prediction
from hpcflow.tasks.dynamics import start
from hpcflow.tasks.metadynamics import Bias, Metadynamics
from hpcflow.tasks.surface import Conditions

VARIABLES = {"distance": [1, 2], "angle": [0, 1, 2], "torsion": [0, 1, 2, 3]}
NOT_PERIODIC = [False, False, False]


def bias(variable: str, pbc: Any = NOT_PERIODIC, **settings: Any) -> Bias:
    given = {"variable": variable, "atoms": VARIABLES[variable], "width": 5.0, "height": 0.1, "every": 1, **settings}
    return Bias(Metadynamics(**given), 300.0, pbc)


@pytest.fixture
def ethanol_frame() -> Atoms:
    frame = molecule("CH3CH2OH")
    frame.rattle(0.1, seed=3)
    return frame


@pytest.mark.parametrize("variable", VARIABLES)
def test_the_variable_is_that_of_ase(variable: str, ethanol_frame: Atoms) -> None:
    value, _ = bias(variable).variable(ethanol_frame.positions, ethanol_frame.cell.array)
    ask = {
        "distance": ethanol_frame.get_distance,
        "angle": ethanol_frame.get_angle,
        "torsion": ethanol_frame.get_dihedral,
    }[variable]
    assert value == pytest.approx(ask(*VARIABLES[variable]))


@pytest.mark.parametrize("variable", VARIABLES)
@pytest.mark.parametrize("periodic", [False, True])
def test_forces_are_minus_the_slope_of_the_bias(variable: str, periodic: bool, ethanol_frame: Atoms) -> None:
    if periodic:
        ethanol_frame.set_cell([6.0, 6.0, 6.0])
        ethanol_frame.positions[2] += [6.0, 0.0, -6.0]  # its neighbours are images now
        ethanol_frame.pbc = True
    hills = bias(variable, pbc=ethanol_frame.pbc.tolist(), width=0.3 if variable == "distance" else 20.0)
    positions, cell = ethanol_frame.positions, ethanol_frame.cell.array
    hills.step(positions, cell)
    rng = np.random.default_rng(0)
    hills.step(positions + rng.normal(0, 0.05, positions.shape), cell)
    here = positions + rng.normal(0, 0.05, positions.shape)
    _, forces = hills.energy_and_forces(here, cell)
    assert abs(forces).max() > 1e-3
    numeric = np.zeros_like(forces)
    for index in np.ndindex(forces.shape):
        for sign in (1, -1):
            moved = here.copy()
            moved[index] += sign * 1e-5
            numeric[index] -= sign * hills.energy_and_forces(moved, cell)[0] / 2e-5
    np.testing.assert_allclose(forces, numeric, atol=1e-6)


def test_hills_on_one_place_shrink_as_they_pile_up(ethanol_frame: Atoms) -> None:
    hills = bias("torsion", factor=6.0)
    total, expected = 0.0, 0.0
    for _ in range(5):
        expected += 0.1 * math.exp(-expected / (5.0 * units.kB * 300.0))
        hills.step(ethanol_frame.positions, ethanol_frame.cell.array)
        total, _ = hills.energy_and_forces(ethanol_frame.positions, ethanol_frame.cell.array)
        assert total == pytest.approx(expected)
    assert total < 0.5


def test_a_torsion_has_no_end(ethanol_frame: Atoms) -> None:
    hills = bias("torsion", width=10.0)
    cell = ethanol_frame.cell.array
    ethanol_frame.set_dihedral(*VARIABLES["torsion"], 359.0)
    hills.step(ethanol_frame.positions, cell)
    ethanol_frame.set_dihedral(*VARIABLES["torsion"], 1.0)
    energy, _ = hills.energy_and_forces(ethanol_frame.positions, cell)
    assert energy == pytest.approx(0.1 * math.exp(-0.5 * 0.2**2), rel=1e-3)


class Spring:
    """Two atoms and a spring of 5 eV/Å² between them, in the place of a committee."""

    def graph(self, frames: list[Atoms]) -> dict[str, Any]:
        import torch

        edges = torch.tensor([[0, 1], [1, 0]])
        return {"frame": frames[0], "edge_index": edges, "shifts": torch.zeros(2, 3)}

    def evaluate(self, graph: dict[str, Any]) -> list[Prediction]:
        one, other = graph["frame"].positions
        length = np.linalg.norm(other - one)
        pull = 5.0 * (length - 1.5) * (other - one) / length
        return [Prediction(np.array([2.5 * (length - 1.5) ** 2]), np.array([[pull, -pull]]), None)]


@pytest.mark.parametrize("engine", ["openmm", "ase"])
def test_the_bias_drives_the_variable(engine: str) -> None:
    dimer = Atoms("Ar2", positions=[[0, 0, 0], [1.5, 0, 0]])
    hills = Metadynamics("distance", [0, 1], width=0.05, height=0.02, every=20, factor=50.0)

    def spread(bias: Metadynamics | None) -> float:
        conditions = Conditions(temperature=50.0, timestep=2.0, friction=0.01, seed=1, bias=bias)
        dynamics = start(dimer, Spring(), conditions, engine)  # type: ignore[arg-type]
        lengths = []
        for _ in range(2000):
            dynamics.step()
            lengths.append(dynamics.frame().get_distance(0, 1))
        return float(np.ptp(lengths))

    # Thermal motion alone has a standard deviation of 0.03 Å.
    assert spread(None) < 0.3
    assert spread(hills) > 0.6


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"variable": "coordination"}, "no variable 'coordination'; there are angle, distance, torsion"),
        ({"atoms": [0, 1]}, "a torsion has 4 atoms, not 2"),
        ({"factor": 1.0}, "a factor above 1"),
    ],
)
def test_settings_are_checked(wrong: dict[str, Any], message: str) -> None:
    right: dict[str, Any] = {"variable": "torsion", "atoms": [0, 1, 2, 3], "width": 10.0, "height": 0.1}
    with pytest.raises(ValueError, match=message):
        Metadynamics(**{**right, **wrong})
