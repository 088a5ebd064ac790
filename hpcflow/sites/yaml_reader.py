"""Read YAML without letting it guess: every scalar stays the text that was typed.

YAML 1.1 reads ``2026_042`` as the number 2026042, ``12:00:00`` as 43200, ``no`` as false and
``1e3`` as a string. Here the text is kept, with the line it stands on, and the type that a key is
declared to have decides what it means (``values.convert``). Only null is special: an empty value,
``null`` and ``~`` are None.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from hpcflow.errors import UserError

KeyPath = tuple[str | int, ...]
"""Keys and list indices that lead to a value."""

_NULLS = {"", "~", "null", "Null", "NULL"}
_MAX_NODES = 200_000
"""More values than this in a configuration file come from aliases of aliases, not from a person."""


class Origin(NamedTuple):
    """Where a value was written."""

    file: str
    line: int
    """Counted from 1; 0 where there is no line, as for a value from the environment."""
    quoted: bool = False
    """Whether it stood in quotes: ``"5"`` is a string where ``5`` would be a number."""
    layer: str = ""
    """What kind of file it is; set by whoever puts several documents together."""


class Document:
    """The values of one file, or of several that were merged, and where each of them was written.

    Parameters
    ----------
    data
        Nested dictionaries, lists, strings and None.
    origins
        For each key path in ``data``, where it stands. The empty path is the document itself.
    """

    def __init__(self, data: dict[str, Any], origins: dict[KeyPath, Origin]) -> None:
        self.data = data
        self.origins = origins

    @property
    def file(self) -> str:
        return self.origins[()].file

    def origin(self, path: KeyPath) -> Origin:
        """Return where ``path`` was written, or else the nearest key around it."""
        while path not in self.origins:
            path = path[:-1]
        return self.origins[path]

    def line(self, path: KeyPath) -> int:
        """Return the line of ``path`` (from 1), or that of the nearest key around it."""
        return self.origin(path).line

    def where(self, path: KeyPath) -> str:
        """Return ``FILE, line N``, as error messages begin."""
        origin = self.origin(path)
        return f"{origin.file}, line {origin.line}" if origin.line else origin.file


def dotted(path: KeyPath) -> str:
    """Return a key path as people write it: ``queues.small.options[0]``."""
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def load(path: str | Path) -> Document:
    """Read one YAML file whose top level is a mapping (an empty file is an empty mapping).

    Raises
    ------
    UserError
        If the file cannot be read or is not YAML; if a key occurs twice; for tags, merge keys,
        keys that are not plain text, and more than one document.
    """
    name = str(path)
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{name}: cannot be read: {error.strerror}") from error
    return parse(content, name)


def parse(content: bytes | str, name: str) -> Document:
    """Read YAML from memory; ``name`` stands for the file in error messages."""
    try:
        root = yaml.compose(content, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{name}, line {mark.line + 1}" if mark else name
        reason = " ".join(part for part in (error.context, error.problem) if part)
        raise UserError(f"{place}: not valid YAML: {reason}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{name}: not valid YAML: {' '.join(str(error).split())}") from error
    except RecursionError as error:
        raise UserError(f"{name}: not valid YAML: nested too deeply") from error
    origins: dict[KeyPath, Origin] = {(): Origin(name, 1)}
    if root is None or (isinstance(root, yaml.ScalarNode) and not _quoted(root) and root.value in _NULLS):
        return Document({}, origins)
    if not isinstance(root, yaml.MappingNode):
        raise UserError(f"{name}, line 1: expected keys and values (key: value), got something else")
    data = _Reader(name, origins).mapping(root, (), ())
    return Document(data, origins)


class _Reader:
    """Turns YAML's nodes into plain values and notes where they stand."""

    def __init__(self, name: str, origins: dict[KeyPath, Origin]) -> None:
        self.name = name
        self.origins = origins
        self.count = 0

    def error(self, node: yaml.Node, message: str) -> UserError:
        return UserError(f"{self.name}, line {node.start_mark.line + 1}: {message}")

    def value(self, node: yaml.Node, path: KeyPath, around: tuple[int, ...]) -> Any:
        self.count += 1
        if id(node) in around:
            raise self.error(node, f"key {dotted(path)}: an alias stands for something that contains itself")
        if self.count > _MAX_NODES:
            raise self.error(node, f"more than {_MAX_NODES} values, aliases counted")
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, path, around)
        if isinstance(node, yaml.SequenceNode):
            self.check_tag(node, "tag:yaml.org,2002:seq", path)
            items = []
            for i, item in enumerate(node.value):
                self.note((*path, i), item, item)
                items.append(self.value(item, (*path, i), (*around, id(node))))
            return items
        self.check_tag(node, None, path)
        return str(node.value) if _quoted(node) or node.value not in _NULLS else None

    def mapping(self, node: yaml.MappingNode, path: KeyPath, around: tuple[int, ...]) -> dict[str, Any]:
        self.check_tag(node, "tag:yaml.org,2002:map", path)
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                raise self.error(key_node, "a key must be plain text")
            key = str(key_node.value)
            if key == "<<" and key_node.style is None:
                raise self.error(key_node, "merge keys (<<) are not supported; repeat the values")
            if key in result:
                first = self.origins[(*path, key)].line
                raise self.error(key_node, f"key {dotted((*path, key))} stands twice, first on line {first}")
            self.note((*path, key), key_node, value_node)
            result[key] = self.value(value_node, (*path, key), (*around, id(node)))
        return result

    def note(self, path: KeyPath, place: yaml.Node, value: yaml.Node) -> None:
        self.origins[path] = Origin(self.name, place.start_mark.line + 1, _quoted(value))

    def check_tag(self, node: yaml.Node, expected: str | None, path: KeyPath) -> None:
        # compose() resolves 12:00 to the tag of an integer; only a tag somebody wrote is an error.
        implicit = set(_implicit_tags()) if expected is None else {expected}
        if node.tag not in implicit:
            raise self.error(node, f"key {dotted(path)}: tags ({node.tag}) are not supported")


def _quoted(node: yaml.Node) -> bool:
    return isinstance(node, yaml.ScalarNode) and node.style is not None


def _implicit_tags() -> Iterator[str]:
    yield "tag:yaml.org,2002:str"
    for resolvers in yaml.SafeLoader.yaml_implicit_resolvers.values():
        yield from (tag for tag, _ in resolvers)
