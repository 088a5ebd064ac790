"""Give the values of a document the types that a schema declares for them.

A schema is a ``msgspec`` struct, written as a class or made with ``msgspec.defstruct``. Fields may
be ``str``, ``int``, ``float``, ``bool``, ``Duration``, ``Mebibytes``, ``datetime.date``, paths, literals,
structs, lists, dictionaries with text or number keys, unions of these, and ``Any``. A value is
read by the type of its field, so that an account ``2026_042`` stays text and a walltime ``24:00``
becomes a day; only where the type is ``Any``, or a union that includes text, does the
core schema of YAML 1.2 decide.

Every mistake becomes one ``UserError`` with file, line, key, what was expected, what was found
and the nearest name that would have been valid.
"""

from __future__ import annotations

import datetime
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Annotated, Any, Literal, TypeVar, Union

import msgspec

from hpcflow.errors import UserError, nearest
from hpcflow.sites.quantities import Text, boolean, resolve
from hpcflow.sites.yaml_reader import Document, KeyPath, dotted

T = TypeVar("T")

_NAMES = {
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    type(None): "nothing",
    dict: "keys and values (key: value)",
    list: "a list",
    datetime.date: "a date like 2026-11-21",
}


class _Mismatch(Exception):
    """What was expected at one place; becomes a UserError where it is not one of several tries."""

    def __init__(self, path: KeyPath, expected: str, got: str = "", hint: str = "") -> None:
        super().__init__(expected)
        self.path = path
        self.expected = expected
        self.got = got
        self.hint = hint


def convert(document: Document, schema: type[T], at: KeyPath = ()) -> T:
    """Return the document, or its part at the key path ``at``, as an instance of ``schema``.

    Raises
    ------
    UserError
        For an unknown key, a missing one, and a value that is not of its type.
    """
    data: Any = document.data
    for key in at:
        data = data[key]
    reader = _Converter(document)
    try:
        result = reader.read(data, schema, at)
    except _Mismatch as mismatch:
        raise reader.error(mismatch) from None
    return typing.cast(T, result)


