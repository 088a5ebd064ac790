"""Training: what it refuses, what it keeps, and that it goes on exactly where it stopped."""

from __future__ import annotations

import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from ase import Atoms

from hpcflow.task import Unfinished
from hpcflow.tasks import epochs, training
from hpcflow.tasks.frames import read_frames, write_frames

Train = Callable[..., Any]


def weights(path: Path) -> dict[str, np.ndarray]:
    import torch

    state = torch.load(path, weights_only=False, map_location="cpu").state_dict()
    return {name: value.numpy() for name, value in state.items()}


def same_weights(one: Path, other: Path) -> bool:
    first, second = weights(one), weights(other)
    return first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)


def test_a_model_is_kept_and_nothing_is_left_to_clean_up(trained: list[tuple[Path, Any]]) -> None:
    directory, _ = trained[0]
    assert {path.name for path in directory.iterdir()} == {"model", "state.pt", "trained.json"}


def test_the_result_says_how_good_the_model_is(trained: list[tuple[Path, Any]]) -> None:
    _, result = trained[0]
    assert result["frames"] == [12, 4]
    assert result["epochs"] == 2
    assert result["valid"]["force_rmse"] == result["history"][result["best_epoch"]][3]
    assert 0 < result["valid"]["force_rmse"] < 10


def test_members_differ(models: list[str]) -> None:
    assert not same_weights(Path(models[0]), Path(models[1]))


def test_the_energies_of_isolated_atoms_are_in_the_model(
    trained: list[tuple[Path, Any]], train_files: tuple[str, str]
) -> None:
    directory, result = trained[0]
    atoms = {int(f.numbers[0]): f.info["REF_energy"] for f in read_frames(train_files[0]) if len(f) == 1}
    assert result["e0s"] == atoms
    energies = weights(directory / "model")["atomic_energies_fn.atomic_energies"]
    np.testing.assert_allclose(energies.ravel(), [atoms[1], atoms[6], atoms[8]], rtol=1e-6)


def test_a_finished_training_is_not_run_again(trained: list[tuple[Path, Any]], run_training: Train) -> None:
    directory, result = trained[0]
    before = (directory / "model").stat().st_mtime_ns
    assert run_training(directory)["valid"] == result["valid"]
    assert (directory / "model").stat().st_mtime_ns == before


