"""``workflow: train``: a committee of MACE models from labelled structures, and its errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hpcflow as hf
from hpcflow.workflows.parameters import (
    Count,
    Device,
    Part,
    SomeOrNone,
    check_files,
    check_labelled,
    check_options,
    check_parts,
)


def train(
    run: hf.Run,
    structures: hf.Structures,
    members: Count = 4,
    valid: Part = 0.1,
    test: SomeOrNone = 0.1,
    mace: dict[str, Any] = {},  # noqa: B006 read only; msgspec copies it
    foundation: str | None = None,
    stress: bool = False,
    device: Device = "auto",
) -> None:
    """Divide labelled structures into three sets, train on one of them and test on another.

    Parameters
    ----------
    structures
        Extended XYZ file or files with REF_energy (eV), REF_forces (eV/Å) and, if the loss uses it, REF_stress (eV/Å³).
    members
        Models in the committee, which differ in their seed.
    valid, test
        Fractions of the validation and test sets. Frames with the same parent stay together.
    mace
        Options of mace_run_train by their own names.
    foundation
        Model file to start from.
    stress
        Test stresses, too.
    device
        auto, cpu or cuda.
    """
    from hpcflow.tasks import evaluation, splitting, training

    check_parts(valid, test)
    check_files("foundation", [foundation] if foundation else [])
    check_options("mace", mace)
    check_labelled(structures)
    sets = run.call(splitting.split, hf.frames(structures), name="split", valid=valid, test=test, seed=run.seed)
    previous = {"previous": Path(foundation)} if foundation else {}
    trained = run.map(
        training.train,
        [{"member": member, **previous} for member in range(members)],
        name="train",
        task_class="training",
        train=sets.file("train.xyz"),
        valid=sets.file("valid.xyz"),
        options=mace,
        device=device,
    )
    models = trained.files("model")
    tested = run.map(
        evaluation.compare,
        [{"name": "all", "models": models}],
        name="test",
        task_class="evaluation",
        frames=sets.file("test.xyz"),
        stress=stress,
        device=device,
    )
    run.metrics(
        {
            "iteration": 0,
            "frames": {name: sets.result()[name] for name in splitting.SIDES},
            "training": list(trained.results()),
            "models": [str(model.path.relative_to(run.campaign)) for model in models],
        }
    )
    run.metrics({"test": tested.results()[0]})
