"""A committee of MACE models: energies, forces, stress, deviation and descriptors of many frames at once."""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Iterator, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from ase import Atoms

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Prediction:
    """What each of M models says about one frame of N atoms."""

    energies: Array
    """Energies in eV, shape (M,)."""
    forces: Array
    """Forces in eV/Å, shape (M, N, 3)."""
    stresses: Array | None
    """Stresses in eV/Å³, shape (M, 3, 3), positive under tension as in ASE; None if not asked for."""

    @property
    def energy(self) -> float:
        """Mean energy in eV."""
        return float(self.energies.mean())

    @property
    def mean_forces(self) -> Array:
        """Mean forces in eV/Å, shape (N, 3)."""
        return np.asarray(self.forces.mean(axis=0))

    @property
    def deviation(self) -> float:
        """Maximum atomic force deviation σ in eV/Å; 0 for a single model.

        σ = max_i √⟨|F_i − ⟨F_i⟩|²⟩, where ⟨⟩ is the mean over the models: the model deviation of Zhang
        et al., Phys. Rev. Materials 3, 023804 (2019), equation 5.
        """
        spread = ((self.forces - self.forces.mean(axis=0)) ** 2).sum(axis=-1).mean(axis=0)
        return float(np.sqrt(spread).max(initial=0.0)) if np.isfinite(spread).all() else float("nan")


