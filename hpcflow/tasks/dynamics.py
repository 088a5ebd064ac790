"""Molecular dynamics on a committee's mean forces, one step at a time: OpenMM, or ASE where it is missing.

Both integrators are Langevin's with the middle (BAOAB) scheme of Leimkuhler and Matthews, J. Chem. Phys. 138, 174102
(2013). Either repeats a trajectory bit for bit from what it has saved.
"""

from __future__ import annotations

import io
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from hpcflow.tasks.committee import Array, Committee, Prediction
from hpcflow.tasks.metadynamics import Bias, Metadynamics

if TYPE_CHECKING:
    from ase import Atoms

KILOJOULE_PER_MOLE = 96.48533212331  # per eV (CODATA 2018)


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


class Dynamics(Protocol):
    """What sampling needs of a program that moves atoms.

    ``evaluation`` is the committee's view of the configuration that it saw last. ``step`` advances by one time step,
    with a volume move before it when one is due. ``frame`` returns present positions, cell and momenta. ``save``
    returns the whole state, and after ``load`` of that the trajectory goes on as it would have gone.
    """

    evaluation: Evaluation

    def step(self) -> None: ...

    def frame(self) -> Atoms: ...

    def save(self) -> bytes: ...

    def load(self, data: bytes) -> None: ...


class _Parts:
    """What both have besides the integrator: the evaluation with its bias, and the barostat, saved together."""

    def __init__(self, atoms: Atoms, committee: Committee, conditions: Conditions) -> None:
        self.evaluation = Evaluation(committee, atoms, conditions.bias, conditions.temperature)
        self._barostat = Barostat(atoms, conditions) if conditions.pressure is not None else None

    def _pack(self, **arrays: Any) -> bytes:
        parts = {"barostat": self._barostat, "bias": self.evaluation.bias}
        arrays |= {name: np.array(json.dumps(part.save())) for name, part in parts.items() if part is not None}
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        return buffer.getvalue()

    def _unpack(self, data: bytes) -> dict[str, Any]:
        with np.load(io.BytesIO(data)) as arrays:
            state = {name: arrays[name] for name in arrays.files}
        for name, part in (("barostat", self._barostat), ("bias", self.evaluation.bias)):
            if part is not None:
                part.load(json.loads(str(state[name])))
        return state


