"""From the ``calculator`` of a workflow's parameters to the function that labels one frame."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import hpcflow as hf
from hpcflow.errors import UserError
from hpcflow.functions import check_call
from hpcflow.sources import base_directory
from hpcflow.workflows.parameters import mistake


def labeller(
    run: hf.Run, calculator: str, arguments: dict[str, Any], stress: bool | None, force_cap: float | None
) -> tuple[Callable[..., Any], dict[str, Any]]:
    """The function that labels one frame, and its parameters.

    Parameters
    ----------
    calculator
        Dotted name of an ASE calculator, or ``module:function`` or ``file.py:function`` of a function that labels one
        frame, such as ``hpcflow.tasks.reference_cp2k:cp2k``.
    arguments
        Keyword arguments of the calculator or the function. For a function, a text that names a file of the campaign
        stands for that file, which then is part of what is computed.
    """
    from hpcflow.loading import load_function
    from hpcflow.tasks import reference

    common = {"stress": stress, "force_cap": force_cap}
    if ":" not in calculator:
        return reference.ase_calculator, {"calculator": calculator, "arguments": arguments, **common}
    named = {
        key: Path(value) if isinstance(value, str) and (run.campaign / value).is_file() else value
        for key, value in arguments.items()
    }
    asked = {key: value for key, value in common.items() if value is not None}  # not every function knows of them
    return load_function(calculator, run.campaign, "parameters.calculator"), {**asked, **named}


def check_labeller(function: Callable[..., Any], parameters: Mapping[str, Any], structures: str) -> None:
    """See that a function can label the structures, for workflows that have other work to do before.

    Raises
    ------
    UserError
        As the first labels would.
    """
    from hpcflow.structures.index import elements_of

    check = getattr(function, "__hpcflow__", {}).get("check")
    given = {name: base_directory() / value if isinstance(value, Path) else value for name, value in parameters.items()}
    try:
        check_call("label", function, 1, parameters)
        if check is not None:
            check(lambda: elements_of(file.path for file in hf.files(structures)), given)
    except UserError as error:
        raise mistake("calculator", f"with its arguments: {error}") from None
