"""Molecular dynamics on a committee's mean forces, one step at a time: OpenMM, or ASE where it is missing.

Both classes have the same methods, so that sampling does not know which one it drives:

``step()``
    Advance by one time step.
``frame()``
    The present positions, cell and momenta as ``ase.Atoms``.
``evaluation``
    The committee's view of the configuration it saw last.
``save()`` and ``load(data)``
    The whole state as bytes; going on from them repeats the same trajectory bit for bit.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from hpcflow.tasks.committee import Array, Committee, Prediction

if TYPE_CHECKING:
    from ase import Atoms

KILOJOULE_PER_MOLE = 96.48533212331  # per eV (CODATA 2018)
BAROSTAT_INTERVAL = 25  # steps between volume moves, OpenMM's default


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


class Evaluation:
    """The committee's view of one configuration; the same configuration is not computed twice."""

    def __init__(self, committee: Committee, atoms: Atoms) -> None:
        from ase.data import covalent_radii

        self.committee = committee
        self.prediction: Prediction
        self.closest = float("inf")
        """The smallest distance between two atoms, in units of the sum of their covalent radii."""
        self.atoms = atoms.copy()
        self._radii = np.array([covalent_radii[number] for number in atoms.numbers])
        self._at: tuple[bytes, bytes] | None = None

    def at(self, positions: Array, cell: Array, stress: bool = False) -> Prediction:
        """Evaluate positions and cell (both in Å)."""
        key = (positions.tobytes(), cell.tobytes())
        if key != self._at or (stress and self.prediction.stresses is None):
            self.atoms.set_cell(cell)
            self.atoms.positions = positions
            graph = self.committee.graph([self.atoms])
            (self.prediction,) = self.committee.evaluate(graph, stress)
            self.closest = self._closest(graph)
            self._at = key
        return self.prediction

    def _closest(self, graph: dict[str, Any]) -> float:
        one, other = graph["edge_index"].cpu().numpy()
        apart = self.atoms.positions[other] - self.atoms.positions[one] + graph["shifts"].cpu().numpy()
        reach = self._radii[one] + self._radii[other]
        return float((np.linalg.norm(apart, axis=1) / reach).min(initial=np.inf))


class Dynamics(Protocol):
    """What sampling needs of a program that moves atoms; see the module."""

    evaluation: Evaluation

    def step(self) -> None: ...

    def frame(self) -> Atoms: ...

    def save(self) -> bytes: ...

    def load(self, data: bytes) -> None: ...


