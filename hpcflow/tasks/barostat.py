"""Constant pressure: Monte Carlo moves of the volume."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcflow.tasks.committee import Array
from hpcflow.tasks.surface import Conditions, Evaluation

if TYPE_CHECKING:
    from ase import Atoms


class Barostat:
    """Isotropic Monte Carlo volume moves: Åqvist et al., Chem. Phys. Lett. 384, 288 (2004).

    Every atom is scaled on its own. The largest move adapts until about half of them are accepted, as in OpenMM;
    OpenMM's own barostat is not part of its checkpoints.
    """

    INTERVAL = 25
    """Time steps from one move to the next, OpenMM's default."""

    def __init__(self, atoms: Atoms, conditions: Conditions) -> None:
        from ase import units

        self._pressure = (conditions.pressure or 0.0) * units.bar
        self._thermal = units.kB * conditions.temperature
        self._random = np.random.default_rng(conditions.seed)
        self._largest = 0.01 * atoms.get_volume()  # Å³
        self._steps = 0
        self._tried = 0
        self._accepted = 0

    def move(self, evaluation: Evaluation, positions: Array, cell: Array) -> tuple[Array, Array] | None:
        """Count a time step and, if a move is due and accepted, return new positions and cell."""
        self._steps += 1
        if self._steps % self.INTERVAL:
            return None
        volume = abs(float(np.linalg.det(cell)))
        change = self._largest * (2 * self._random.random() - 1)
        scale = ((volume + change) / volume) ** (1 / 3)
        before, _ = evaluation.surface(positions, cell)
        after, _ = evaluation.surface(positions * scale, cell * scale)
        work = after - before + self._pressure * change - len(positions) * self._thermal * 3 * math.log(scale)
        accepted = self._random.random() < math.exp(min(0.0, -work / self._thermal))
        self._tried += 1
        self._accepted += accepted
        if self._tried >= 10:
            rate = self._accepted / self._tried
            if rate < 0.25:
                self._largest /= 1.1
            elif rate > 0.75:
                self._largest = min(1.1 * self._largest, 0.3 * volume)
            self._tried = self._accepted = 0
        return (positions * scale, cell * scale) if accepted else None

    def save(self) -> list[Any]:
        """Return what the next moves depend on, as JSON."""
        return [self._largest, self._steps, self._tried, self._accepted, self._random.bit_generator.state]

    def load(self, state: list[Any]) -> None:
        """Go on from what `save` returned."""
        self._largest, self._steps, self._tried, self._accepted, self._random.bit_generator.state = state
