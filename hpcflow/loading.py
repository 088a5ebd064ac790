"""Importing a user's functions, again whenever their files have changed.

``hpcflow run`` and scripts replay a workflow many times in one process; each replay must see the files
as they are now, and all of them must be of the same age.
"""

from __future__ import annotations

import importlib
import linecache
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from hpcflow.database.files import file_stamp
from hpcflow.errors import UserError, nearest

_imported: dict[str, str] = {}  # stamps of files of campaigns as they were when they were imported


def load_function(reference: str, campaign: Path, key: str = "") -> Callable[..., Any]:
    """The function that ``file.py:function`` or ``module:function`` names.

    Parameters
    ----------
    reference
        What the user wrote.
    campaign
        Its files come before installed modules.
    key
        Of hpcflow.yaml, where it was written; for messages.

    Raises
    ------
    UserError
        If there is no such file, module or function, or the file cannot be imported.
    """
    try:
        return _load(reference, campaign)
    except UserError as error:
        if not key:
            raise
        raise UserError(f"{campaign / 'hpcflow.yaml'}: key {key}: {error}") from None


def _load(reference: str, campaign: Path) -> Callable[..., Any]:
    where, _, name = reference.partition(":")
    if not where or not name:
        raise UserError(f"{reference!r} names no function; expected file.py:function or module:function")
    path = campaign / where
    if where.endswith(".py"):
        where = _module_name(path, campaign)
    _forget_changed(campaign)
    if str(campaign) not in sys.path:
        sys.path.insert(0, str(campaign))
    module = _import(where, campaign)
    function = getattr(module, name, None)
    if not callable(function):
        known = [n for n, v in vars(module).items() if callable(v) and not n.startswith("_")]
        raise UserError(f"{getattr(module, '__file__', where)}: has no function {name!r}.{nearest(name, known)}")
    return function  # type: ignore[no-any-return]


def loaded_files(campaign: Path) -> dict[str, str]:
    """Files of this campaign that have been imported, with a stamp of each as it was then."""
    return {file: _imported[file] for file in _modules(campaign).values() if file in _imported}


def place_of(error: BaseException, campaign: Path) -> str:
    """The last place in the user's own files that an exception came through: ``flow.py, line 3, in f``.

    Empty if there is none: the error is then in what a file of the campaign says, and not in its code.
    """
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if Path(f.filename).is_absolute() and Path(f.filename).is_relative_to(campaign)]
    return _place(own[-1]) if own else ""


def in_hpcflow(error: BaseException, campaign: Path) -> bool:
    """Whether an exception was raised by hpcflow, or by what it called, and not by code of the campaign."""
    package = Path(__file__).parent
    files = [Path(frame.filename) for frame in traceback.extract_tb(error.__traceback__)]
    known = [file for file in files if file.is_relative_to(campaign) or file.is_relative_to(package)]
    return bool(known) and known[-1].is_relative_to(package)


def said_by(error: BaseException) -> str:
    """What an exception that came through none of the user's files says, and where it was raised."""
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}"
    return f"{type(error).__name__}: {error} ({_place(traceback.extract_tb(error.__traceback__)[-1])})"


def _place(frame: traceback.FrameSummary) -> str:
    inside = f", in {frame.name}" if frame.name != "<module>" else ""
    return f"{frame.filename}, line {frame.lineno}{inside}"


def _module_name(path: Path, campaign: Path) -> str:
    if not path.exists():
        raise UserError(f"{path}: no such file.{nearest(path.name, [p.name for p in campaign.glob('*.py')])}")
    if path.parent != campaign:
        raise UserError(f"{path}: must stand in the campaign directory itself, so that it travels to the nodes")
    if path.stem in sys.stdlib_module_names or path.stem == "hpcflow":
        raise UserError(f"{path}: a file of this name hides the module {path.stem!r} that others need; rename it")
    known = sys.modules.get(path.stem)
    if known is not None and getattr(known, "__file__", None) != str(path):
        del sys.modules[path.stem]  # of another campaign in the same process
    return path.stem


def _import(name: str, campaign: Path) -> ModuleType:
    before = sys.dont_write_bytecode
    # Compiled files are told apart by the second of their source: too coarse for an edit between two ticks. And a
    # campaign directory is for what its user puts there.
    sys.dont_write_bytecode = True
    try:
        module = importlib.import_module(name)
    except (Exception, SystemExit) as error:  # noqa: BLE001 it runs the user's code: whatever it raises is reported
        if isinstance(error, SyntaxError):
            place = f"{error.filename}, line {error.lineno}"
        else:
            place = place_of(error, campaign)
        if not place and isinstance(error, ModuleNotFoundError) and f"{name}.".startswith(f"{error.name}."):
            known = [path.stem for path in campaign.glob("*.py")]
            raise UserError(
                f"there is no module {error.name!r}.{nearest(name, known)} Expected file.py:function or module:function"
            ) from None
        if not place:
            raise UserError(f"importing {name} failed: {said_by(error)}") from None
        raise UserError(f"{place}: importing {name} failed: {type(error).__name__}: {error}") from None
    finally:
        sys.dont_write_bytecode = before
        for file in _modules(campaign).values():
            _imported.setdefault(file, file_stamp(file))
    return module


def _modules(campaign: Path) -> dict[str, str]:
    """Names and files of the modules that were imported from a campaign's directory."""
    found = {}
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if file and name != "__main__" and not name.startswith("hpcflow") and Path(file).is_relative_to(campaign):
            found[name] = str(file)
    return found


def _forget_changed(campaign: Path) -> None:
    """If any file of the campaign has changed since it was imported, forget all of them."""
    modules = _modules(campaign)
    if all(_imported.get(file) == _stamp(file) for file in modules.values()):
        return
    for name, file in modules.items():
        del sys.modules[name]
        _imported.pop(file, None)
    importlib.invalidate_caches()
    linecache.checkcache()


def _stamp(file: str) -> str:
    try:
        return file_stamp(file)
    except OSError:
        return "gone"
