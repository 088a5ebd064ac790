"""Training, validation and test sets: families stay together, and nothing ever changes sides."""

from __future__ import annotations

from pathlib import Path

from ase import Atoms
from hypothesis import given
from hypothesis import strategies as st

from hpcflow.tasks.frames import identity, parent, read_frames, write_frames
from hpcflow.tasks.splitting import SIDES, divide, split


def frame(family: str | None = None, x: float = 0.0) -> Atoms:
    atoms = Atoms("HO", positions=[[x, 0, 0], [0, 0, 1]])
    atoms.info["config_type"] = "test"
    if family is not None:
        atoms.info["parent"] = family
    return atoms


def atom() -> Atoms:
    return Atoms("H", info={"config_type": "IsolatedAtom"})


def sets() -> dict[str, list[Atoms]]:
    return {side: read_frames(f"{side}.xyz") for side in SIDES}


def sides_of(found: dict[str, list[Atoms]]) -> dict[str, set[str]]:
    where: dict[str, set[str]] = {}
    for side, frames in found.items():
        for one in frames:
            where.setdefault(parent(one), set()).add(side)
    return where


def divided(new: list[Atoms], earlier: bool = False, **options: float) -> dict[str, int]:
    write_frames("new.xyz", new)
    if earlier:
        for side in SIDES:
            Path(f"{side}.xyz").rename(f"old-{side}.xyz")
    return split("new.xyz", earlier=[f"old-{side}.xyz" for side in SIDES] if earlier else None, **options)


def test_every_frame_is_in_one_set(workdir: Path) -> None:
    frames = [frame(f"f{k // 3}", x=k) for k in range(90)]
    result = divided(frames, valid=0.2, test=0.2)
    found = sets()
    assert [result[side] for side in SIDES] == [len(found[side]) for side in SIDES]
    assert sorted(identity(f) for side in SIDES for f in found[side]) == sorted(map(identity, frames))
    assert all(result[side] for side in SIDES)


def test_a_family_stays_on_one_side(workdir: Path) -> None:
    divided([frame(f"f{k % 10}", x=k) for k in range(60)], valid=0.3, test=0.3)
    assert all(len(sides) == 1 for sides in sides_of(sets()).values())


def test_nothing_changes_sides_when_more_comes(workdir: Path) -> None:
    divided([frame(f"f{k}", x=k) for k in range(20)], valid=0.2, test=0.2)
    before = sides_of(sets())
    divided([frame(f"f{k}", x=100 + k) for k in range(10, 60)], earlier=True, valid=0.2, test=0.2)
    after = sides_of(sets())
    assert len(after) == 60
    assert all(after[family] == sides for family, sides in before.items())


def test_frames_without_a_parent_are_families_of_their_own(workdir: Path) -> None:
    result = divided([frame(x=k) for k in range(400)], valid=0.2, test=0.1)
    assert 60 <= result["valid"] <= 100
    assert 25 <= result["test"] <= 55


def test_isolated_atoms_are_trained_on(workdir: Path) -> None:
    divided([atom(), *(frame(f"f{k}") for k in range(4))], test=0.9, valid=0.05)
    assert any(len(f) == 1 for f in sets()["train"])


def test_one_family_alone_is_divided_by_frames(workdir: Path) -> None:
    divided([frame("only", x=k) for k in range(12)], valid=0.2, test=0.2)
    assert all(sets().values())


def test_a_fraction_of_zero_leaves_a_set_empty(workdir: Path) -> None:
    assert divided([frame(f"f{k}") for k in range(30)], valid=0.2, test=0.0)["test"] == 0


def test_the_result_counts_kinds_of_frames(workdir: Path) -> None:
    result = divided([frame(f"f{k}") for k in range(10)])
    assert sum(kinds.get("test", 0) for kinds in result["config_types"].values()) == 10


families = st.sets(st.text(min_size=1, max_size=6), min_size=1, max_size=40)


@given(families, st.integers(0, 5))
def test_another_order_is_no_other_division(names: set[str], seed: int) -> None:
    backwards = set(sorted(names, reverse=True))  # noqa: C414  a set made in another order iterates differently
    assert divide(names, set(), 0.1, 0.2, seed) == divide(backwards, set(), 0.1, 0.2, seed)


@given(families, st.integers(0, 5))
def test_families_enough_fill_every_set(names: set[str], seed: int) -> None:
    sides = divide(names, set(), 0.1, 0.1, seed)
    assert set(sides) == names
    assert len(set(sides.values())) == min(3, len(names))


def test_the_seed_decides_the_division() -> None:
    names = {f"f{k}" for k in range(40)}
    assert divide(names, set(), 0.2, 0.2, 0) != divide(names, set(), 0.2, 0.2, 1)


def test_identity_survives_writing_and_reading(workdir: Path) -> None:
    one = frame(x=0.123456789)
    write_frames("one.xyz", [one])
    assert identity(read_frames("one.xyz")[0]) == identity(one)


def test_identity_sees_elements_positions_and_cell() -> None:
    one = frame()
    others = [frame(x=1e-5), one.copy(), one.copy(), one.copy()]
    others[1].numbers[0] = 2
    others[2].set_cell([9, 9, 9])
    others[3].pbc = True
    assert len({identity(one), *map(identity, others)}) == 5
