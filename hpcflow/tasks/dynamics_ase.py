"""Molecular dynamics with ASE, for machines without OpenMM."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcflow.tasks.committee import Array, Committee
from hpcflow.tasks.dynamics import Parts, fixed_atoms
from hpcflow.tasks.surface import Conditions, Evaluation

if TYPE_CHECKING:
    from ase import Atoms


class AseDynamics(Parts):
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
        if self.barostat is not None:
            moved = self.barostat.move(self.evaluation, self._atoms.positions.copy(), self._atoms.cell.array.copy())
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
        return self.pack(
            positions=self._atoms.positions,
            momenta=self._atoms.arrays["momenta"],
            cell=self._atoms.cell.array,
            random=np.array(json.dumps(self._random.bit_generator.state)),
        )

    def load(self, data: bytes) -> None:
        state = self.unpack(data)
        self._atoms.arrays["momenta"][:] = state["momenta"]
        self._random.bit_generator.state = json.loads(str(state["random"]))
        self._place(state["positions"], state["cell"])

    def _place(self, positions: Array, cell: Array) -> None:
        self._atoms.set_cell(cell)
        self._atoms.positions = positions
        self._dynamics._update_accel()  # it remembers the accelerations of the step before


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
