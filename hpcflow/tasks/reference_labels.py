"""What a reference label is, and the gates that every label has to pass.

A labelled frame is the frame that came in, with

* ``info["REF_energy"]`` in eV: the free energy where the program gives one, for the forces are its gradient;
* ``arrays["REF_forces"]`` in eV/Å, not touched by constraints;
* ``info["REF_stress"]`` in eV/Å³, nine numbers, positive under tension as in ASE; periodic frames only;
* ``info["REF_status"]``: ``converged``.

Nothing else counts as a label: what did not converge, or has a number that is not finite, or a
force beyond the cap, raises instead.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hpcflow.structures.marks import REFERENCE

if TYPE_CHECKING:
    import numpy as np
    from ase import Atoms
    from numpy.typing import ArrayLike


def labelled(
    atoms: Atoms,
    energy: float,
    forces: ArrayLike,
    stress: ArrayLike | None = None,
    force_cap: float | None = None,
) -> Atoms:
    """Return a copy of a frame with its labels, if they can be believed.

    Parameters
    ----------
    energy, forces
        In eV, and in eV/Å with shape (atoms, 3).
    stress
        In eV/Å³: six numbers in Voigt order (xx, yy, zz, yz, xz, xy), nine, or 3x3.
    force_cap
        Largest force on any atom that is accepted, in eV/Å.

    Raises
    ------
    ValueError
        A number is not finite, a shape is wrong, or a force is beyond the cap.
    """
    import numpy as np

    energy = float(energy)
    forces = np.array(forces, dtype=float)
    if forces.shape != (len(atoms), 3):
        raise ValueError(f"forces of shape {forces.shape} for {len(atoms)} atoms.")
    sizes = np.linalg.norm(forces, axis=1)
    tensor = None if stress is None else _tensor(stress)
    for name, values in (
        ("energy", energy),
        ("forces", sizes),
        ("stress", 0.0 if tensor is None else tensor),
    ):
        if not np.isfinite(values).all():
            raise ValueError(f"the {name} is not finite.")
    worst = int(sizes.argmax()) if len(sizes) else 0
    if force_cap is not None and len(sizes) and sizes[worst] > force_cap:
        raise ValueError(
            f"the force on atom {worst} ({atoms.symbols[worst]}) is {sizes[worst]:.4g} eV/Å; "
            f"force_cap is {force_cap:g}."
        )
    frame = atoms.copy()
    for name in REFERENCE:  # labels of another method must not stay beside new ones
        frame.info.pop(name, None)
        frame.arrays.pop(name, None)
    frame.info.pop("REF_message", None)
    frame.info["REF_energy"] = energy
    if tensor is not None:
        frame.info["REF_stress"] = tensor.ravel()
    frame.info["REF_status"] = "converged"
    frame.set_array("REF_forces", forces)
    return frame


def isolated_atom(symbol: str, box: float | None = None) -> Atoms:
    """Return one atom alone, with the unpaired electrons of its ground state, to be labelled as any frame.

    Parameters
    ----------
    symbol
        Chemical symbol.
    box
        Edge in Å of a periodic cube around it, for programs that need a cell.

    Notes
    -----
    The number of unpaired electrons is the sum of the initial magnetic moments; the values are
    ASE's ``ground_state_magnetic_moments``. ``config_type`` is ``IsolatedAtom``, which is how MACE
    finds the energies of the elements.
    """
    from ase import Atoms
    from ase.data import atomic_numbers, ground_state_magnetic_moments

    moment = float(ground_state_magnetic_moments[atomic_numbers[symbol]])
    atom = Atoms(symbol, magmoms=[moment], info={"config_type": "IsolatedAtom", "name": symbol})
    if box is not None:
        atom.set_cell([box, box, box])
        atom.center()
        atom.pbc = True
    return atom


def _tensor(stress: ArrayLike) -> np.ndarray:
    import numpy as np

    values = np.array(stress, dtype=float)
    if values.shape == (6,):
        xx, yy, zz, yz, xz, xy = values
        values = np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]])
    if values.size != 9:
        raise ValueError(f"a stress of shape {values.shape}.")
    return values.reshape(3, 3)
