"""Write start.xyz: ethanol in its two conformers, each five times with small random displacements, without labels.

Run it as it is, or put structures of your own into start.xyz. The same file comes out every time.
"""

from ase.build import molecule
from ase.io import write

FRAMES = 10
DISPLACEMENT = 0.02  # Å, standard deviation

trans = molecule("CH3CH2OH")
gauche = trans.copy()
gauche.set_dihedral(0, 1, 2, 3, 60, indices=[3])  # turns the hydrogen of the OH group

frames = []
for seed in range(FRAMES):
    name, atoms = [("trans", trans), ("gauche", gauche)][seed % 2]
    copy = atoms.copy()
    copy.rattle(DISPLACEMENT, seed=seed)
    copy.info = {"name": f"ethanol-{name}-{seed}", "config_type": "start"}
    frames.append(copy)

write("start.xyz", frames, format="extxyz")
print(f"start.xyz: {len(frames)} frames of ethanol")
