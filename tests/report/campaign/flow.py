"""A learning campaign whose physics is made up: the arrays, frames and metrics are like those of the real one."""

import numpy as np
from ase import Atoms

import hpcflow as hf


def molecule(number, spread=0.1):
    rng = np.random.default_rng(number)
    positions = np.array([[0.0, 0.0, 0.0], [0.96, 0.0, 0.0], [-0.24, 0.93, 0.0]]) + rng.normal(0, spread, (3, 3))
    atoms = Atoms("OHH", positions=positions)
    atoms.info["REF_energy"] = float(-14.0 + 0.3 * rng.normal())
    atoms.set_array("REF_forces", rng.normal(0, 1.0, (3, 3)))
    return atoms


def label(number):
    if number % 50 == 3:
        raise ValueError("no convergence after 100 cycles\nand a second line")
    return hf.Output(frames=[molecule(number)])


def train(member):
    return {"member": member}


def compare(committee, frames=20):
    rng = np.random.default_rng(committee)
    tested = []
    for number in range(frames):
        atoms = molecule(1000 + number)
        scale = 0.2 / (1 + committee) * rng.lognormal(0.0, 0.6)
        errors = rng.normal(0, scale, (3, 3))
        atoms.set_array("predicted_forces", atoms.arrays["REF_forces"] + errors)
        atoms.info["predicted_energy"] = float(atoms.info["REF_energy"] + 0.1 * scale * rng.normal())
        atoms.info["deviation"] = float(0.7 * np.linalg.norm(errors, axis=1).max() * rng.lognormal(0.0, 0.3))
        tested.append(atoms)
    return hf.Output({"name": committee}, tested)


def errors(level, frames):
    return {
        "frames": frames,
        "energy_rmse": 0.004 * level,
        "energy_mae": 0.003 * level,
        "force_rmse": 0.12 * level,
        "force_mae": 0.08 * level,
    }


def tests(level, frames):
    kinds = {"start": errors(0.7 * level, frames // 2), "explore_300K": errors(1.3 * level, frames - frames // 2)}
    return {"name": "c", **errors(level, frames), "config_types": kinds, "spearman": 0.81, "worst": 0.4}


def histogram(i, frames):
    counts, edges = np.histogram(
        np.random.default_rng(i).lognormal(np.log(0.09 / (1 + 0.7 * i)), 0.6, frames), bins=30, range=(0.0, 0.6)
    )
    return {"edges": edges.tolist(), "counts": counts.tolist()}


def walkers(i, number):
    return [
        {
            "walker": k,
            "status": "unsafe" if k % 5 == i else "done",
            "reason": "force: 31.2 eV/Å above 30" if k % 5 == i else None,
            "steps": 1000 - 300 * (k % 5 == i),
            "temperature": 300.0 + 100 * k,
        }
        for k in range(number)
    ]


def flow(run: hf.Run, labels: int = 6, iterations: int = 2, frames: int = 20):
    run.map(label, list(range(labels)), task_class="reference", min_success=0.5).results()[0]
    level = 1.0
    for i in run.iterations(iterations):
        run.map(train, [0, 1], task_class="training").results()[0]
        run.map(compare, [0, 1][: i + 1], name="test", task_class="evaluation", frames=frames).results()[0]
        run.metrics(
            {
                "iteration": i,
                "frames": {"train": 110 * (2**i), "valid": 12, "test": frames},
                "training": [
                    {
                        "member": member,
                        "epochs": 40,
                        "best_epoch": 37,
                        "valid": {"energy_rmse": 0.0041, "force_rmse": 0.113},
                        "refined": i > 0,
                        "history": [[e, 1.0 / (e + 1), 0.01, 0.9 / (e + 2 + member)] for e in range(40)],
                    }
                    for member in range(2)
                ],
                "explore": {
                    "frames": 400,
                    "lo": 0.05,
                    "hi": 0.25,
                    "fractions": {"accurate": 0.2 + 0.12 * i, "candidate": 0.7 - 0.12 * i, "failed": 0.1},
                    "histogram": histogram(i, 400),
                    "walkers": walkers(i, 6),
                },
                "select": {
                    "selected": 42,
                    "reasons": {"accurate": 100 + 20 * i, "candidate": 40, "control": 2, "surplus": 258 - 20 * i},
                },
                "test": tests(level, frames),
                "test_before": None if i == 0 else tests(1.6 * level, frames),
                "labels": {
                    "asked": 42,
                    "labels": 41,
                    "accepted": 40,
                    "discarded": [{"walker": 3, "step": 720, "energy": 0.0456, "force": 0.789}],
                    "reset": [1],
                    "errors": errors(2 * level, 40),
                },
                "decision": {"stop": False, "reason": "43% of the frames accurate, 95% wanted"},
            }
        )
        level *= 0.55
    with run.scope("final"):
        run.map(compare, list(range(iterations + 1)), name="test", task_class="evaluation", frames=frames).results()[0]
        run.metrics(
            {
                "iteration": iterations,
                "frames": {"train": 110 * 2**iterations, "valid": 12, "test": frames},
                "test": tests(level, frames),
                "curve": [{"name": str(k), **errors(0.55**k, frames)} for k in range(iterations + 1)],
            }
        )
