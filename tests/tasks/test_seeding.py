"""What a campaign starts from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from ase import Atoms
from ase.build import bulk, molecule

from hpcflow.tasks.frames import is_isolated, parent, read_frames, write_frames
from hpcflow.tasks.seeding import advance_walkers, place_walkers, prepare
from hpcflow.tasks.splitting import divide


def started(*frames: Atoms) -> str:
    write_frames("start.xyz", list(frames))
    return "start.xyz"


def labelled(symbols: str = "H2O") -> Atoms:
    frame = molecule(symbols)
    frame.info["REF_energy"] = -1.0
    frame.arrays["REF_forces"] = np.zeros((len(frame), 3))
    return frame


def test_each_frame_is_labelled_with_its_copies(workdir: Path) -> None:
    output = prepare(started(molecule("H2O"), molecule("CH4")), copies=3, rattle=0.1, isolated=False)
    assert [len(frame) for frame in output.frames] == [3] * 4 + [5] * 4
    moved = [abs(frame.positions - molecule("H2O").positions).max() for frame in output.frames[:4]]
    assert moved[0] < 1e-7
    assert min(moved[1:]) > 0.01


def test_copies_belong_to_the_family_of_their_frame(workdir: Path) -> None:
    output = prepare(started(molecule("H2O"), molecule("CH4")), copies=2, isolated=False)
    assert len({parent(frame) for frame in output.frames[:3]}) == 1
    assert len(set(divide({parent(f) for f in output.frames}, set(), 0, 0, 0))) == 2


def test_a_name_of_a_family_is_kept(workdir: Path) -> None:
    frame = molecule("H2O")
    frame.info["parent"] = "water"
    assert {parent(f) for f in prepare(started(frame), copies=1, isolated=False).frames} == {"water"}


def test_there_is_an_isolated_atom_of_each_element(workdir: Path) -> None:
    output = prepare(started(molecule("CH3OH")), copies=0)
    atoms = read_frames("atoms.xyz")
    assert output.result == {"labelled": 0, "unlabelled": 1, "atoms": 3}
    assert all(map(is_isolated, atoms))
    assert sorted(str(f.symbols) for f in atoms) == ["C", "H", "O"]
    assert not any(f.pbc.any() for f in atoms)


def test_isolated_atoms_of_periodic_frames_are_in_a_box(workdir: Path) -> None:
    prepare(started(bulk("Cu")), copies=0)
    (atom,) = read_frames("atoms.xyz")
    assert atom.pbc.all()
    assert atom.cell.lengths().min() >= 10


def test_an_isolated_atom_that_is_there_is_not_made_again(workdir: Path) -> None:
    own = Atoms("O", info={"config_type": "IsolatedAtom", "REF_energy": -5.0})
    prepare(started(molecule("H2O"), own), copies=0)
    assert [str(f.symbols) for f in read_frames("atoms.xyz")] == ["H"]


def test_an_isolated_atom_without_a_label_is_taken_as_it_is(workdir: Path) -> None:
    own = Atoms("O", magmoms=[2.0], info={"config_type": "IsolatedAtom", "name": "mine"})
    output = prepare(started(molecule("H2O"), own), copies=3, isolated=False)
    assert output.result == {"labelled": 0, "unlabelled": 4, "atoms": 1}
    (atom,) = read_frames("atoms.xyz")
    assert atom.info["name"] == "mine"
    assert atom.get_initial_magnetic_moments().sum() == 2.0


def test_labelled_frames_are_kept_as_they_are(workdir: Path) -> None:
    output = prepare(started(labelled(), molecule("CH4")), copies=2, isolated=False)
    assert output.result == {"labelled": 1, "unlabelled": 3, "atoms": 0}
    (kept,) = read_frames("labelled.xyz")
    assert kept.info["REF_energy"] == -1.0


def test_periodic_copies_are_strained_too(workdir: Path) -> None:
    first, copy = prepare(started(bulk("Cu", cubic=True)), copies=1, strain=0.05, isolated=False).frames
    assert abs(copy.cell.array - first.cell.array).max() > 0.01
    strained = first.get_scaled_positions() @ copy.cell.array
    np.testing.assert_allclose(copy.positions, strained, atol=0.25)  # five standard deviations of the displacements


def test_the_seed_decides_the_copies(workdir: Path) -> None:
    def positions(seed: int) -> np.ndarray:
        return prepare(started(molecule("H2O")), copies=1, isolated=False, seed=seed).frames[1].positions

    np.testing.assert_array_equal(positions(1), positions(1))
    assert abs(positions(1) - positions(2)).max() > 1e-3


def test_walkers_climb_the_ladders(workdir: Path) -> None:
    start = started(molecule("H2O"), molecule("CH4"), Atoms("H", info={"config_type": "IsolatedAtom"}))
    walkers = place_walkers(start, number=6, temperatures=[300.0, 600.0], pressures=[1.0, 1000.0])
    assert [w.info["walker"] for w in walkers] == list(range(6))
    assert [w.info["temperature"] for w in walkers] == [300.0, 600.0] * 3
    assert [w.info["pressure"] for w in walkers] == [1.0, 1.0, 1000.0, 1000.0, 1.0, 1.0]
    assert [len(w) for w in walkers] == [3, 5] * 3


def test_walkers_without_pressures_have_none(workdir: Path) -> None:
    assert "pressure" not in place_walkers(started(molecule("H2O")), number=1)[0].info


def test_walkers_leave_old_results_behind(workdir: Path) -> None:
    (walker,) = place_walkers(started(labelled()), number=1)
    assert "REF_energy" not in walker.info
    assert set(walker.arrays) == {"numbers", "positions"}


@pytest.fixture
def explored(workdir: Path) -> list[Atoms]:
    """Three walkers; the first two came back, moved."""
    starts = place_walkers(started(molecule("H2O")), number=3)
    write_frames("walkers.xyz", starts)
    states = []
    for walker in starts[:2]:
        state = walker.copy()
        state.positions += 1.0
        state.set_momenta(np.ones((3, 3)))
        state.info["kind"] = "state"
        sample = walker.copy()
        sample.info["kind"] = "sample"
        states += [sample, state]
    write_frames("explored.xyz", states)
    return starts


def test_walkers_go_on_from_their_states_or_start_again(explored: list[Atoms]) -> None:
    going_on, reset, lost = advance_walkers("explored.xyz", starts="walkers.xyz", reset=[1], iteration=4)
    np.testing.assert_allclose(going_on.positions, explored[0].positions + 1.0, atol=1e-8)
    assert going_on.has("momenta")
    for walker in (reset, lost):
        np.testing.assert_allclose(walker.positions, explored[0].positions, atol=1e-8)
        assert not walker.has("momenta")
    assert [w.info["walker"] for w in (going_on, reset, lost)] == [0, 1, 2]


def test_each_stretch_of_a_walk_is_a_family(explored: list[Atoms]) -> None:
    following = advance_walkers("explored.xyz", starts="walkers.xyz", reset=[], iteration=1)
    assert len({parent(w) for w in [*explored, *following]}) == 6
    assert "kind" not in following[0].info
