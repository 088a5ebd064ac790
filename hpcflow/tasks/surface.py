"""What a walker moves on: the mean of a committee, a bias where there is one, and the conditions around it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcflow.tasks.committee import Array, Committee, Prediction
from hpcflow.tasks.metadynamics import Bias, Metadynamics

if TYPE_CHECKING:
    from ase import Atoms


@dataclass(frozen=True)
class Conditions:
    """What the surroundings do to the atoms."""

    temperature: float
    """In K."""
    timestep: float
    """In fs."""
    friction: float
    """Of the Langevin thermostat, in 1/fs."""
    pressure: float | None = None
    """In bar; None keeps the cell."""
    seed: int = 0
    bias: Metadynamics | None = None


class Evaluation:
    """The committee's view of one configuration after another; the last two are remembered.

    Parameters
    ----------
    committee
        The models.
    atoms
        Elements and periodicity.
    bias
        Settings of metadynamics, which moves the walker but is no part of the prediction.
    temperature
        Of the walker in K.
    """

    def __init__(
        self, committee: Committee, atoms: Atoms, bias: Metadynamics | None = None, temperature: float = 0.0
    ) -> None:
        from ase.data import covalent_radii

        self.atoms = atoms.copy()
        """The configuration that was evaluated last."""
        self.prediction: Prediction
        """What the committee says about it."""
        self.closest = math.inf
        """The smallest distance between two of its atoms, in units of the sum of their covalent radii."""
        self.bias = None if bias is None else Bias(bias, temperature, atoms.pbc.tolist())
        self._committee = committee
        self._radii = np.array([covalent_radii[number] for number in atoms.numbers])
        self._known: dict[tuple[bytes, bytes], tuple[Prediction, float]] = {}

    def at(self, positions: Array, cell: Array) -> Prediction:
        """Evaluate positions and cell (both in Å)."""
        self.atoms.set_cell(cell)
        self.atoms.positions = positions
        key = (positions.tobytes(), cell.tobytes())
        if key not in self._known:
            graph = self._committee.graph([self.atoms])
            (prediction,) = self._committee.evaluate(graph)
            self._known = dict([*list(self._known.items())[-1:], (key, (prediction, self._closest(graph)))])
        self.prediction, self.closest = self._known[key]
        return self.prediction

    def surface(self, positions: Array, cell: Array) -> tuple[float, Array]:
        """Return the energy (eV) and forces (eV/Å) that the walker feels: the committee's mean and the bias."""
        prediction = self.at(positions, cell)
        if self.bias is None:
            return prediction.energy, prediction.mean_forces
        energy, forces = self.bias.energy_and_forces(positions, cell)
        return prediction.energy + energy, prediction.mean_forces + forces

    def _closest(self, graph: dict[str, Any]) -> float:
        one, other = graph["edge_index"].cpu().numpy()
        apart = self.atoms.positions[other] - self.atoms.positions[one] + graph["shifts"].cpu().numpy()
        reach = self._radii[one] + self._radii[other]
        return float((np.linalg.norm(apart, axis=1) / reach).min(initial=math.inf))
