"""``workflow: label``: reference calculations for a set of structures, and nothing else."""

from __future__ import annotations

from typing import Any

import hpcflow as hf
from hpcflow.workflows.parameters import Positive


def label(
    run: hf.Run,
    structures: hf.Structures,
    calculator: str = "tblite.ase.TBLite",
    arguments: dict[str, Any] = {},  # noqa: B006 read only; msgspec copies it
    stress: bool | None = None,
    force_cap: Positive | None = None,
    task_class: str = "reference",
) -> None:
    """Label structures with energies (eV), forces (eV/Å) and stress (eV/Å³) from a reference calculation.

    Parameters
    ----------
    structures
        Extended XYZ file or files.
    calculator
        Dotted name of an ASE calculator, or ``module:function`` or ``file.py:function`` of a function that labels one
        frame, such as ``hpcflow.tasks.reference_cp2k:cp2k``, and takes ``stress`` and ``force_cap`` where they are set.
    arguments
        Its keyword arguments. A text that names a file of the campaign stands for that file.
    stress
        Whether to compute stress; by default where the structure is periodic.
    force_cap
        Largest force (eV/Å) that counts as a result.
    task_class
        How the site runs it.
    """
    from hpcflow.workflows.calculators import labeller

    function, parameters = labeller(run, calculator, arguments, stress, force_cap)
    run.map(function, hf.frames(structures), name="label", task_class=task_class, parameters=parameters)
