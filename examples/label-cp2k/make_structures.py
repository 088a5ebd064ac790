"""Write structures.xyz: ten pairs of water molecules at different distances, in a box."""

import numpy as np
from ase.build import molecule
from ase.io import write

random = np.random.default_rng(0)
frames = []
for number in range(10):
    first, second = molecule("H2O"), molecule("H2O")
    second.rotate(random.uniform(0, 360), "y")
    second.translate([0.0, 0.0, 2.7 + 0.1 * number])
    pair = first + second
    pair.rattle(0.03, seed=number)
    pair.set_cell([9.0, 9.0, 9.0])
    pair.center()
    pair.pbc = True
    pair.info["name"] = f"pair-{number}"
    frames.append(pair)
write("structures.xyz", frames, format="extxyz")
