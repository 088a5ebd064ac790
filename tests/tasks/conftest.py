"""A small labelled set of ethanol, and two tiny models trained on it, once for all tests."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms
from ase.build import molecule

from hpcflow.tasks.frames import write_frames
from hpcflow.tasks.reference import ase_calculator
from hpcflow.tasks.reference_labels import isolated_atom

TINY: dict[str, Any] = {
    "model": "ScaleShiftMACE",
    "r_max": 4.0,
    "num_channels": 4,
    "max_L": 0,
    "num_interactions": 1,
    "correlation": 2,
    "max_ell": 1,
    "batch_size": 4,
    "valid_batch_size": 8,
    "max_num_epochs": 2,
    "lr": 0.02,
    "default_dtype": "float32",
}


@contextlib.contextmanager
def inside(directory: Path) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(directory)
    try:
        yield
    finally:
        os.chdir(before)


@pytest.fixture(scope="session")
def tiny() -> dict[str, Any]:
    """Options of the smallest model that is still a MACE."""
    return TINY


def gfn2(frame: Atoms) -> Atoms:
    return ase_calculator(frame, "tblite.ase.TBLite", {"method": "GFN2-xTB", "verbosity": 0})


@pytest.fixture(scope="session")
def ethanol() -> list[Atoms]:
    """Sixteen distorted and labelled frames, no two of one family."""
    rng = np.random.default_rng(1)
    frames = []
    for _ in range(16):
        frame = molecule("CH3CH2OH")
        frame.positions += rng.normal(0.0, 0.05, frame.positions.shape)
        frame.info["config_type"] = "rattled"
        frames.append(gfn2(frame))
    return frames


@pytest.fixture(scope="session")
def train_files(ethanol: list[Atoms], tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """A training file with isolated atoms, and a validation file."""
    directory = tmp_path_factory.mktemp("data")
    atoms = [gfn2(isolated_atom(symbol)) for symbol in ("H", "C", "O")]
    write_frames(directory / "train.xyz", [*atoms, *ethanol[:12]])
    write_frames(directory / "valid.xyz", ethanol[12:])
    return str(directory / "train.xyz"), str(directory / "valid.xyz")


@pytest.fixture(scope="session")
def run_training(train_files: tuple[str, str]) -> Callable[..., Any]:
    """Train in a directory, as a worker would: ``run_training(directory, member=0, max_num_epochs=4, ...)``."""

    def run(directory: Path, member: int = 0, previous: Path | None = None, **options: Any) -> Any:
        from hpcflow.tasks.training import train

        directory.mkdir(exist_ok=True)
        item = {"member": member} | ({} if previous is None else {"previous": str(previous)})
        with inside(directory), contextlib.redirect_stdout(io.StringIO()):
            return train(item, train=train_files[0], valid=train_files[1], options={**TINY, **options}, device="cpu")

    return run


@pytest.fixture(scope="session")
def trained(run_training: Callable[..., Any], tmp_path_factory: pytest.TempPathFactory) -> list[tuple[Path, Any]]:
    """Two members: directory and result of each."""
    root = tmp_path_factory.mktemp("members")
    return [(root / str(member), run_training(root / str(member), member)) for member in range(2)]


@pytest.fixture(scope="session")
def models(trained: list[tuple[Path, Any]]) -> list[str]:
    """Their model files."""
    return [str(directory / "model") for directory, _ in trained]


@pytest.fixture
def workdir(tmp_path: Path) -> Iterator[Path]:
    """An empty current directory."""
    directory = tmp_path / "work"
    directory.mkdir()
    with inside(directory):
        yield directory
