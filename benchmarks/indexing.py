"""What it costs to take in a large file of frames, against only reading it."""

from __future__ import annotations

import tempfile
from hashlib import blake2b
from pathlib import Path

from benchmarks.ratios import Row, best
from hpcflow.database.inputs import Inputs, read_index, write_inputs

FRAMES = 100_000
ATOMS = 12


def measure() -> list[Row]:
    """Return the time for the index and copy that a submission makes."""
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        path = root / "frames.xyz"
        with path.open("w") as stream:
            for number in range(FRAMES):
                stream.write(frame(number))
        target = root / "array"
        target.mkdir()

        def index() -> None:
            _, count = write_inputs(target, Inputs(frame_files=[path]), root)
            if count != FRAMES:
                raise RuntimeError(f"{count} frames were found")

        def read() -> None:
            with path.open("rb") as stream:
                while stream.read(1 << 20):
                    pass

        def digest() -> None:
            for offset, length, known in read_index(target):
                if blake2b(content[offset : offset + length], digest_size=16).digest() != known:
                    raise RuntimeError("a digest is wrong")

        index()
        content = path.read_bytes()
        indexing, reading, digesting = best([index, read, digest], 3)
        size = path.stat().st_size / 1e6
    what = f"index and copy {FRAMES:,} frames ({size:.0f} MB)"
    return [
        Row(what, f"{indexing:.2f} s", f"reading the bytes: {reading:.3f} s", indexing / reading),
        Row(what, f"{indexing:.2f} s", f"a digest of each frame: {digesting:.2f} s", indexing / digesting),
    ]


def frame(number: int) -> str:
    """Return one frame, each a little different."""
    atoms = "".join(f"C {k * 1.4:.8f} {number * 1e-5:.8f} {k * 0.1:.8f}\n" for k in range(ATOMS))
    return f'{ATOMS}\nProperties=species:S:1:pos:R:3 config_type=chain pbc="F F F"\n{atoms}'
