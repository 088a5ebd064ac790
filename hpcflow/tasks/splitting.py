"""Divide labelled frames into training, validation and test sets that stay apart for good."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from hpcflow.task import task
from hpcflow.tasks.frames import is_isolated, parent, read_frames, write_frames

if TYPE_CHECKING:
    from ase import Atoms

SIDES = ("train", "valid", "test")


@task(version=1, keep=["train.xyz", "valid.xyz", "test.xyz"])
def split(
    new: str,
    *,
    earlier: Sequence[str] | None = None,
    valid: float = 0.1,
    test: float = 0.1,
    seed: int = 0,
) -> dict[str, Any]:
    """Put new frames beside the earlier ones into ``train.xyz``, ``valid.xyz`` and ``test.xyz``, and keep these.

    A frame goes where the hash of what it descends from (its ``parent`` tag, or itself) points. So all
    copies of one structure, and all frames of one stretch of a trajectory, land on one side, and no
    frame ever changes sides. Isolated atoms are always trained on.

    Where chance gives a set no new family, though it should have one, the family whose hash comes nearest
    goes there. If there are fewer than three families to begin with, single frames are divided.

    Parameters
    ----------
    new
        Extended XYZ file of labelled frames.
    earlier
        The three files of the split before, in the order train, valid, test.
    valid, test
        Fractions of the families.
    seed
        Another seed is another division.

    Returns
    -------
    dict
        For each set the number of frames per ``config_type``, and their number as ``train``, ``valid``, ``test``.
    """
    sets: dict[str, list[Atoms]] = {side: [] for side in SIDES}
    known: dict[str, str] = {}
    for side, path in zip(SIDES, earlier or (), strict=False):
        sets[side] = read_frames(path)
        known |= {parent(frame): side for frame in sets[side] if not is_isolated(frame)}
    frames = read_frames(new)
    families = [parent(frame) for frame in frames]
    fresh = {f for f, frame in zip(families, frames, strict=True) if not is_isolated(frame)} - set(known)
    if not known and len(fresh) < len(SIDES):
        families = [f"{family} {number}" for number, family in enumerate(families)]
        fresh = {f for f, frame in zip(families, frames, strict=True) if not is_isolated(frame)}
    sides = known | divide(fresh, set(known.values()), valid, test, seed)
    for family, frame in zip(families, frames, strict=True):
        sets["train" if is_isolated(frame) else sides[family]].append(frame)
    for side in SIDES:
        write_frames(f"{side}.xyz", sets[side])
    return {
        **{side: len(sets[side]) for side in SIDES},
        "config_types": {
            side: dict(Counter(str(frame.info.get("config_type", "default")) for frame in sets[side])) for side in SIDES
        },
    }


def divide(families: set[str], filled: set[str], valid: float, test: float, seed: int) -> dict[str, str]:
    """Return the side of each family. ``filled`` names the sets that have frames already."""
    place = {family: _fraction(family, seed) for family in families}
    sides = {}
    for family, where in place.items():
        sides[family] = "test" if where < test else "valid" if where < test + valid else "train"
    centres = {"train": 1.0, "valid": test + valid / 2, "test": 0.0}
    for side, fraction in (("train", 1.0 - test - valid), ("valid", valid), ("test", test)):
        due = fraction * len(families) >= 0.5 or (fraction > 0 and side not in filled)
        count = Counter(sides.values())
        spare = [family for family in families if count[sides[family]] > 1]
        if due and count[side] == 0 and spare:
            sides[min(spare, key=lambda family: (abs(place[family] - centres[side]), family))] = side
    return sides


def _fraction(family: str, seed: int) -> float:
    digest = hashlib.blake2b(f"{seed}:{family}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64
