"""``workflow: learning``: from a few structures and a reference method to a tested committee of MACE models.

It uses nothing but the public workflow API: copy it into a campaign as ``flow.py`` and change what you like.
"""

from __future__ import annotations

from dataclasses import fields
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hpcflow as hf
from hpcflow.errors import UserError
from hpcflow.workflows.parameters import (
    Count,
    Device,
    Dtype,
    Fraction,
    Ladder,
    NotNegative,
    Number,
    Part,
    Positive,
    SomeOrNone,
    check_bias,
    check_files,
    check_keys,
    check_levels,
    check_options,
    check_parts,
    mistake,
)

if TYPE_CHECKING:
    from hpcflow.handles import Call, Files, Frames, Handle


def learning(
    run: hf.Run,
    start: hf.Structures,
    calculator: str = "tblite.ase.TBLite",
    arguments: dict[str, Any] = {},  # noqa: B006 read only; msgspec copies it
    iterations: Number = 5,
    members: int = 4,
    foundation: str | None = None,
    copies: Number = 10,
    rattle: NotNegative = 0.05,
    strain: NotNegative = 0.02,
    isolated_atoms: bool = True,
    valid: Part = 0.1,
    test: SomeOrNone = 0.1,
    mace: dict[str, Any] = {},  # noqa: B006
    refine: dict[str, Any] = {"lr": 0.001},  # noqa: B006
    scratch_every: Number = 3,
    walkers: Count = 8,
    temperatures: Ladder = [300.0],  # noqa: B006
    pressures: list[float] = [],  # noqa: B006
    steps: Count = 1000,
    every: Count = 20,
    timestep: Positive = 0.5,
    friction: NotNegative = 0.01,
    guards: dict[str, Positive] = {},  # noqa: B006
    bias: dict[str, Any] = {},  # noqa: B006
    lo: NotNegative = 0.05,
    hi: Positive = 0.25,
    lo_quantile: Fraction | None = None,
    max_new: Number = 200,
    min_new: Number = 10,
    control: NotNegative = 0.05,
    stress: bool | None = None,
    force_cap: Positive | None = 50.0,
    min_labelled: Fraction = 0.95,
    judge: dict[str, NotNegative] = {},  # noqa: B006
    accurate: NotNegative = 0.95,
    improvement: float = 0.05,
    device: Device = "auto",
    dtype: Dtype = "auto",
) -> None:
    """Train a committee, let it explore, label what it is unsure of, and train again.

    Each iteration trains, explores, selects, labels, judges and tests, in this order; the committee is tested on frames
    that include what it has just found. An iteration that finds nothing worth a label stops nothing by itself: the
    walkers go on from where they are, and ``accurate`` and ``improvement`` decide. In the end a last committee is
    trained on everything, and all committees are compared on the last test set.

    Parameters
    ----------
    start
        Extended XYZ file or files. Frames with REF_energy and REF_forces need no label.
    calculator
        Dotted name of an ASE calculator, or, as ``module:function`` or ``file.py:function``, a function that labels one
        frame, such as ``hpcflow.tasks.reference_cp2k:cp2k``, and takes ``stress`` and ``force_cap`` where they are set.
    arguments
        Its keyword arguments. A text that names a file of the campaign stands for that file.
    iterations
        At most so many.
    members
        Models in the committee, which differ in their seed.
    foundation
        Model file that the first committee starts from.
    copies, rattle, strain
        Distorted copies of each start frame without a label: how many, and the standard deviations of displacements
        (Å) and strain.
    isolated_atoms
        Label an isolated atom of each element; its energy is the element's E0.
    valid, test
        Fractions of the validation and test sets.
    mace
        Options of mace_run_train by their own names.
    refine
        Options in their place where training goes on from the models before.
    scratch_every
        Train from scratch in every so many-th iteration; 1 means always, 0 only in the first.
    walkers, temperatures, pressures
        How many walkers, and the ladders of their temperatures (K) and pressures (bar; none: the cell stays).
    steps, every, timestep, friction
        Molecular dynamics of a walker in each iteration: steps, steps from one kept frame to the next, fs, 1/fs.
    guards
        What stops a walker besides ``hi``: force (eV/Å), distance (in sums of radii), temperature (in that of the
        walker), volume (relative change).
    bias
        Metadynamics: variable (distance, angle or torsion), atoms (counted from 0), width (Å or degrees), height (eV),
        every (steps), factor.
    lo, hi, lo_quantile
        Trust levels on the force deviation of the committee in eV/Å; ``lo`` rises to this quantile where it is higher.
    max_new, min_new, control
        Frames to label per iteration: at most, at least, and the fraction of random picks on top.
    stress
        Whether to label stress; by default where the structure is periodic.
    force_cap
        A label with a larger force (eV/Å) is refused.
    min_labelled
        The campaign waits for a person if a smaller fraction of the labels succeeds.
    judge
        Limits for discarding labels and resetting walkers: discard_energy, discard_force, outlier, reset_energy,
        reset_force (see hpcflow.tasks.judging).
    accurate, improvement
        Stop when two iterations running found this fraction of frames accurate, and the last training lowered the test
        force error by less than this fraction.
    device, dtype
        Of the models: auto, cpu or cuda; auto, float32 or float64.
    """
    from hpcflow.tasks import evaluation, judging, sampling, seeding, selection, splitting, training
    from hpcflow.workflows.calculators import check_labeller, labeller

    if members < 2:
        raise mistake("members", "expected 2 or more; one model has no opinion of its own errors")
    check_parts(valid, test)
    check_levels(lo, hi)
    check_files("foundation", [foundation] if foundation else [])
    check_options("mace", mace)
    check_options("refine", refine)
    check_keys("guards", guards, [field.name for field in fields(sampling.Guards) if field.name != "deviation"])
    check_bias(bias)
    check_keys("judge", judge, list(signature(judging.judge).parameters)[2:])
    label_function, label_parameters = labeller(run, calculator, arguments, stress, force_cap)
    check_labeller(label_function, label_parameters, start)
    options = {**({"loss": "stress", "compute_stress": True} if pressures else {}), **mace}
    on: dict[str, Any] = {"device": device, "dtype": dtype}
    split_parameters: dict[str, Any] = {"valid": valid, "test": test, "seed": run.seed}

    def label(frames: Frames, name: str = "label", enough: float = min_labelled) -> Handle:
        return run.map(
            label_function,
            frames,
            name=name,
            task_class="reference",
            min_success=enough,
            parameters=label_parameters,
        )

    def train(number: int, sets: Call, before: Files | None) -> Files:
        scratch = before is None or (scratch_every > 0 and number % scratch_every == 0)
        start_from = [Path(foundation)] if foundation and before is None else [] if scratch else list(before or [])
        trained = run.map(
            training.train,
            [
                {"member": member, **({"previous": start_from[member % len(start_from)]} if start_from else {})}
                for member in range(members)
            ],
            name="train",
            task_class="training",
            train=sets.file("train.xyz"),
            valid=sets.file("valid.xyz"),
            options=options,
            refine=refine,
            device=device,
        )
        models = trained.files("model")
        if len(models) < 2:
            raise UserError(
                f"{trained.key}: {len(models)} of {members} models could be trained, a committee needs 2. "
                "Look with: hpcflow explain train; compute them again with: hpcflow resume --retry-failed"
            )
        sizes = {name: sets.result()[name] for name in splitting.SIDES}
        run.metrics({"iteration": number, "frames": sizes, "training": list(trained.results())})
        return models

    def compare(committees: list[tuple[str, Files]], sets: Call) -> Handle:
        return run.map(
            evaluation.compare,
            [{"name": name, "models": models} for name, models in committees],
            name="test",
            task_class="evaluation",
            min_success=1.0,
            frames=sets.file("test.xyz"),
            lo=lo,
            hi=hi,
            stress=bool(pressures),
            **on,
        )

    prepared = run.call(
        seeding.prepare,
        hf.frames(start),
        name="seed",
        copies=copies,
        rattle=rattle,
        strain=strain,
        isolated=isolated_atoms,
        seed=run.seed,
    )
    placed = run.call(
        seeding.place_walkers,
        hf.frames(start),
        name="walkers",
        number=walkers,
        temperatures=temperatures,
        pressures=pressures,
    )
    labels = label(prepared.frames())
    known = [hf.frames(prepared.file("labelled.xyz"))]
    if prepared.result()["atoms"]:
        # No model can do without the energy of an element: these are waited for, every one of them.
        known.append(label(hf.frames(prepared.file("atoms.xyz")), "atoms", 1.0).frames())
    new = hf.concat(*known, labels.frames())
    sets = run.call(splitting.split, new, name="split", **split_parameters)

    places = placed.frames()
    committees: list[tuple[str, Files]] = []
    history: list[dict[str, Any]] = []
    for i in run.iterations(iterations):
        models = train(i, sets, committees[-1][1] if committees else None)
        committees.append((f"iteration {i}", models))
        explored = run.map(
            sampling.explore,
            places,
            name="explore",
            task_class="evaluation",
            models=models,
            steps=steps,
            every=every,
            timestep=timestep,
            friction=friction,
            guards={**guards, "deviation": hi},
            bias=bias,
            **on,
        )
        chosen = run.map(
            selection.select,
            [explored.frames()],
            name="select",
            task_class="evaluation",
            min_success=1.0,
            models=models,
            already=[sets.file(f"{side}.xyz") for side in splitting.SIDES],
            lo=lo,
            hi=hi,
            lo_quantile=lo_quantile,
            max_new=max_new,
            min_new=min_new,
            control=control,
            seed=run.seed,
            **on,
        )
        picked = chosen.results()[0]
        run.metrics(
            {"explore": {**picked["explored"], "walkers": list(explored.results())}, "select": picked["select"]}
        )
        late = labels.late()  # stragglers of the labels before
        labels = label(chosen.frames())
        verdict = run.call(
            judging.judge, labels.frames(), name="judge", parameters={"selected": chosen.frames(), **judge}
        )
        judged = verdict.result()
        sets = run.call(
            splitting.split,
            hf.concat(verdict.frames(), late.frames()),
            name="split",
            earlier=[sets.file(f"{side}.xyz") for side in splitting.SIDES],
            **split_parameters,
        )
        tested = compare(committees[-2:], sets).results()
        entry = {
            "test": tested[-1],
            "test_before": tested[0] if len(tested) > 1 else None,
            "labels": {"asked": picked["select"]["selected"], **judged},
        }
        history.append({**entry, "fractions": picked["explored"]["fractions"]})
        decision = run.call(
            judging.decide, _brief(history), name="decide", accurate=accurate, improvement=improvement
        ).result()
        run.metrics({**entry, "decision": decision})
        if decision["stop"] or i + 1 == iterations:
            break
        places = run.call(
            seeding.advance_walkers,
            explored.frames(),
            name="advance",
            starts=placed.frames(),
            reset=judged["reset"],
            iteration=i + 1,
        ).frames()

    with run.scope("final"):
        models = train(len(committees), sets, committees[-1][1] if committees else None)
        committees.append(("final", models))
        tested = compare(committees, sets).results()
        run.metrics(
            {
                "test": tested[-1],
                "curve": [{key: line[key] for key in CURVE} for line in tested],
                "models": [str(model.path.relative_to(run.campaign)) for model in models],
            }
        )


CURVE = ("name", "frames", "energy_rmse", "energy_mae", "force_rmse", "force_mae")


def _brief(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What the decision needs to know of each iteration."""
    return [
        {
            "fractions": entry["fractions"],
            "test": {"force_rmse": entry["test"]["force_rmse"]},
            "test_before": entry["test_before"] and {"force_rmse": entry["test_before"]["force_rmse"]},
        }
        for entry in history
    ]