def test_training_in_parts_is_training_at_once(
    run_training: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = {"max_num_epochs": 3, "ema": True, "scheduler": "ExponentialLR", "lr_scheduler_gamma": 0.8}
    run_training(tmp_path / "whole", **more)
    monkeypatch.setenv("HPCFLOW_DEADLINE", str(time.time()))
    for _ in range(2):
        with pytest.raises(Unfinished):
            run_training(tmp_path / "parts", **more)
    result = run_training(tmp_path / "parts", **more)
    assert result["epochs"] == 3
    assert same_weights(tmp_path / "whole" / "model", tmp_path / "parts" / "model")


def test_a_checkpoint_that_was_cut_short_is_no_checkpoint(run_training: Train, tmp_path: Path) -> None:
    directory = tmp_path / "cut"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HPCFLOW_DEADLINE", "0")
        with pytest.raises(Unfinished):
            run_training(directory)
    state = directory / "state.pt"
    state.write_bytes(state.read_bytes()[:-100])
    assert run_training(directory)["epochs"] == 2


def test_the_best_epoch_becomes_the_model_even_if_it_was_in_an_earlier_part(
    run_training: Train, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The second epoch runs at an absurd rate and spoils the model.
    absurd = {"scheduler": "ExponentialLR", "lr_scheduler_gamma": 30.0}
    monkeypatch.setenv("HPCFLOW_DEADLINE", "0")
    with pytest.raises(Unfinished):
        run_training(tmp_path / "spoilt", **absurd)
    monkeypatch.delenv("HPCFLOW_DEADLINE")
    result = run_training(tmp_path / "spoilt", **absurd)
    assert result["best_epoch"] == 0
    assert result["history"][1][1] > result["history"][0][1]
    run_training(tmp_path / "first", max_num_epochs=1)
    assert same_weights(tmp_path / "spoilt" / "model", tmp_path / "first" / "model")


def test_training_that_diverges_keeps_its_best_epoch(run_training: Train, tmp_path: Path) -> None:
    result = run_training(tmp_path / "nan", scheduler="ExponentialLR", lr_scheduler_gamma=1e8, max_num_epochs=5)
    assert result["epochs"] < 5
    assert np.isfinite(result["valid"]["force_rmse"])


def test_training_that_diverges_at_once_has_failed(run_training: Train, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="lower the rate"):
        run_training(tmp_path / "nan", lr=1e12)


def test_training_that_no_longer_improves_stops(run_training: Train, tmp_path: Path) -> None:
    result = run_training(tmp_path / "patient", max_num_epochs=20, lr=1e-12, patience=2)
    assert result["epochs"] < 20


def test_stage_two_makes_the_model(run_training: Train, tmp_path: Path) -> None:
    result = run_training(tmp_path / "two", max_num_epochs=3, stage_two=True, start_stage_two=2)
    assert result["best_epoch"] == 2
    assert (tmp_path / "two" / "model").exists()


def test_training_goes_on_from_a_previous_model(
    run_training: Train, trained: list[tuple[Path, Any]], tmp_path: Path
) -> None:
    directory, before = trained[0]
    result = run_training(tmp_path / "refined", previous=directory / "model", lr=1e-6, max_num_epochs=1)
    assert result["refined"]
    assert result["valid"]["force_rmse"] == pytest.approx(before["valid"]["force_rmse"], rel=1e-2)


def test_refinement_has_options_of_its_own(
    train_files: tuple[str, str], models: list[str], tiny: dict[str, Any], workdir: Path
) -> None:
    train, valid = train_files
    item = {"member": 0, "previous": models[0]}
    result = training.train(item, train=train, valid=valid, options=tiny, refine={"max_num_epochs": 1}, device="cpu")
    assert result["epochs"] == 1


def test_a_previous_model_must_know_the_elements(
    models: list[str], ethanol: list[Atoms], train_files: tuple[str, str], workdir: Path
) -> None:
    frame = ethanol[0].copy()
    frame.numbers[0] = 7
    write_frames("nitrogen.xyz", [frame])
    with pytest.raises(ValueError, match="does not know N"):
        training.train({"member": 0, "previous": models[0]}, train=str(workdir / "nitrogen.xyz"), valid=train_files[1])


def test_batches_are_no_larger_than_the_set(run_training: Train, tmp_path: Path) -> None:
    # MACE would leave out the only, incomplete batch, and train on nothing.
    result = run_training(tmp_path / "small", batch_size=100, max_num_epochs=1)
    assert result["batch_size"] == 12


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"num_chanels": 8}, "no option 'num_chanels'. Did you mean 'num_channels'"),
        ({"seed": 3}, "'seed' of mace_run_train is set by the training task"),
        ({"max_num_epochs": "many"}, "does not accept .*--max_num_epochs=many"),
    ],
)
def test_options_are_checked(run_training: Train, tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        run_training(tmp_path / "refused", **options)


@pytest.mark.parametrize("key", ["REF_energy", "REF_forces"])
def test_a_frame_without_a_label_is_named(
    key: str, ethanol: list[Atoms], train_files: tuple[str, str], workdir: Path
) -> None:
    frames = [frame.copy() for frame in ethanol[:3]]
    frames[1].info.pop(key, None)
    frames[1].arrays.pop(key, None)
    write_frames("bad.xyz", frames)
    with pytest.raises(ValueError, match=r"frame 1 of bad\.xyz has no REF_energy or no REF_forces"):
        training.train({"member": 0}, train="bad.xyz", valid=train_files[1])


def test_a_label_that_is_no_number_is_named(ethanol: list[Atoms], train_files: tuple[str, str], workdir: Path) -> None:
    frame = ethanol[0].copy()
    frame.arrays["REF_forces"][3, 1] = np.nan
    write_frames("bad.xyz", [frame])
    with pytest.raises(ValueError, match=r"frame 0 of bad\.xyz has a label that is not finite"):
        training.train({"member": 0}, train="bad.xyz", valid=train_files[1])


def test_sets_without_frames_are_refused(train_files: tuple[str, str], workdir: Path) -> None:
    write_frames("none.xyz", [])
    write_frames("atoms.xyz", [f for f in read_frames(train_files[0]) if len(f) == 1])
    with pytest.raises(ValueError, match="no frame to train on besides isolated atoms"):
        training.train({"member": 0}, train="atoms.xyz", valid=train_files[1])
    with pytest.raises(ValueError, match=r"none\.xyz holds no frame"):
        training.train({"member": 0}, train=train_files[0], valid="none.xyz")


def test_log_handlers_do_not_pile_up(trained: list[tuple[Path, Any]], run_training: Train, tmp_path: Path) -> None:
    before = logging.getLogger().handlers[:]
    run_training(tmp_path / "again", max_num_epochs=1)
    assert logging.getLogger().handlers == before


TERMINATED = """
import json, os, sys
from hpcflow.tasks import training

os.chdir(sys.argv[1])
options = {**json.loads(sys.argv[4]), "max_num_epochs": 2000}
training.train({"member": 0}, train=sys.argv[2], valid=sys.argv[3], options=options, device="cpu")
"""


@pytest.mark.slow  # a process of its own has to import MACE
def test_sigterm_leaves_a_checkpoint_and_ends_the_process(
    train_files: tuple[str, str], tiny: dict[str, Any], tmp_path: Path, run_training: Train
) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])}
    with subprocess.Popen(
        [sys.executable, "-c", TERMINATED, str(tmp_path), *train_files, json.dumps(tiny)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "Epoch 3" in line:
                break
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == -signal.SIGTERM
    assert (tmp_path / "state.pt").exists()
    result = run_training(tmp_path, max_num_epochs=1)  # nothing is left to do
    assert result["epochs"] >= 4


def test_what_is_saved_is_whole_or_not_there(run_training: Train, tmp_path: Path) -> None:
    def broken(*_: Any, **__: Any) -> None:
        raise OSError("no space left on device")

    directory = tmp_path / "full"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(epochs.os, "fsync", broken)
        with pytest.raises(OSError, match="no space"):
            run_training(directory)
    assert not (directory / "state.pt").exists()
