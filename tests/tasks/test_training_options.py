"""Options of MACE are known without importing it."""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator

import pytest

from hpcflow.errors import UserError
from hpcflow.tasks import training_options
from hpcflow.tasks.committee import import_mace
from hpcflow.tasks.training_options import Option, check_options, known_options


@pytest.fixture
def without_mace(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    known_options.cache_clear()
    monkeypatch.setattr(training_options, "find_spec", lambda name: None)
    yield
    known_options.cache_clear()


def test_what_is_read_from_the_text_is_what_the_parser_has() -> None:
    import_mace()
    from mace.tools import build_default_arg_parser

    there = {}
    for action in build_default_arg_parser()._actions:
        for text in action.option_strings:
            if text.startswith("--") and not isinstance(action, argparse._HelpAction):
                number = {int: "int", float: "float"}.get(action.type, "")  # type: ignore[call-overload]
                there[text.lstrip("-")] = Option(number, tuple(map(str, action.choices or ())))
    there.setdefault("config", Option())  # only where configargparse is installed
    known = known_options()
    assert set(known) == set(there)
    assert {name: option for name, option in known.items() if option != there[name]} == {}


def test_looking_at_options_imports_neither_mace_nor_torch() -> None:
    code = (
        "import sys\nfrom hpcflow.tasks.training_options import check_options\n"
        "check_options({'lr': 0.01, 'max_num_epochs': 3, 'model': 'MACE'})\n"
        "sys.exit(bool({'mace', 'torch', 'numpy'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_where_mace_is_not_installed_names_are_not_judged(without_mace: None) -> None:
    check_options({"max_num_epoch": 3})
    with pytest.raises(UserError, match="set by the training task itself"):
        check_options({"seed": 3})
