"""A bias that fills up what a walker has seen already along one distance, angle or torsion."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from hpcflow.tasks.committee import Array

ATOMS = {"distance": 2, "angle": 3, "torsion": 4}
"""How many atoms each variable has. Distances are in Å, angles and torsions in degrees."""


@dataclass(frozen=True)
class Metadynamics:
    """Well-tempered metadynamics: Barducci, Bussi and Parrinello, Phys. Rev. Lett. 100, 020603 (2008)."""

    variable: str
    """``distance``, ``angle`` or ``torsion``."""
    atoms: Sequence[int]
    """Its atoms, counted from 0."""
    width: float
    """Standard deviation of a Gaussian, in units of the variable."""
    height: float
    """Of the first Gaussian in eV."""
    every: int = 50
    """Time steps from one Gaussian to the next."""
    factor: float = 10.0
    """The bias factor, above 1: how many times hotter the variable gets in the end."""

    def __post_init__(self) -> None:
        if self.variable not in ATOMS:
            raise ValueError(f"no variable {self.variable!r}; there are {', '.join(sorted(ATOMS))}")
        if len(self.atoms) != ATOMS[self.variable]:
            raise ValueError(f"a {self.variable} has {ATOMS[self.variable]} atoms, not {len(self.atoms)}")
        if self.factor <= 1 or self.width <= 0 or self.every < 1:
            raise ValueError("metadynamics needs a factor above 1, a positive width and at least one step")


class Bias:
    """The Gaussians of one walker.

    Parameters
    ----------
    settings
        What to bias, and how.
    temperature
        Of the walker in K.
    pbc
        Whether vectors between atoms may cross the cell, for each direction.
    """

    def __init__(self, settings: Metadynamics, temperature: float, pbc: Sequence[bool]) -> None:
        from ase import units

        self.settings = settings
        self._pbc = pbc
        self._softness = units.kB * temperature * (settings.factor - 1)
        self._steps = 0
        self._centres: list[float] = []
        self._heights: list[float] = []

    def energy_and_forces(self, positions: Array, cell: Array) -> tuple[float, Array]:
        """Return the bias in eV and its forces in eV/Å."""
        value, gradient = self.variable(positions, cell)
        apart = self._apart(value)
        hills = np.array(self._heights) * np.exp(-0.5 * (apart / self.settings.width) ** 2)
        slope = -float((hills * apart).sum()) / self.settings.width**2
        forces = np.zeros_like(positions)
        np.add.at(forces, list(self.settings.atoms), -slope * gradient)
        return float(hills.sum()), forces

    def step(self, positions: Array, cell: Array) -> None:
        """Count a time step and, if it is time, leave a Gaussian where the walker is."""
        self._steps += 1
        if self._steps % self.settings.every == 0:
            height = self.settings.height * math.exp(-self.energy_and_forces(positions, cell)[0] / self._softness)
            self._centres.append(self.variable(positions, cell)[0])
            self._heights.append(height)

    def variable(self, positions: Array, cell: Array) -> tuple[float, Array]:
        """Return the variable and its derivative with respect to the positions of its atoms."""
        from ase import geometry

        places = positions[list(self.settings.atoms)][:, None]
        box: dict[str, Any] = {"cell": cell, "pbc": self._pbc} if any(self._pbc) else {}
        if self.settings.variable == "distance":
            vectors = [places[1] - places[0]]
            value = float(geometry.get_distances([[0.0, 0.0, 0.0]], vectors[0], **box)[1][0, 0])
            gradient = geometry.get_distances_derivatives(*vectors, **box)
        elif self.settings.variable == "angle":
            vectors = [places[0] - places[1], places[2] - places[1]]
            value = float(geometry.get_angles(*vectors, **box)[0])
            gradient = geometry.get_angles_derivatives(*vectors, **box)
        else:
            vectors = [places[k + 1] - places[k] for k in range(3)]
            value = float(geometry.get_dihedrals(*vectors, **box)[0])
            gradient = geometry.get_dihedrals_derivatives(*vectors, **box)
        return value, np.asarray(gradient[0])

    def save(self) -> list[Any]:
        """Return what the bias depends on, as JSON."""
        return [self._steps, self._centres, self._heights]

    def load(self, state: list[Any]) -> None:
        """Go on from what `save` returned."""
        self._steps, self._centres, self._heights = state

    def _apart(self, value: float) -> Array:
        apart = value - np.array(self._centres)
        if self.settings.variable == "torsion":
            apart = (apart + 180.0) % 360.0 - 180.0
        return np.asarray(apart)
