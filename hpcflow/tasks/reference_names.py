"""Names of ASE calculators and of their arguments, looked at before anything is computed with them.

Many calculators take any keyword and never look at most of them: a misspelled one would give labels of another method.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator, Mapping
from typing import Any

from hpcflow.errors import UserError, nearest

_GOES_THROUGH_ALL = re.compile(r"\bin (?:list\(|sorted\()?self\.parameters\b|\*\*self\.parameters")
"""A calculator that does this hands keywords on to a program that may know more of them."""


def check_names(calculator: str, arguments: Mapping[str, Any]) -> None:
    """Look for names that do not exist in a calculator and in all objects among its arguments.

    What cannot be imported here is not judged: a login node may well lack what is in an image.

    Raises
    ------
    UserError
        With the nearest name.
    """
    for name, given in _classes({"$class": calculator, **arguments}):
        try:
            found = named_class(name)
        except UserError:
            raise
        except Exception:  # noqa: BLE001 whatever a package does where it cannot work, its tasks will say it
            continue
        check_arguments(name, found, given)


def named_class(name: str) -> Any:
    """Import what a dotted name stands for.

    Raises
    ------
    UserError
        If its module, or the package around that, has no such name.
    ImportError
        If the module is not installed.
    """
    module, _, attribute = name.rpartition(".")
    if not module:
        raise UserError(f"{name!r} is no dotted name; expected one like ase.calculators.emt.EMT.")
    try:
        found = importlib.import_module(module)
    except ModuleNotFoundError as error:
        package, _, last = module.rpartition(".")
        if error.name != module or not package:
            raise
        around = getattr(importlib.import_module(package), "__path__", ())
        beside = [entry.name for entry in pkgutil.iter_modules(around)]
        raise UserError(f"calculator {name}: there is no {last} in {package}.{nearest(last, beside)}") from None
    if not hasattr(found, attribute):
        known = [key for key, value in vars(found).items() if inspect.isclass(value) and not key.startswith("_")]
        raise UserError(f"calculator {name}: there is no {attribute} in {module}.{nearest(attribute, known)}")
    return getattr(found, attribute)


def check_arguments(name: str, calculator: Any, given: Mapping[str, Any]) -> None:
    """Raise UserError for an argument that a calculator does not have, if it is known which ones it has."""
    known, more = _known(calculator)
    for key in given:
        if known and key not in known and key not in more:
            raise UserError(f"{name} has no argument {key!r}.{nearest(key, known)}")


def _classes(value: Any) -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(value, Mapping):
        if isinstance(value.get("$class"), str):
            yield value["$class"], {key: item for key, item in value.items() if key != "$class"}
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for item in value:
            yield from _classes(item)


def _known(calculator: Any) -> tuple[set[str], set[str]]:
    """The arguments of a calculator, or none where they are open, and words that may be arguments, too."""
    try:
        parameters = inspect.signature(calculator).parameters.values()
    except (TypeError, ValueError):  # written in C
        return set(), set()
    known = {p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    if all(p.kind != p.VAR_KEYWORD for p in parameters):
        return known, set()
    from ase.calculators.calculator import Calculator, FileIOCalculator

    if not inspect.isclass(calculator) or not issubclass(calculator, Calculator):
        return set(), set()
    defaults = set(getattr(calculator, "default_parameters", ()))
    source = _source(calculator)
    # Input files of programs have keywords that nobody lists.
    if not defaults or issubclass(calculator, FileIOCalculator) or _GOES_THROUGH_ALL.search(source):
        return set(), set()
    common = {p.name for p in inspect.signature(Calculator).parameters.values() if p.kind != p.VAR_KEYWORD}
    return known | defaults | common, set(re.findall(r"\w+", source))  # some parameters have no default


def _source(calculator: type) -> str:
    """The text of a calculator's module and of those of its bases, but for those that all have."""
    from ase.calculators.calculator import Calculator

    texts = []
    for module in {base.__module__ for base in calculator.__mro__ if base not in Calculator.__mro__}:
        try:
            texts.append(inspect.getsource(importlib.import_module(module)))
        except (OSError, TypeError):  # compiled
            continue
    return "\n".join(texts)
