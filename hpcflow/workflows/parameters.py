"""What the parameters of the built-in workflows may be, beyond their plain types.

What a type can say is said by one, and is checked with the line of hpcflow.yaml. What depends on two keys, or on
files, is checked by functions that a workflow calls before its first step: a mistake must not cost a calculation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, fields
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

import hpcflow as hf
from hpcflow.errors import UserError, nearest
from hpcflow.sources import base_directory

Count = Annotated[int, Meta(ge=1)]
Number = Annotated[int, Meta(ge=0)]
Positive = Annotated[float, Meta(gt=0)]
NotNegative = Annotated[float, Meta(ge=0)]
Fraction = Annotated[float, Meta(ge=0, le=1)]
Part = Annotated[float, Meta(gt=0, lt=1)]
"""Of something that must have another part, too."""
SomeOrNone = Annotated[float, Meta(ge=0, lt=1)]
"""A part that may be missing."""
Ladder = Annotated[list[Positive], Meta(min_length=1)]
Files = Annotated[list[str], Meta(min_length=1)]
Device = Literal["auto", "cpu", "cuda"]
Dtype = Literal["auto", "float32", "float64"]


def mistake(key: str, message: str) -> UserError:
    """Return the error that says what is wrong with a parameter of hpcflow.yaml."""
    return UserError(f"hpcflow.yaml: key parameters.{key}: {message}")


def check_keys(name: str, given: Mapping[str, Any], known: Sequence[str]) -> None:
    """Refuse a key of a parameter that nobody reads."""
    for key in given:
        if key not in known:
            raise mistake(name, f"unknown key {key!r}.{nearest(key, known)}")


def check_bias(bias: Mapping[str, Any]) -> None:
    """Refuse metadynamics that no walker could begin with."""
    from hpcflow.tasks.metadynamics import Metadynamics

    check_keys("bias", bias, [field.name for field in fields(Metadynamics)])
    if not bias:
        return
    missing = [field.name for field in fields(Metadynamics) if field.default is MISSING and field.name not in bias]
    if missing:
        raise mistake("bias", f"the key {missing[0]!r} is missing")
    try:
        msgspec.convert(bias, Metadynamics)
    except msgspec.ValidationError as error:
        raise mistake("bias", str(error)) from None


def check_parts(valid: float, test: float) -> None:
    """Refuse a division that leaves nothing to train on."""
    if valid + test >= 1:
        raise mistake(
            "valid", f"{valid:g}, and test: {test:g}, leave nothing to train on; expected less than 1 together"
        )


def check_levels(lo: float, hi: float) -> None:
    """Refuse trust levels in the wrong order."""
    if lo > hi:
        raise mistake("lo", f"{lo:g} is above hi: {hi:g}; between lo and hi are the frames that are worth a label")


def check_files(key: str, names: Iterable[str]) -> None:
    """Refuse files that are not there."""
    for name in names:
        path = base_directory() / name
        if not path.is_file():
            near = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
            what = "this is no file" if path.exists() else f"no such file.{nearest(path.name, near)}"
            raise mistake(key, f"{path}: {what}")


def check_options(key: str, options: Mapping[str, Any]) -> None:
    """Refuse options that mace_run_train does not have."""
    from hpcflow.tasks.training_options import check_options as check

    try:
        check(options)
    except UserError as error:
        raise mistake(key, str(error)) from None


def check_labelled(structures: str) -> None:
    """Refuse frames that nothing can be trained on, named by the first of them."""
    from hpcflow.structures.index import frames
    from hpcflow.structures.marks import is_labelled

    for file in hf.files(structures):
        for number, (_, frame) in enumerate(frames(file.path, check=False)):
            place = f"{file.path}: frame {number}"
            try:
                labelled = is_labelled(frame)
            except ValueError as error:  # a quote that is not closed
                raise mistake("structures", f"{place}: {error}") from None
            if not labelled:
                raise mistake(
                    "structures",
                    f"{place} has no label: expected REF_energy (eV) and REF_forces (eV/Å). "
                    "Labels are made with: hpcflow init label",
                )
