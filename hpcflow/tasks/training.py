"""Train one member of a committee: MACE's own training program, called in this process."""

from __future__ import annotations

import contextlib
import json
import logging
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from hpcflow.errors import nearest
from hpcflow.task import task
from hpcflow.tasks.committee import import_mace, pick_device
from hpcflow.tasks.epochs import EpochLoop
from hpcflow.tasks.frames import is_isolated, read_frames
from hpcflow.tasks.interruption import Interruption, seed
from hpcflow.tasks.training_options import OWN

if TYPE_CHECKING:
    from ase import Atoms


@task(version=1, keep=["model"], checkpoint=True)
def train(
    member: Mapping[str, Any],
    *,
    train: str,
    valid: str,
    options: Mapping[str, Any] | None = None,
    refine: Mapping[str, Any] | None = None,
    device: str = "auto",
) -> dict[str, Any]:
    """Train a MACE model and keep it as ``model``.

    Stops at a checkpoint before the deadline or on SIGTERM, and goes on there in the next attempt.
    Energies of isolated atoms come from frames with ``config_type=IsolatedAtom`` in ``train``; without
    them MACE fits averages.

    Parameters
    ----------
    member
        ``member`` is its number; ``previous``, if there, the path of a model to start from.
    train, valid
        Extended XYZ files with ``REF_energy`` (eV), ``REF_forces`` (eV/Å) and, if the loss asks for
        it, ``REF_stress`` (eV/Å³).
    options
        Options of ``mace_run_train`` by their own names. ``batch_size`` is lowered to the number of
        frames, because MACE leaves out batches that are not full.
    refine
        Options in place of these for a member that starts from a previous model, such as a lower ``lr``.
    device
        ``cpu``, ``cuda`` or ``auto``.

    Returns
    -------
    dict
        ``member``, ``frames`` (those of train and valid), ``epochs``, ``best_epoch``, ``valid``
        (``energy_rmse`` in eV/atom and ``force_rmse`` in eV/Å on the valid frames), ``e0s``,
        ``history`` (at most 100 lines of epoch, loss, energy_rmse, force_rmse), ``batch_size`` and
        ``refined`` (whether it started from a previous model).

    Raises
    ------
    ValueError
        If an option is unknown or the frames cannot train a model; the message says which and why.
    """
    done = Path("trained.json")
    if done.exists() and Path("model").exists():
        return dict(json.loads(done.read_text()))
    previous = member.get("previous")
    frames, others = _read(train), _read(valid)
    e0s = isolated_energies(frames)
    settings = {**(options or {}), **((refine or {}) if previous else {})}
    count = len([frame for frame in frames if not is_isolated(frame)])
    settings["batch_size"] = min(int(settings.get("batch_size", 10)), count)
    if count == 0:
        raise ValueError(f"{train} holds no frame to train on besides isolated atoms")
    if not others:
        raise ValueError(f"{valid} holds no frame")
    elements = sorted({int(number) for frame in [*frames, *others] for number in frame.numbers})

    import_mace()
    import mace.tools
    from mace.cli import run_train

    if previous:
        _check_elements(previous, elements)
    number = seed(int(member["member"]))
    work = Path("work")
    own = {
        "name": "member",
        "seed": number,
        "train_file": train,
        "valid_file": valid,
        "work_dir": str(work),
        "device": pick_device(device),
        "E0s": e0s if set(elements) <= set(e0s) else "average",
        "plot": False,
        "pin_memory": pick_device(device) != "cpu",
        "error_table": "PerAtomRMSE",
    }
    if previous:
        own |= {"foundation_model": previous, "multiheads_finetuning": False}
    arguments = parse(own, settings)

    with Interruption() as stop, _own_log():
        loop = EpochLoop(Path("state.pt"), number, stop)
        with _replaced(mace.tools, "train", loop):
            run_train.run(arguments)
    made = [work / "member_stagetwo.model", work / "member.model"]
    path = next(path for path in made if path.exists())
    path.replace("model")
    shutil.rmtree(work)

    best = next(line for line in loop.history if line["epoch"] == loop.best_epoch)
    result = {
        "member": int(member["member"]),
        "frames": [count, len(others)],
        "epochs": len(loop.history),
        "best_epoch": loop.best_epoch,
        "valid": {"energy_rmse": best.get("rmse_e_per_atom"), "force_rmse": best.get("rmse_f")},
        "e0s": e0s,
        "batch_size": settings["batch_size"],
        "refined": previous is not None,
        "history": [
            [line["epoch"], line["loss"], line.get("rmse_e_per_atom"), line.get("rmse_f")]
            for line in loop.history[:: 1 + len(loop.history) // 100]
        ],
    }
    done.write_text(json.dumps(result))
    return result


def parse(own: Mapping[str, Any], options: Mapping[str, Any]) -> Any:
    """Return MACE's own arguments, from what the task sets and the user's options.

    Raises
    ------
    ValueError
        If an option does not exist, is the task's own, or has a value that MACE does not accept.
    """
    from mace.tools import build_default_arg_parser

    parser = build_default_arg_parser()
    takes_value = {text.lstrip("-"): action.nargs != 0 for action in parser._actions for text in action.option_strings}
    for name in options:
        if name in OWN:
            raise ValueError(f"the option {name!r} of mace_run_train is set by the training task itself")
        if name not in takes_value:
            raise ValueError(f"mace_run_train has no option {name!r}.{nearest(name, takes_value)}")
    words = []
    for name, value in {**own, **options}.items():
        if takes_value[name]:
            words.append(f"--{name}={_literal(value)}")
        elif value:
            words.append(f"--{name}")
    try:
        return parser.parse_args(words)
    except SystemExit as error:
        raise ValueError(f"mace_run_train does not accept {' '.join(words)}") from error


def _literal(value: Any) -> str:
    """Return a value as MACE reads it: lists and dicts as Python writes them, atomic numbers as numbers."""
    if isinstance(value, Mapping):
        return repr({int(key) if str(key).isdigit() else key: item for key, item in value.items()})
    return str(value)


def isolated_energies(frames: Sequence[Atoms]) -> dict[int, float]:
    """Return the energy (eV) of each element of which there is an isolated atom among the frames."""
    return {int(frame.numbers[0]): float(frame.info["REF_energy"]) for frame in frames if is_isolated(frame)}


def _read(path: str) -> list[Atoms]:
    frames = read_frames(path)
    for number, frame in enumerate(frames):
        energy, forces = frame.info.get("REF_energy"), frame.arrays.get("REF_forces")
        if energy is None or (forces is None and not is_isolated(frame)):
            raise ValueError(f"frame {number} of {path} has no REF_energy or no REF_forces")
        if not np.isfinite(energy) or (forces is not None and not np.isfinite(forces).all()):
            raise ValueError(f"frame {number} of {path} has a label that is not finite")
    return frames


def _check_elements(previous: str, elements: Sequence[int]) -> None:
    import torch
    from ase.data import chemical_symbols

    known = {int(number) for number in torch.load(previous, weights_only=False, map_location="cpu").atomic_numbers}
    missing = [chemical_symbols[number] for number in elements if number not in known]
    if missing:
        raise ValueError(f"the model to start from does not know {' '.join(missing)}: train from scratch")


@contextlib.contextmanager
def _own_log() -> Iterator[None]:
    """Take away what MACE adds to the root logger on every run, or lines come twice, then thrice."""
    logger = logging.getLogger()
    handlers, filters, level = logger.handlers[:], logger.filters[:], logger.level
    try:
        yield
    finally:
        for handler in logger.handlers:
            if handler not in handlers:
                handler.close()
        logger.handlers, logger.filters = handlers, filters
        logger.setLevel(level)


@contextlib.contextmanager
def _replaced(owner: Any, name: str, value: Any) -> Iterator[None]:
    before = getattr(owner, name)
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)
