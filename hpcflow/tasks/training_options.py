"""Options of ``mace_run_train``, looked at before anything is trained, and without importing MACE.

Importing MACE takes seconds, and a command on a login node has no other use for it: the options are read
from the source text of its parser. Where MACE is not installed, the training task says what is wrong.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from hpcflow.errors import UserError, nearest

OWN = {
    "name", "seed", "train_file", "valid_file", "test_file", "work_dir", "model_dir", "log_dir",
    "checkpoints_dir", "results_dir", "foundation_model", "restart_latest", "save_all_checkpoints",
    "keep_checkpoints", "device", "distributed", "dry_run", "wandb", "config",
}  # fmt: skip
"""Options of ``mace_run_train`` that the task sets itself."""

_NUMBERS = {"int": (int, "a whole number"), "float": (float, "a number")}


@dataclass(frozen=True)
class Option:
    """What the parser of MACE says of one option, as far as its text tells."""

    number: str = ""
    """``int`` or ``float`` where it takes one."""
    choices: tuple[str, ...] = ()


def check_options(options: Mapping[str, Any]) -> None:
    """See that MACE has these options, and that they can have these values.

    Raises
    ------
    UserError
        With the nearest name.
    """
    for name in options:
        if name in OWN:
            raise UserError(f"the option {name!r} of mace_run_train is set by the training task itself")
    known = known_options() if options else {}
    if not known:
        return
    for name, value in options.items():
        if name not in known:
            raise UserError(f"mace_run_train has no option {name!r}.{nearest(name, known)}")
        option, text = known[name], str(value)
        if option.choices and text not in option.choices:
            wanted = " or ".join(option.choices)
            raise UserError(f"{name}: expected {wanted}, got {text!r}.{nearest(text, option.choices)}")
        if option.number:
            read, wanted = _NUMBERS[option.number]
            try:
                read(text)
            except ValueError:
                raise UserError(f"{name}: expected {wanted}, got {text!r}.") from None


@lru_cache(maxsize=1)
def known_options() -> dict[str, Option]:
    """The options of ``mace_run_train``; none where MACE is not installed."""
    package = find_spec("mace")  # of a module inside, the package would be imported
    for place in (package and package.submodule_search_locations) or ():
        path = Path(place) / "tools" / "arg_parser.py"
        if path.is_file():
            return dict(_options(ast.parse(path.read_text("utf-8"))))
    return {}


def _options(module: ast.Module) -> Iterator[tuple[str, Option]]:
    parsers = [node for node in module.body if isinstance(node, ast.FunctionDef)]
    for parser in (node for node in parsers if node.name == "build_default_arg_parser"):
        for call in ast.walk(parser):
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
                texts = [a.value for a in call.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
                words = {keyword.arg: keyword.value for keyword in call.keywords}
                for text in texts if call.func.attr in ("add", "add_argument") else ():
                    yield text.lstrip("-"), _option(words)


def _option(words: Mapping[str | None, ast.expr]) -> Option:
    kind, choices = words.get("type"), words.get("choices")
    several = "nargs" in words
    number = kind.id if isinstance(kind, ast.Name) and kind.id in _NUMBERS and not several else ""
    try:
        named = tuple(str(choice) for choice in ast.literal_eval(choices)) if choices and not several else ()
    except ValueError:  # made by some expression
        named = ()
    return Option(number, named)
