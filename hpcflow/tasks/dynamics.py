"""Molecular dynamics on a committee's mean forces, one step at a time: with OpenMM, or ASE where it is missing.

Both integrators are Langevin's with the middle (BAOAB) scheme of Leimkuhler and Matthews, J. Chem. Phys. 138, 174102
(2013). Either repeats a trajectory bit for bit from what it has saved.
"""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from hpcflow.tasks.barostat import Barostat
from hpcflow.tasks.committee import Committee
from hpcflow.tasks.surface import Conditions, Evaluation

if TYPE_CHECKING:
    from ase import Atoms


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


class Parts:
    """What both have besides the integrator: the evaluation with its bias, and the barostat, saved together."""

    def __init__(self, atoms: Atoms, committee: Committee, conditions: Conditions) -> None:
        self.evaluation = Evaluation(committee, atoms, conditions.bias, conditions.temperature)
        self.barostat = Barostat(atoms, conditions) if conditions.pressure is not None else None

    def pack(self, **arrays: Any) -> bytes:
        parts = {"barostat": self.barostat, "bias": self.evaluation.bias}
        arrays |= {name: np.array(json.dumps(part.save())) for name, part in parts.items() if part is not None}
        buffer = io.BytesIO()
        np.savez(buffer, **arrays)
        return buffer.getvalue()

    def unpack(self, data: bytes) -> dict[str, Any]:
        with np.load(io.BytesIO(data)) as arrays:
            state = {name: arrays[name] for name in arrays.files}
        for name, part in (("barostat", self.barostat), ("bias", self.evaluation.bias)):
            if part is not None:
                part.load(json.loads(str(state[name])))
        return state


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
    if engine == "openmm":
        from hpcflow.tasks.dynamics_openmm import OpenMMDynamics

        return OpenMMDynamics(atoms, committee, conditions)
    from hpcflow.tasks.dynamics_ase import AseDynamics

    return AseDynamics(atoms, committee, conditions)


def fixed_atoms(atoms: Atoms) -> set[int]:
    """Return the indices of the atoms that may not move."""
    from ase.constraints import FixAtoms

    return {int(i) for c in atoms.constraints if isinstance(c, FixAtoms) for i in c.index}


def temperature(atoms: Atoms) -> float:
    """Return the instantaneous temperature in K of the atoms that may move."""
    from ase import units

    free = 3 * (len(atoms) - len(fixed_atoms(atoms)))
    return float(2 * atoms.get_kinetic_energy() / (free * units.kB)) if free else 0.0


def _has_openmm() -> bool:
    try:
        import openmm
    except ImportError:
        return False
    return hasattr(openmm, "PythonForce")
