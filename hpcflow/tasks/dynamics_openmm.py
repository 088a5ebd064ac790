"""Molecular dynamics with OpenMM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hpcflow.tasks.committee import Array, Committee
from hpcflow.tasks.dynamics import Parts, fixed_atoms
from hpcflow.tasks.surface import Conditions

if TYPE_CHECKING:
    from ase import Atoms

KILOJOULE_PER_MOLE = 96.48533212331  # per eV (CODATA 2018)


class OpenMMDynamics(Parts):
    """Dynamics with OpenMM, into which the committee enters as a ``PythonForce``.

    OpenMM knows nothing of the cell: the committee does. The integrator runs on the Reference platform, which costs
    nothing beside the models, is in double precision, and has checkpoints that can be read everywhere.

    Parameters
    ----------
    atoms
        Where to start. Momenta are used if there are any, else drawn for the temperature. Fixed atoms (``FixAtoms``)
        stay.
    committee, conditions
        What moves the atoms.
    """

    def __init__(self, atoms: Atoms, committee: Committee, conditions: Conditions) -> None:
        import openmm as mm
        from openmm import unit

        super().__init__(atoms, committee, conditions)
        self._atoms = atoms.copy()
        self._cell = atoms.cell.array.copy()
        system = mm.System()
        fixed = fixed_atoms(atoms)
        for index, mass in enumerate(atoms.get_masses()):
            system.addParticle(0.0 if index in fixed else mass)
        system.addForce(mm.PythonForce(self._compute))
        if not fixed:
            system.addForce(mm.CMMotionRemover(100))
        self._integrator = mm.LangevinMiddleIntegrator(
            conditions.temperature, conditions.friction * 1000.0, conditions.timestep / 1000.0
        )
        seed = max(1, conditions.seed)  # OpenMM takes 0 for a wish to be surprised
        self._integrator.setRandomNumberSeed(seed)
        self._context = mm.Context(system, self._integrator, mm.Platform.getPlatformByName("Reference"))
        self._length = unit.angstrom
        self._velocity = unit.angstrom / unit.picosecond
        self._context.setPositions(atoms.positions / 10)
        if atoms.has("momenta"):
            self._context.setVelocities(_velocities(atoms) / 10)
        else:
            self._context.setVelocitiesToTemperature(conditions.temperature, seed)

    def step(self) -> None:
        if self.barostat is not None:
            moved = self.barostat.move(
                self.evaluation, self._positions(self._context.getState(positions=True)), self._cell
            )
            if moved is not None:
                self._context.setPositions(moved[0] / 10)
                self._cell = moved[1]
        self._integrator.step(1)
        if self.evaluation.bias is not None:
            self.evaluation.bias.step(self._positions(self._context.getState(positions=True)), self._cell)

    def frame(self) -> Atoms:
        from ase import units

        state = self._context.getState(positions=True, velocities=True)
        velocities = np.asarray(state.getVelocities(asNumpy=True).value_in_unit(self._velocity))
        atoms = self._atoms.copy()
        atoms.set_cell(self._cell)
        atoms.positions = self._positions(state)
        momenta = velocities * atoms.get_masses()[:, None] / (1000 * units.fs)
        atoms.set_momenta(momenta, apply_constraint=False)
        return atoms

    def save(self) -> bytes:
        checkpoint = np.frombuffer(self._context.createCheckpoint(), dtype=np.uint8)
        return self.pack(checkpoint=checkpoint, cell=self._cell)

    def load(self, data: bytes) -> None:
        state = self.unpack(data)
        self._context.loadCheckpoint(state["checkpoint"].tobytes())
        self._cell = state["cell"]

    def _positions(self, state: Any) -> Array:
        return np.asarray(state.getPositions(asNumpy=True).value_in_unit(self._length))

    def _compute(self, state: Any) -> tuple[float, Array]:
        energy, forces = self.evaluation.surface(self._positions(state), self._cell)
        return energy * KILOJOULE_PER_MOLE, forces * KILOJOULE_PER_MOLE * 10


def _velocities(atoms: Atoms) -> Array:
    """Return velocities in Å/ps."""
    from ase import units

    return np.asarray(atoms.arrays["momenta"] / atoms.get_masses()[:, None] * 1000 * units.fs)
