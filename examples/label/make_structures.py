"""Write structures.xyz: the molecules of the G2 and S22 sets, and rattled copies of them, 2,000 in all.

Run it as it is, or take it as a pattern for your own set: the workflow reads any extended XYZ file.
The same file comes out every time.
"""

from itertools import cycle, islice

from ase.collections import g2, s22
from ase.io import write

FRAMES = 2000
DISPLACEMENT = 0.05  # Å, standard deviation

originals = []
for collection, config_type in ((g2, "G2"), (s22, "S22")):
    for name in collection.names:
        atoms = collection[name]
        # The energies of single atoms are the zero of a potential; MACE finds them by this name.
        atoms.info = {"name": name, "config_type": config_type if len(atoms) > 1 else "IsolatedAtom"}
        originals.append(atoms)

frames = list(originals)
molecules = [atoms for atoms in originals if len(atoms) > 1]
for seed, atoms in enumerate(islice(cycle(molecules), FRAMES - len(originals))):
    copy = atoms.copy()
    copy.rattle(DISPLACEMENT, seed=seed)
    copy.info["parent"] = atoms.info["name"]
    frames.append(copy)

write("structures.xyz", frames, format="extxyz")
print(f"structures.xyz: {len(frames)} frames, {len(originals)} of them as they are in G2 and S22")