class OpenMMDynamics:
    """Langevin dynamics with OpenMM's middle scheme; NPT with its isotropic Monte Carlo barostat.

    The committee enters as a ``PythonForce``. The integrator runs on OpenMM's Reference platform: it costs
    nothing beside the model, is in double precision, and its checkpoints can be read everywhere.

    Parameters
    ----------
    atoms
        Where to start. Momenta are used if there are any, else drawn for the temperature. Fixed atoms
        (``FixAtoms``) stay.
    committee, conditions
        What moves the atoms. Pressure needs a cell that is periodic in three directions.
    """

    def __init__(self, atoms: Atoms, committee: Committee, conditions: Conditions) -> None:
        import openmm as mm
        from openmm import unit

        self.evaluation = Evaluation(committee, atoms)
        self._atoms = atoms.copy()
        self._cell = atoms.cell.array.copy()
        self._turn = np.eye(3)
        system = mm.System()
        fixed = fixed_atoms(atoms)
        for index, mass in enumerate(atoms.get_masses()):
            system.addParticle(0.0 if index in fixed else mass)
        positions = atoms.positions
        force = mm.PythonForce(self._compute)
        if conditions.pressure is not None:
            box, self._turn = reduced_box(self._cell)
            positions = positions @ self._turn.T
            system.setDefaultPeriodicBoxVectors(*(box / 10))
            self._volume = abs(np.linalg.det(box))
            barostat = mm.MonteCarloBarostat(conditions.pressure, conditions.temperature, BAROSTAT_INTERVAL)
            barostat.setRandomNumberSeed(conditions.seed)
            system.addForce(barostat)
        force.setUsesPeriodicBoundaryConditions(conditions.pressure is not None)
        system.addForce(force)
        if not fixed:
            system.addForce(mm.CMMotionRemover(100))
        integrator = mm.LangevinMiddleIntegrator(
            conditions.temperature, conditions.friction * 1000.0, conditions.timestep / 1000.0
        )
        integrator.setRandomNumberSeed(conditions.seed)
        self._periodic = conditions.pressure is not None
        self._unit = unit
        self._context = mm.Context(system, integrator, mm.Platform.getPlatformByName("Reference"))
        self._context.setPositions(positions / 10)
        if atoms.has("momenta"):
            self._context.setVelocities(velocities(atoms) @ self._turn.T / 10)
        else:
            self._context.setVelocitiesToTemperature(conditions.temperature, conditions.seed)
        self._integrator = integrator

    def step(self) -> None:
        self._integrator.step(1)

    def frame(self) -> Atoms:
        state = self._context.getState(positions=True, velocities=True)
        positions, cell = self._read(state)
        velocity = state.getVelocities(asNumpy=True).value_in_unit(self._unit.angstrom / self._unit.picosecond)
        atoms = self._atoms.copy()
        atoms.set_cell(cell)
        atoms.positions = positions
        set_velocities(atoms, np.asarray(velocity) @ self._turn)
        return atoms

    def save(self) -> bytes:
        return bytes(self._context.createCheckpoint())

    def load(self, data: bytes) -> None:
        self._context.loadCheckpoint(data)

    def _read(self, state: Any) -> tuple[Array, Array]:
        positions = np.asarray(state.getPositions(asNumpy=True).value_in_unit(self._unit.angstrom))
        if not self._periodic:
            return positions, self._cell
        box = np.asarray(state.getPeriodicBoxVectors(asNumpy=True).value_in_unit(self._unit.angstrom))
        # The barostat scales all three vectors alike: so does the user's own choice of vectors.
        scale = (abs(np.linalg.det(box)) / self._volume) ** (1 / 3)
        return positions @ self._turn, self._cell * scale

    def _compute(self, state: Any) -> tuple[float, NDArray[np.float64]]:
        prediction = self.evaluation.at(*self._read(state))
        forces = prediction.mean_forces @ self._turn.T
        return prediction.energy * KILOJOULE_PER_MOLE, forces * KILOJOULE_PER_MOLE * 10


class AseDynamics:
    """Langevin dynamics with ASE's BAOAB scheme; NPT with its isotropic Langevin-Hoover barostat.

    Parameters are those of `OpenMMDynamics`.
    """

    def __init__(self, atoms: Atoms, committee: Committee, conditions: Conditions) -> None:
        from ase import units
        from ase.constraints import FixAtoms
        from ase.md.langevinbaoab import LangevinBAOAB

        self.evaluation = Evaluation(committee, atoms)
        self._atoms = atoms.copy()
        self._atoms.set_constraint([FixAtoms(sorted(fixed_atoms(atoms)))] if fixed_atoms(atoms) else None)
        self._atoms.calc = _calculator(self.evaluation)
        self._rng = np.random.default_rng(conditions.seed)
        if not atoms.has("momenta"):
            masses = self._atoms.get_masses()[:, None]
            draws = self._rng.standard_normal((len(atoms), 3))
            self._atoms.set_momenta(draws * np.sqrt(masses * units.kB * conditions.temperature))
        tau = units.fs / conditions.friction
        pressure = conditions.pressure
        more = (
            {}
            if pressure is None
            else {"externalstress": -pressure * units.bar, "hydrostatic": True, "P_tau": 20 * tau}
        )
        self._dynamics = LangevinBAOAB(
            self._atoms,
            conditions.timestep * units.fs,
            temperature_K=conditions.temperature,
            T_tau=tau,
            rng=self._rng,
            **more,
        )

    def step(self) -> None:
        self._dynamics.step()

    def frame(self) -> Atoms:
        atoms = self._atoms.copy()
        atoms.calc = None
        return atoms

    def save(self) -> bytes:
        buffer = io.BytesIO()
        arrays = {
            "positions": self._atoms.positions,
            "momenta": self._atoms.arrays["momenta"],
            "cell": self._atoms.cell.array,
            "strain": np.array(getattr(self._dynamics, "p_eps", 0.0)),
            "random": np.array(json.dumps(self._rng.bit_generator.state)),
        }
        np.savez(buffer, **arrays)
        return buffer.getvalue()

    def load(self, data: bytes) -> None:
        with np.load(io.BytesIO(data)) as arrays:
            self._atoms.set_cell(arrays["cell"])
            self._atoms.positions = arrays["positions"]
            self._atoms.arrays["momenta"][:] = arrays["momenta"]
            self._rng.bit_generator.state = json.loads(str(arrays["random"]))
            if hasattr(self._dynamics, "p_eps"):
                self._dynamics.p_eps = float(arrays["strain"])
        self._dynamics._update_accel()
        if hasattr(self._dynamics, "p_eps"):
            self._dynamics._update_force_eps()


