"""``hpcflow.yaml``: what a campaign does, checked before anything is done."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from hpcflow.errors import UserError, nearest

BUILT_IN = {
    "label": "hpcflow.workflows.label:label",
    "learning": "hpcflow.workflows.learning:learning",
    "map": "hpcflow.workflows.map:map_workflow",
    "sample": "hpcflow.workflows.sample:sample",
    "train": "hpcflow.workflows.train:train",
}
"""Workflows that come with hpcflow, by the name used in hpcflow.yaml."""

KEYS = ("workflow", "site", "parameters", "seed", "name", "budget", "classes")


@dataclass
class Configuration:
    """The content of hpcflow.yaml."""

    path: Path
    workflow: str
    site: str
    seed: int
    name: str
    budget: float | None
    _document: Any

    def workflow_call(self) -> tuple[Callable[..., Any], dict[str, Any]]:
        """The workflow function, and its arguments checked against its types.

        Raises
        ------
        UserError
            If there is no such workflow, or a parameter is unknown, missing or of the wrong type.
        """
        from hpcflow.loading import load_function

        reference = self.workflow
        if ":" not in reference:
            if reference not in BUILT_IN:
                line = self._document.line(("workflow",))
                raise UserError(
                    f"{self.path}, line {line}: workflow {reference!r} is not known.{nearest(reference, BUILT_IN)} "
                    "One of your own is given as file.py:function"
                )
            reference = BUILT_IN[reference]
        try:
            function = load_function(reference, self.path.parent)
        except UserError as error:
            if reference != self.workflow:
                raise
            raise UserError(f"{self.path}, line {self._document.line(('workflow',))}: {error}") from None
        if not inspect.isfunction(function):
            raise UserError(f"{self.path}, line {self._document.line(('workflow',))}: {reference} is no function")
        return function, self._arguments(function)

    def place(self) -> str:
        """Where the workflow is named: ``hpcflow.yaml, line 1: workflow label``."""
        return f"{self.path}, line {self._document.line(('workflow',))}: workflow {self.workflow}"

    def _arguments(self, function: Callable[..., Any]) -> dict[str, Any]:
        import msgspec

        from hpcflow.sites.values import convert
        from hpcflow.sites.yaml_reader import Document

        where = f"{inspect.getsourcefile(function) or function.__module__}: {function.__name__}"
        try:
            hints = typing.get_type_hints(function, include_extras=True)
        except NameError as error:
            raise UserError(f"{where}: its annotations cannot be read: {error}") from None
        named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
        taken = list(inspect.signature(function).parameters.values())
        if not taken or taken[0].kind not in positional:
            raise UserError(f"{where}: a workflow takes the run as its first argument: def {function.__name__}(run)")
        parameters = [parameter for parameter in taken[1:] if parameter.kind in named]
        fields: list[Any] = []
        for parameter in parameters:
            kind = hints.get(parameter.name, Any)
            if parameter.default is inspect.Parameter.empty:
                fields.append((parameter.name, kind))
            else:
                # A factory, because msgspec copies only empty defaults.
                fields.append((parameter.name, kind, msgspec.field(default_factory=partial(copy, parameter.default))))
        struct = msgspec.defstruct("parameters", fields, kw_only=True, forbid_unknown_fields=True)
        document = self._document
        if document.data.get("parameters") is None:
            document = Document({"parameters": {}}, document.origins)
        checked = convert(document, struct, ("parameters",))
        return {name: getattr(checked, name) for name in (p.name for p in parameters)}


def read_configuration(campaign: Path) -> Configuration:
    """Read and check hpcflow.yaml.

    Raises
    ------
    UserError
        With file, line and key, if anything in it is not as expected.
    """
    import msgspec

    from hpcflow.sites.values import convert
    from hpcflow.sites.yaml_reader import load

    hours = Annotated[float, msgspec.Meta(ge=0)]
    path = campaign / "hpcflow.yaml"
    if not path.exists():
        if (campaign / ".hpcflow" / "campaign.json").exists():
            raise UserError(
                f"{path}: no such file. If a script drives this campaign (hpcflow.Campaign), run the script again: it "
                "goes on where it was. Otherwise restore the file"
            )
        raise UserError(f"{path}: no such file. Start a campaign with: hpcflow init label {campaign.name}")
    document = load(path)
    data = document.data
    if not isinstance(data, dict):
        raise UserError(f"{path}: expected keys like 'workflow: label'. Known: {', '.join(KEYS)}")
    for key in data:
        if key not in KEYS:
            raise UserError(f"{path}, line {document.line((key,))}: unknown key {key!r}.{nearest(key, KEYS)}")
    if "workflow" in data and not isinstance(data["workflow"], str):
        raise UserError(f"{document.where(('workflow',))}: key workflow: expected a name, or file.py:function")
    if "workflow" not in data:
        raise UserError(f"{path}: the key 'workflow' is missing. Known workflows: {', '.join(sorted(BUILT_IN))}")
    return Configuration(
        path=path,
        workflow=data["workflow"],
        site=convert(document, str, ("site",)) if "site" in data else "local",
        seed=convert(document, int, ("seed",)) if "seed" in data else 0,
        name=convert(document, str, ("name",)) if "name" in data else campaign.name,
        budget=convert(document, hours, ("budget",)) if "budget" in data else None,
        _document=document,
    )