class Committee:
    """MACE models that are evaluated together on shared neighbour lists.

    Parameters
    ----------
    paths
        Model files as MACE writes them (``NAME.model``), with the same cutoff and elements.
    device
        ``cpu``, ``cuda`` or ``auto``: the GPU if there is one.
    dtype
        ``float32``, ``float64`` or ``auto``: what the models were trained in.

    Raises
    ------
    ValueError
        If the models differ in cutoff or elements, or a frame holds an element they do not know.
    """

    def __init__(self, paths: Sequence[str | Path], device: str = "auto", dtype: str = "auto") -> None:
        import_mace()
        import torch

        if not paths:
            raise ValueError("a committee needs at least one model file")
        self.device = pick_device(device)
        # weights_only=False: MACE saves whole modules. The caller vouches for the files.
        self._models = [torch.load(path, map_location=self.device, weights_only=False) for path in paths]
        first = self._models[0]
        self.dtype = getattr(torch, dtype) if dtype != "auto" else next(first.parameters()).dtype
        self.cutoff = float(first.r_max)
        self.numbers = [int(number) for number in first.atomic_numbers]
        for path, model in zip(paths, self._models, strict=True):
            if (float(model.r_max), model.atomic_numbers.tolist()) != (self.cutoff, self.numbers):
                raise ValueError(f"{path} differs from {paths[0]} in cutoff or elements")
            model.to(self.dtype).eval()
            for parameter in model.parameters():
                parameter.requires_grad = False
        heads = [str(head).lower() for head in getattr(first, "heads", None) or ["default"]]
        self._head = heads.index("default") if "default" in heads else len(heads) - 1
        self._index = np.full(120, -1)
        self._index[self.numbers] = np.arange(len(self.numbers))

    def __len__(self) -> int:
        return len(self._models)

    def predict(self, frames: Sequence[Atoms], stress: bool = False) -> list[Prediction]:
        """Return what the models say about each frame.

        ``stress`` asks for stresses too; frames without a cell in three dimensions get NaN.
        """
        predictions = []
        for batch in self._batches(frames):
            predictions += self.evaluate(self.graph(batch), stress)
        return predictions

    def evaluate(self, graph: dict[str, Any], stress: bool = False) -> list[Prediction]:
        """Return what the models say about each frame of a graph."""
        outputs = [self._forward(model, graph, stress) for model in self._models]
        bounds = graph["ptr"].tolist()
        energies = np.array([energy for energy, _, _ in outputs])
        forces = np.array([force for _, force, _ in outputs])
        return [
            Prediction(
                energies=energies[:, i],
                forces=forces[:, bounds[i] : bounds[i + 1]],
                stresses=np.array([s[i] for _, _, s in outputs if s is not None]) if stress else None,
            )
            for i in range(len(bounds) - 1)
        ]

    def descriptors(self, frames: Sequence[Atoms]) -> Array:
        """Return one vector per frame, shape (frames, elements × features).

        For each element the invariant node features of the first model, averaged over the atoms of that
        element (zeros where there is none), so that frames of any size and composition can be compared.
        """
        import torch
        from e3nn import o3
        from mace.modules.utils import extract_invariant

        model = self._models[0]
        irreps = o3.Irreps(str(model.products[0].linear.irreps_out))
        invariant = irreps.count(o3.Irrep("0e"))
        vectors = []
        for batch in self._batches(frames):
            graph = dict(self.graph(batch))
            with torch.no_grad():
                features = model(graph, compute_force=False)["node_feats"]
            features = extract_invariant(
                features,
                num_layers=int(model.num_interactions),
                num_features=invariant,
                l_max=irreps.lmax,
            )
            values = features.cpu().numpy().astype(float)
            bounds = np.cumsum([0] + [len(frame) for frame in batch])
            for i, frame in enumerate(batch):
                own, numbers = values[bounds[i] : bounds[i + 1]], frame.numbers
                vectors.append(
                    np.concatenate(
                        [
                            own[numbers == number].mean(axis=0) if (numbers == number).any() else np.zeros(own.shape[1])
                            for number in self.numbers
                        ]
                    )
                )
        return np.array(vectors).reshape(len(frames), -1)

    def graph(self, frames: Sequence[Atoms]) -> dict[str, Any]:
        """Return the tensors MACE wants, with the neighbour lists of all frames side by side."""
        import torch
        from mace.data import get_neighborhood

        edges, shifts, unit_shifts, cells = [], [], [], []
        bounds = np.cumsum([0] + [len(frame) for frame in frames])
        for frame, offset in zip(frames, bounds[:-1], strict=True):
            edge, shift, unit_shift, cell = get_neighborhood(
                frame.positions, self.cutoff, tuple(bool(p) for p in frame.pbc), frame.cell.array.copy()
            )
            edges.append(edge + offset)
            shifts.append(shift)
            unit_shifts.append(unit_shift)
            cells.append(cell)
        species = self._index[np.concatenate([frame.numbers for frame in frames])]
        if (species < 0).any():
            unknown = {s for frame in frames for s in frame.symbols.species()} - set(self.symbols)
            raise ValueError(f"the model knows {' '.join(self.symbols)} but not {' '.join(sorted(unknown))}")
        sizes = np.diff(bounds)

        def tensor(values: Any, dtype: Any = self.dtype) -> Any:
            return torch.as_tensor(np.asarray(values), dtype=dtype, device=self.device)

        return {
            "positions": tensor(np.concatenate([frame.positions for frame in frames])),
            "node_attrs": tensor(np.eye(len(self.numbers))[species]),
            "edge_index": tensor(np.concatenate(edges, axis=1), torch.long),
            "shifts": tensor(np.concatenate(shifts)),
            "unit_shifts": tensor(np.concatenate(unit_shifts)),
            "cell": tensor(np.concatenate(cells)),
            "batch": tensor(np.repeat(np.arange(len(frames)), sizes), torch.long),
            "ptr": tensor(bounds, torch.long),
            "head": tensor(np.full(len(frames), self._head), torch.long),
        }

    @property
    def symbols(self) -> list[str]:
        """Chemical symbols of the elements the models know."""
        from ase.data import chemical_symbols

        return [chemical_symbols[number] for number in self.numbers]

    def _forward(self, model: Any, graph: dict[str, Any], stress: bool) -> tuple[Array, Array, Array | None]:
        # MACE replaces entries of what it gets when it computes stresses, and marks positions.
        own = {**graph, "positions": graph["positions"].detach().clone()}
        output = model(own, compute_force=True, compute_stress=stress)
        # Sums of single precision lose what a barostat compares; node energies are summed in double.
        energy = np.add.reduceat(_numpy(output["node_energy"]), graph["ptr"][:-1].cpu().numpy())
        return energy, _numpy(output["forces"]), _numpy(output["stress"]) if stress else None

    def _batches(self, frames: Sequence[Atoms]) -> Iterator[list[Atoms]]:
        limit = 512 if self.device == "cpu" else 4096  # atoms; more gains nothing, and costs memory
        batch: list[Atoms] = []
        atoms = 0
        for frame in frames:
            if batch and atoms + len(frame) > limit:
                yield batch
                batch, atoms = [], 0
            batch.append(frame)
            atoms += len(frame)
        if batch:
            yield batch


def _numpy(tensor: Any) -> Array:
    return np.asarray(tensor.detach().cpu().numpy(), dtype=float)


def load(paths: Sequence[str | Path], device: str = "auto", dtype: str = "auto") -> Committee:
    """Return the committee of these files, which is kept for the next task of the same process."""
    stamps = tuple((str(path), os.stat(path).st_mtime_ns, os.stat(path).st_size) for path in paths)
    return _load(stamps, device, dtype)


@lru_cache(maxsize=1)
def _load(stamps: tuple[tuple[str, int, int], ...], device: str, dtype: str) -> Committee:
    return Committee([path for path, _, _ in stamps], device, dtype)


def pick_device(device: str = "auto") -> str:
    """Return ``cuda`` where there is a usable GPU and ``auto`` was asked for, else what was asked for."""
    import torch

    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"


def import_mace() -> None:
    """Import MACE without the remarks that it makes on every import and that no user can act on."""
    warnings.filterwarnings("ignore", message=".*TorchScript type system.*", category=UserWarning)
    warnings.filterwarnings("ignore", message=".*TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD.*", category=UserWarning)
    with redirect_stdout(io.StringIO()):  # says whether cuEquivariance is there
        import mace.calculators  # noqa: F401  also sets what torch needs to load whole models