def start(atoms: Atoms, committee: Committee, conditions: Conditions, engine: str = "auto") -> Dynamics:
    """Return dynamics with ``openmm`` or ``ase``; ``auto`` takes OpenMM if it is there.

    Raises
    ------
    ValueError
        If there is a pressure but no cell that is periodic in three directions, or no such engine.
    """
    if conditions.pressure is not None and not (atoms.pbc.all() and atoms.cell.rank == 3):
        raise ValueError("a walker with a pressure needs a cell that is periodic in three directions")
    if engine not in ("auto", "openmm", "ase"):
        raise ValueError(f"no engine {engine!r}; there are 'auto', 'openmm' and 'ase'")
    if engine == "auto":
        engine = "openmm" if _has_openmm() else "ase"
    return (OpenMMDynamics if engine == "openmm" else AseDynamics)(atoms, committee, conditions)


def reduced_box(cell: Array) -> tuple[Array, Array]:
    """Return the same lattice as OpenMM wants its box, and the rotation that leads there.

    The first vector lies along x, the second in the xy plane, and no vector is longer than it has to be
    along the ones before it. Positions go along as ``positions @ rotation.T``.
    """
    from ase.cell import Cell

    right_handed = cell if np.linalg.det(cell) > 0 else -cell
    standard, rotation = Cell(right_handed).standard_form()
    a, b, c = standard.array.copy()
    c -= b * round(c[1] / b[1])
    c -= a * round(c[0] / a[0])
    b -= a * round(b[0] / a[0])
    return np.array([a, b, c]), np.asarray(rotation)


def fixed_atoms(atoms: Atoms) -> set[int]:
    """Return the indices of the atoms that may not move."""
    from ase.constraints import FixAtoms

    return {int(i) for c in atoms.constraints if isinstance(c, FixAtoms) for i in c.index}


def temperature(atoms: Atoms) -> float:
    """Return the instantaneous temperature in K of the atoms that may move."""
    from ase import units

    free = 3 * (len(atoms) - len(fixed_atoms(atoms)))
    return float(2 * atoms.get_kinetic_energy() / (free * units.kB)) if free else 0.0


def velocities(atoms: Atoms) -> Array:
    """Return velocities in Å/ps."""
    from ase import units

    return np.asarray(atoms.arrays["momenta"] / atoms.get_masses()[:, None] * 1000 * units.fs)


def set_velocities(atoms: Atoms, values: Array) -> None:
    """Set velocities in Å/ps."""
    from ase import units

    momenta = values * atoms.get_masses()[:, None] / (1000 * units.fs)
    atoms.set_momenta(momenta, apply_constraint=False)


def _has_openmm() -> bool:
    try:
        import openmm
    except ImportError:
        return False
    return hasattr(openmm, "PythonForce")


def _calculator(evaluation: Evaluation) -> Any:
    from ase.calculators.calculator import Calculator, all_changes
    from ase.stress import full_3x3_to_voigt_6_stress

    class CommitteeMean(Calculator):  # type: ignore[misc]
        implemented_properties = ["energy", "forces", "stress"]  # noqa: RUF012  ASE's own way

        def calculate(
            self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = all_changes
        ) -> None:
            super().calculate(atoms, properties, system_changes)
            stress = "stress" in properties
            prediction = evaluation.at(atoms.positions.copy(), atoms.cell.array.copy(), stress)
            self.results = {"energy": prediction.energy, "forces": prediction.mean_forces}
            if prediction.stresses is not None:
                self.results["stress"] = full_3x3_to_voigt_6_stress(prediction.stresses.mean(axis=0))

    return CommitteeMean()
