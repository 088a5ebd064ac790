"""Mistakes in the parameters of built-in workflows are found before anything is computed or written."""

from __future__ import annotations

import pytest
from campaign_harness import MakeCampaign

BARE = "3\nProperties=species:S:1:pos:R:3\nO 0 0 0\nH 0 0 1\nH 0 1 0\n"
LABELLED = "1\nProperties=species:S:1:pos:R:3:REF_forces:R:3 REF_energy=-1.0\nAr 0 0 0 0 0 0\n"
REQUIRED = {
    "learning": "  start: bare.xyz\n  arguments: {method: GFN2-xTB}\n",
    "train": "  structures: labelled.xyz\n",
    "sample": "  start: bare.xyz\n  models: [a.model]\n",
}
VARIABLE = "variable: distance, width: 0.1, height: 0.1"

# The workflow, what is wrong, and words that the message must hold.
MISTAKES = [
    ("learning", "foundation: b.model", ["parameters.foundation", "b.model: no such file", "'a.model'"]),
    ("train", "foundation: b.model", ["parameters.foundation", "b.model: no such file", "'a.model'"]),
    ("learning", "calculator: tblite.ase.TBLit", ["parameters.calculator", "'TBLite'"]),
    ("learning", "arguments: {methd: x}", ["parameters.calculator", "'methd'", "'method'"]),
    ("learning", "calculator: flow.py:mine", ["parameters.calculator", "has no parameter 'force_cap'"]),
    ("learning", "mace: {max_num_epoch: 3}", ["parameters.mace", "Did you mean 'max_num_epochs'"]),
    ("learning", "refine: {lrr: 3}", ["parameters.refine", "Did you mean 'lr'"]),
    ("train", "mace: {max_num_epochs: some}", ["parameters.mace", "a whole number, got 'some'"]),
    ("train", "mace: {model: MACER}", ["parameters.mace", "model", "Did you mean 'MACE'"]),
    ("train", "mace: {device: cpu}", ["parameters.mace", "'device'", "set by the training task itself"]),
    ("train", "structures: '*.xyz'", ["parameters.structures", "bare.xyz: frame 0", "REF_energy"]),
    ("train", "valid: 1.5", ["line 4", "parameters.valid", "< 1.0"]),
    ("train", "members: 0", ["line 4", "parameters.members", ">= 1"]),
    ("train", "device: gpu", ["line 4", "parameters.device", "auto or cpu or cuda"]),
    ("learning", "dtype: float16", ["line 5", "parameters.dtype", "float32"]),
    ("learning", "members: 1", ["parameters.members", "expected 2 or more"]),
    ("learning", "{lo: 0.5, hi: 0.1}", ["parameters.lo", "0.5 is above hi: 0.1"]),
    ("learning", "{valid: 0.6, test: 0.6}", ["parameters.valid", "test: 0.6", "less than 1 together"]),
    ("learning", "temperatures: []", ["line 5", "parameters.temperatures", "of length >= 1"]),
    ("learning", "guards: {force: -1}", ["line 5", "parameters.guards.force", "> 0"]),
    ("sample", "models: []", ["line 4", "parameters.models", "of length >= 1"]),
    ("sample", "models: [b.model]", ["parameters.models", "b.model: no such file"]),
    ("sample", "engine: lammps", ["line 5", "parameters.engine", "openmm"]),
    ("sample", "bias: {variable: dist}", ["parameters.bias", "'atoms' is missing"]),
    ("sample", f"bias: {{{VARIABLE}, atoms: [0]}}", ["parameters.bias", "has 2 atoms"]),
    ("sample", f"bias: {{{VARIABLE}, atoms: [0, one]}}", ["parameters.bias", "atoms[1]"]),
    ("sample", "every: 0", ["line 5", "parameters.every", ">= 1"]),
    ("sample", "walkers: 0", ["line 5", "parameters.walkers", ">= 1"]),
]


@pytest.mark.parametrize(("workflow", "wrong", "words"), MISTAKES, ids=[f"{w} {text}" for w, text, _ in MISTAKES])
def test_a_mistake_in_a_parameter_is_said_before_anything_is_made(
    make_campaign: MakeCampaign, workflow: str, wrong: str, words: list[str]
) -> None:
    given = wrong.strip("{}").split(", ") if wrong.startswith("{") else [wrong]
    keys = [line.partition(":")[0] for line in given]
    required = [line for line in REQUIRED[workflow].splitlines() if line.strip().partition(":")[0] not in keys]
    lines = [f"workflow: {workflow}", "parameters:", *required, *(f"  {line}" for line in given)]
    campaign = make_campaign("def mine(atoms, sise=1): return atoms\n", "\n".join(lines) + "\n")
    campaign.write("bare.xyz", BARE)
    campaign.write("labelled.xyz", LABELLED)
    campaign.write("a.model", "")
    message = campaign.refused("submit")
    for word in ["hpcflow.yaml", *words]:
        assert word in message, message
    assert not campaign.database.exists()


def test_bounds_and_choices_in_annotations_of_ones_own_workflow_count(make_campaign: MakeCampaign) -> None:
    flow = (
        "from typing import Annotated, Literal\n"
        "from msgspec import Meta\n"
        "def flow(run, n: Annotated[int, Meta(ge=1)] = 1, how: Literal['fast', 'well'] = 'fast'): pass\n"
    )
    for wrong, expected in (("n: 0", ">= 1, got '0'"), ("how: fats", "Did you mean 'fast'")):
        campaign = make_campaign(flow, f"workflow: flow.py:flow\nparameters:\n  {wrong}\n")
        message = campaign.refused("submit", "--dry-run")
        assert "hpcflow.yaml, line 3" in message
        assert expected in message
