"""What a campaign starts from: frames to label first, and walkers to explore with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hpcflow.task import Output, task
from hpcflow.tasks.frames import is_isolated, is_labelled, parent, read_frames, write_frames
from hpcflow.tasks.reference_labels import isolated_atom

if TYPE_CHECKING:
    from ase import Atoms

STRUCTURE = ("numbers", "positions", "initial_charges", "initial_magmoms")
ISOLATED_BOX = 12.0
"""Edge in Å of the cube around an isolated atom where the start frames are periodic."""


@task(version=2, keep=["labelled.xyz", "atoms.xyz"])
def prepare(
    start: str,
    *,
    copies: int = 10,
    rattle: float = 0.05,
    strain: float = 0.02,
    isolated: bool = True,
    seed: int = 0,
) -> Output:
    """Return the frames that need labels before the first training.

    Kept are ``labelled.xyz``, those that need none, and ``atoms.xyz``, isolated atoms that need one.

    Parameters
    ----------
    start
        The start frames. Those with ``REF_energy`` and ``REF_forces`` are taken as they are.
    copies
        Distorted copies of each unlabelled frame, besides the frame itself.
    rattle
        Standard deviation of the displacements of a copy, in Å.
    strain
        Standard deviation of the strain of a copy of a frame that is periodic in three directions.
    isolated
        Add an isolated atom of each element that has none: its energy becomes the element's E0.
    seed
        Of the random numbers.
    """
    from ase.data import chemical_symbols

    frames = read_frames(start)
    labelled = [frame for frame in frames if is_labelled(frame)]
    rng = np.random.default_rng(seed)
    wanted = []
    atoms = [without_results(frame) for frame in frames if is_isolated(frame) and not is_labelled(frame)]
    for frame in (frame for frame in frames if not is_labelled(frame) and not is_isolated(frame)):
        origin = parent(frame)
        for copy in [frame, *(distorted(frame, rattle, strain, rng) for _ in range(copies))]:
            bare = without_results(copy)
            bare.info.setdefault("config_type", "start")
            bare.info["parent"] = origin
            wanted.append(bare)
    known = {int(frame.numbers[0]) for frame in frames if is_isolated(frame)}
    elements = sorted({int(number) for frame in frames for number in frame.numbers} - known)
    if isolated:
        box = ISOLATED_BOX if frames and frames[0].pbc.all() else None
        atoms += [isolated_atom(chemical_symbols[number], box) for number in elements]
    write_frames("labelled.xyz", labelled)
    write_frames("atoms.xyz", atoms)
    return Output({"labelled": len(labelled), "unlabelled": len(wanted), "atoms": len(atoms)}, wanted)


@task(version=1)
def place_walkers(
    start: str,
    *,
    number: int = 8,
    temperatures: Sequence[float] = (300.0,),
    pressures: Sequence[float] | None = None,
) -> list[Atoms]:
    """Return one frame per walker, with its ``walker`` number and conditions in ``info``.

    Walker k starts from frame k (counted round), at temperature k of the ladder (counted round) and, once
    the ladder of temperatures is through, at the next pressure: neighbours differ in temperature first.

    Parameters
    ----------
    start
        The start frames; isolated atoms are no place to start from.
    number
        How many walkers.
    temperatures, pressures
        The ladders, in K and bar. Without pressures the cell keeps its size.
    """
    frames = [frame for frame in read_frames(start) if not is_isolated(frame)]
    if not frames:
        raise ValueError("there are only isolated atoms to start from: a walker needs a structure")
    walkers = []
    for k in range(number):
        walker = without_results(frames[k % len(frames)])
        walker.info = {"walker": k, "temperature": float(temperatures[k % len(temperatures)])}
        if pressures:
            walker.info["pressure"] = float(pressures[(k // len(temperatures)) % len(pressures)])
        walkers.append(_tagged(walker, iteration=0))
    return walkers


@task(version=1)
def advance_walkers(explored: str, *, starts: str, reset: Sequence[int], iteration: int) -> list[Atoms]:
    """Return the walkers of the next iteration: each from its last safe state, or back at its start.

    Parameters
    ----------
    explored
        What `hpcflow.tasks.sampling.explore` returned. A walker that is not in it starts again.
    starts
        The walkers as they were placed.
    reset
        Numbers of the walkers that go back to their start.
    iteration
        The number of the next iteration.
    """
    states = {int(frame.info["walker"]): frame for frame in read_frames(explored) if frame.info["kind"] == "state"}
    walkers = []
    for origin in read_frames(starts):
        number = int(origin.info["walker"])
        walker = origin if number in reset else states.get(number, origin)
        walker.info = dict(origin.info)
        walkers.append(_tagged(walker, iteration))
    return walkers


def distorted(frame: Atoms, rattle: float, strain: float, rng: np.random.Generator) -> Atoms:
    """Return a copy with random displacements (Å) and, if it is periodic everywhere, a random strain."""
    copy = frame.copy()
    if frame.pbc.all() and strain > 0:
        tensor = rng.normal(0.0, strain, (3, 3))
        copy.set_cell(frame.cell.array @ (np.eye(3) + (tensor + tensor.T) / 2), scale_atoms=True)
    copy.positions += rng.normal(0.0, rattle, copy.positions.shape)
    return copy


def without_results(frame: Atoms) -> Atoms:
    """Return elements, positions, cell, constraints and tags, without anything a calculation left behind."""
    copy = frame.copy()
    copy.calc = None
    copy.arrays = {name: values for name, values in copy.arrays.items() if name in STRUCTURE}
    copy.info = {key: value for key, value in copy.info.items() if not key.startswith(("REF_", "predicted_"))}
    return copy


def _tagged(walker: Atoms, iteration: int) -> Atoms:
    # All frames of one stretch of a trajectory resemble each other: they stay on one side of the split.
    walker.info["parent"] = f"walker {walker.info['walker']} in iteration {iteration}"
    return walker