class OpenMMDynamics(_Parts):
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
        if self._barostat is not None:
            moved = self._barostat.move(
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
        return self._pack(checkpoint=checkpoint, cell=self._cell)

    def load(self, data: bytes) -> None:
        state = self._unpack(data)
        self._context.loadCheckpoint(state["checkpoint"].tobytes())
        self._cell = state["cell"]

    def _positions(self, state: Any) -> Array:
        return np.asarray(state.getPositions(asNumpy=True).value_in_unit(self._length))

    def _compute(self, state: Any) -> tuple[float, Array]:
        energy, forces = self.evaluation.surface(self._positions(state), self._cell)
        return energy * KILOJOULE_PER_MOLE, forces * KILOJOULE_PER_MOLE * 10


class AseDynamics(_Parts):
    """Dynamics with ASE. Parameters are those of `OpenMMDynamics`."""

    def __init__(self, atoms: Atoms, committee: Committee, conditions: Conditions) -> None:
        from ase import units
        from ase.constraints import FixAtoms
        from ase.md.langevinbaoab import LangevinBAOAB

        super().__init__(atoms, committee, conditions)
        self._random = np.random.default_rng(conditions.seed)
        self._atoms = atoms.copy()
        self._atoms.set_constraint([FixAtoms(sorted(fixed_atoms(atoms)))] if fixed_atoms(atoms) else None)
        self._atoms.calc = _calculator(self.evaluation)
        if not atoms.has("momenta"):
            draws = self._random.standard_normal((len(atoms), 3))
            self._atoms.set_momenta(
                draws * np.sqrt(self._atoms.get_masses()[:, None] * units.kB * conditions.temperature)
            )
        self._dynamics = LangevinBAOAB(
            self._atoms,
            conditions.timestep * units.fs,
            temperature_K=conditions.temperature,
            T_tau=units.fs / conditions.friction,
            rng=self._random,
        )

    def step(self) -> None:
        if self._barostat is not None:
            moved = self._barostat.move(self.evaluation, self._atoms.positions.copy(), self._atoms.cell.array.copy())
            if moved is not None:
                self._place(*moved)
        self._dynamics.step()
        if self.evaluation.bias is not None:
            self.evaluation.bias.step(self._atoms.positions.copy(), self._atoms.cell.array.copy())
            self._atoms.calc.reset()  # the same place feels another force now
            self._dynamics._update_accel()

    def frame(self) -> Atoms:
        atoms = self._atoms.copy()
        atoms.calc = None
        return atoms

    def save(self) -> bytes:
        return self._pack(
            positions=self._atoms.positions,
            momenta=self._atoms.arrays["momenta"],
            cell=self._atoms.cell.array,
            random=np.array(json.dumps(self._random.bit_generator.state)),
        )

    def load(self, data: bytes) -> None:
        state = self._unpack(data)
        self._atoms.arrays["momenta"][:] = state["momenta"]
        self._random.bit_generator.state = json.loads(str(state["random"]))
        self._place(state["positions"], state["cell"])

    def _place(self, positions: Array, cell: Array) -> None:
        self._atoms.set_cell(cell)
        self._atoms.positions = positions
        self._dynamics._update_accel()  # it remembers the accelerations of the step before


def start(atoms: Atoms, committee: Committee, conditions: Conditions, engine: str = "auto") -> Dynamics:
    """Return dynamics with ``openmm`` or ``ase``; ``auto`` takes OpenMM if it is there.

    Raises
    ------
    ValueError
        If there is no such engine; or if there is a pressure, but fixed atoms, or no cell that is periodic in three
        directions.
    """
    if conditions.pressure is not None and not (atoms.pbc.all() and atoms.cell.rank == 3):
        raise ValueError("a walker with a pressure needs a cell that is periodic in three directions")
    if conditions.pressure is not None and fixed_atoms(atoms):
        raise ValueError("a walker with a pressure cannot have fixed atoms")
    if engine not in ("auto", "openmm", "ase"):
        raise ValueError(f"no engine {engine!r}; there are 'auto', 'openmm' and 'ase'")
    if engine == "auto":
        engine = "openmm" if _has_openmm() else "ase"
    return (OpenMMDynamics if engine == "openmm" else AseDynamics)(atoms, committee, conditions)


def fixed_atoms(atoms: Atoms) -> set[int]:
    """Return the indices of the atoms that may not move."""
    from ase.constraints import FixAtoms

    return {int(i) for c in atoms.constraints if isinstance(c, FixAtoms) for i in c.index}


def temperature(atoms: Atoms) -> float:
    """Return the instantaneous temperature in K of the atoms that may move."""
    from ase import units

    free = 3 * (len(atoms) - len(fixed_atoms(atoms)))
    return float(2 * atoms.get_kinetic_energy() / (free * units.kB)) if free else 0.0


def _velocities(atoms: Atoms) -> Array:
    """Return velocities in Å/ps."""
    from ase import units

    return np.asarray(atoms.arrays["momenta"] / atoms.get_masses()[:, None] * 1000 * units.fs)


def _has_openmm() -> bool:
    try:
        import openmm
    except ImportError:
        return False
    return hasattr(openmm, "PythonForce")


def _calculator(evaluation: Evaluation) -> Any:
    from ase.calculators.calculator import Calculator, all_changes

    class CommitteeMean(Calculator):  # type: ignore[misc]
        implemented_properties = ["energy", "forces"]  # noqa: RUF012  ASE's own way

        def calculate(
            self, atoms: Any = None, properties: Any = ("energy",), system_changes: Any = all_changes
        ) -> None:
            super().calculate(atoms, properties, system_changes)
            energy, forces = evaluation.surface(atoms.positions.copy(), atoms.cell.array.copy())
            self.results = {"energy": energy, "forces": forces}

    return CommitteeMean()
