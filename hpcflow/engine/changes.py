"""What makes a step compute something else than the array it has, in words for the person who has to decide."""

from __future__ import annotations

import json
from typing import Any

from hpcflow.database.arrays import ArraySpec
from hpcflow.database.inputs import nameless


def what_changed(before: dict[str, Any], now: ArraySpec) -> str:
    """In words, what makes a step compute something else than the array it has."""
    old, new = before["function"], now.function
    if old["kind"] != new["kind"]:
        return f"it was a {old['kind']} and is a {new['kind']}; that"
    if old["kind"] == "command" and old["command"] != new["command"]:
        return "its command"
    if old["kind"] == "python" and (old["module"], old["name"]) != (new["module"], new["name"]):
        return f"its function was {old['module']}.{old['name']} and is {new['module']}.{new['name']}; that"
    if old.get("version") != new.get("version"):
        return f"the function {new['name']}"
    for name in sorted({*before["parameters"], *now.parameters}):
        was, is_now = (nameless(parameters.get(name)) for parameters in (before["parameters"], now.parameters))
        if was != is_now:
            shown = " from {} to {}".format(*(json.dumps(value)[:60] for value in (was, is_now)))
            return f"its parameter {name!r}{shown}"
    return "what it keeps"