class _Converter:
    def __init__(self, document: Document) -> None:
        self.document = document

    def error(self, mismatch: _Mismatch) -> UserError:
        where = self.document.where(mismatch.path)
        key = f"key {dotted(mismatch.path)}: " if mismatch.path else ""
        got = f", got {mismatch.got}" if mismatch.got else ""
        return UserError(f"{where}: {key}{mismatch.expected}{got}.{mismatch.hint}")

    def read(self, value: Any, schema: Any, path: KeyPath) -> Any:
        origin = typing.get_origin(schema)
        if schema is Any or schema is object:
            return self.untyped(value, path)
        if origin is Union or origin is types.UnionType:
            return self.union(value, typing.get_args(schema), path)
        if isinstance(schema, type) and issubclass(schema, msgspec.Struct):
            return self.struct(value, schema, path)
        if schema is dict or origin in (dict, Mapping):
            return self.mapping(value, typing.get_args(schema) or (str, Any), path)
        if schema in (list, tuple) or origin in (list, tuple, Sequence):
            return self.sequence(value, schema, path)
        if origin is Annotated and typing.get_origin(typing.get_args(schema)[0]) is list:
            return self.bounded(value, schema, path)
        return self.scalar(value, schema, path)

    def struct(self, value: Any, schema: type[msgspec.Struct], path: KeyPath) -> Any:
        if not isinstance(value, dict):
            raise _Mismatch(path, f"expected {_NAMES[dict]}", _describe(value))
        hints = typing.get_type_hints(schema, include_extras=True)
        fields = {f.encode_name: f for f in msgspec.structs.fields(schema) if not f.name.startswith("_")}
        for key in value:
            if key not in fields:
                place = self.document.where((*path, key))
                raise UserError(f"{place}: unknown key {dotted((*path, key))}.{nearest(key, fields)}")
        arguments = {}
        for key, field in fields.items():
            if key in value:
                arguments[field.name] = self.read(value[key], hints[field.name], (*path, key))
            elif field.required:
                raise _Mismatch(path, f"the key {key!r} is missing (expected {expected(hints[field.name])})")
        try:
            return schema(**arguments)
        except ValueError as error:  # what __post_init__ has to say: a message, and key paths it is about
            message, *about = error.args
            places = [(*path, *keys) for keys in about]
            found = [place for place in places if place in self.document.origins]
            raise _Mismatch(found[0] if found else path, str(message)) from error

    def mapping(self, value: Any, types_: tuple[Any, ...], path: KeyPath) -> dict[Any, Any]:
        if not isinstance(value, dict):
            raise _Mismatch(path, f"expected {_NAMES[dict]}", _describe(value))
        return {self.scalar(k, types_[0], (*path, k)): self.read(v, types_[1], (*path, k)) for k, v in value.items()}

    def sequence(self, value: Any, schema: Any, path: KeyPath) -> Any:
        if not isinstance(value, list):
            raise _Mismatch(path, f"expected {_NAMES[list]}", _describe(value))
        arguments = typing.get_args(schema) or (Any, ...)
        is_tuple = (typing.get_origin(schema) or schema) is tuple
        if is_tuple and Ellipsis not in arguments:
            if len(value) != len(arguments):
                raise _Mismatch(path, f"expected {len(arguments)} values", str(len(value)))
            kinds = list(arguments)
        else:
            kinds = [arguments[0]] * len(value)
        items = [self.read(item, kind, (*path, i)) for i, (item, kind) in enumerate(zip(value, kinds, strict=True))]
        return tuple(items) if is_tuple else items

    def bounded(self, value: Any, schema: Any, path: KeyPath) -> list[Any]:
        """Read a list whose length has bounds."""
        items = self.sequence(value, typing.get_args(schema)[0], path)
        try:
            msgspec.convert(items, schema)
        except msgspec.ValidationError as error:
            wanted = str(error).partition("` ")[2]  # "Expected `array` of length >= 1"
            raise _Mismatch(path, f"expected {expected(schema)} {wanted}", f"one of length {len(items)}") from None
        return list(items)

    def union(self, value: Any, members: tuple[Any, ...], path: KeyPath) -> Any:
        if value is None:
            if type(None) in members:
                return None
            raise _Mismatch(path, f"expected {_one_of(members)}", "nothing")
        members = tuple(m for m in members if m is not type(None))
        if isinstance(value, str) and str in members:
            meaning = self.untyped(value, path)
            if type(meaning) in members:
                return meaning
        first: _Mismatch | None = None
        for member in sorted(members, key=lambda m: m is str):  # text fits everything, so it comes last
            try:
                return self.read(value, member, path)
            except _Mismatch as mismatch:
                # A deeper mistake says more: the value has the right shape and one wrong part.
                if first is None or len(mismatch.path) > len(first.path):
                    first = mismatch
        assert first is not None
        if len(members) > 1 and first.path == path:
            raise _Mismatch(path, f"expected {_one_of(members)}", first.got)
        raise first

    def untyped(self, value: Any, path: KeyPath) -> Any:
        if isinstance(value, dict):
            return {k: self.untyped(v, (*path, k)) for k, v in value.items()}
        if isinstance(value, list):
            return [self.untyped(v, (*path, i)) for i, v in enumerate(value)]
        if isinstance(value, str) and not self.document.origin(path).quoted:
            return resolve(value)
        return value

    def scalar(self, value: Any, schema: Any, path: KeyPath) -> Any:
        if not isinstance(value, str):
            if value is None and schema is type(None):
                return None
            raise _Mismatch(path, f"expected {expected(schema)}", _describe(value))
        try:
            readers = [m for m in getattr(schema, "__metadata__", ()) if isinstance(m, Text)]
            if readers:
                return msgspec.convert(readers[0].read(value), schema)
            if schema is bool:
                return boolean(value)
            if isinstance(schema, type) and issubclass(schema, PurePath):
                return schema(value)
            return msgspec.convert(value, schema, strict=False)
        except msgspec.ValidationError as error:
            hint = nearest(value, typing.get_args(schema)) if typing.get_origin(schema) is Literal else ""
            # "Expected `int` >= 1": what a constraint says comes after the type.
            bound = str(error).partition("` ")[2]
            wanted = f"expected {expected(schema)} {bound if bound[:1] in '<>' else ''}".rstrip()
            raise _Mismatch(path, wanted, repr(value), hint if "Did you mean" in hint else "") from error
        except ValueError:
            raise _Mismatch(path, f"expected {expected(schema)}", repr(value)) from None


def _describe(value: Any) -> str:
    if value is None:
        return "nothing"
    return repr(value) if isinstance(value, str) else _NAMES[type(value)]


def _one_of(members: tuple[Any, ...]) -> str:
    return " or ".join(expected(m) for m in members if m is not type(None))


def expected(schema: Any) -> str:
    """Return what a person should write for a type."""
    origin = typing.get_origin(schema)
    if origin is Annotated:
        own = [m.expected for m in schema.__metadata__ if isinstance(m, Text)]
        return own[0] if own else expected(typing.get_args(schema)[0])
    if origin is Literal:
        return " or ".join(str(choice) for choice in typing.get_args(schema))
    if origin is Union or origin is types.UnionType:
        return _one_of(typing.get_args(schema))
    if origin in (dict, Mapping) or (isinstance(schema, type) and issubclass(schema, msgspec.Struct)):
        return _NAMES[dict]
    if origin in (list, tuple, Sequence):
        return _NAMES[list]
    return _NAMES.get(schema, getattr(schema, "__name__", str(schema)))
