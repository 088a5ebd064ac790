"""Documents become instances of a schema, or one clear error."""

import datetime
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest

from hpcflow.errors import UserError
from hpcflow.sites.quantities import Duration, Mebibytes
from hpcflow.sites.values import convert
from hpcflow.sites.yaml_reader import parse


class Node(msgspec.Struct, kw_only=True):
    cores: Annotated[int, msgspec.Meta(ge=1)]
    memory: Mebibytes | None = None


class Site(msgspec.Struct, kw_only=True, rename={"bound": "max_walltime"}):
    account: str | None = None
    walltime: Duration = 60
    bound: Duration | None = None
    kind: Literal["slurm", "pbs"] = "slurm"
    nodes: dict[str, Node] = {}
    options: dict[str, str | list[str] | None] = {}
    table: dict[int, Duration] = {}
    anything: Any = None
    flag: bool = False
    number: float = 1.0
    mixed: int | str = 0
    container: str | Node | None = None
    pair: tuple[int, str] | None = None
    image: Path | None = None
    until: datetime.date | None = None
    ladder: Annotated[list[float], msgspec.Meta(min_length=2)] | None = None


def site(text: str) -> Site:
    return convert(parse(text, "s.yaml"), Site)


def test_values_are_read_by_the_types_of_their_keys() -> None:
    result = site("account: 2026_042\nwalltime: 24:00\nmax_walltime: 90m\nflag: yes\nnumber: 1e-3\nuntil: 2026-11-21")
    assert (result.account, result.walltime, result.bound) == ("2026_042", 86400, 5400)
    assert (result.flag, result.number, result.until) == (True, 0.001, datetime.date(2026, 11, 21))


def test_structs_dictionaries_and_lists_are_read_to_the_bottom() -> None:
    result = site("nodes: {a: {cores: 4, memory: 1G}}\noptions: {x: 5, y: [1, 2], z: null}\ntable: {91: 2h}")
    assert result.nodes == {"a": Node(cores=4, memory=1024)}
    assert result.options == {"x": "5", "y": ["1", "2"], "z": None}
    assert result.table == {91: 7200}


def test_without_a_type_the_core_schema_decides_and_quotes_count() -> None:
    result = site("anything: {a: 2026_042, b: 12, c: '12', d: [1e-3, true, null], e: yes}")
    assert result.anything == {"a": "2026_042", "b": 12, "c": "12", "d": [0.001, True, None], "e": "yes"}


@pytest.mark.parametrize(("text", "value"), [("mixed: 5", 5), ("mixed: '5'", "5"), ("mixed: 5x", "5x")])
def test_a_union_with_text_is_read_as_yaml_would(text: str, value: object) -> None:
    assert site(text).mixed == value


@pytest.mark.parametrize(("text", "value"), [("a.sif", "a.sif"), ("{cores: 2}", Node(cores=2)), ("null", None)])
def test_a_union_of_text_and_keys_goes_by_what_is_there(text: str, value: object) -> None:
    assert site(f"container: {text}").container == value


def test_tuples_and_paths() -> None:
    result = site("pair: [1, 2]\nimage: /a b/c.sif")
    assert (result.pair, result.image) == ((1, "2"), Path("/a b/c.sif"))


def test_a_list_may_have_a_length() -> None:
    assert site("ladder: [1, 2.5]").ladder == [1.0, 2.5]


def test_a_part_of_a_document_can_be_converted_alone() -> None:
    assert convert(parse("a: {b: {cores: 3}}", "s.yaml"), Node, ("a", "b")) == Node(cores=3)


def test_a_schema_may_be_made_at_run_time() -> None:
    schema = msgspec.defstruct("P", [("target", float), ("rounds", int, 3)], kw_only=True)
    assert convert(parse("target: 0.05", "s.yaml"), schema) == schema(target=0.05, rounds=3)  # type: ignore[call-arg]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("walltme: 3", "s.yaml, line 1: unknown key walltme. Did you mean 'walltime'?"),
        ("\nnodes:\n  a: {core: 3}", "s.yaml, line 3: unknown key nodes.a.core. Did you mean 'cores'?"),
        (
            "nodes: {a: {}}",
            "s.yaml, line 1: key nodes.a: the key 'cores' is missing (expected a whole number).",
        ),
        ("nodes: {a: {cores: 0}}", "key nodes.a.cores: expected a whole number >= 1, got '0'."),
        ("nodes: {a: {cores: many}}", "key nodes.a.cores: expected a whole number, got 'many'."),
        ("nodes: [a]", "key nodes: expected keys and values (key: value), got a list."),
        ("nodes: a", "key nodes: expected keys and values (key: value), got 'a'."),
        ("nodes: {a: {cores: [1]}}", "key nodes.a.cores: expected a whole number, got a list."),
        ("walltime: soon", "key walltime: expected a time like 12:00:00, 24:00 (hours)"),
        (
            "nodes: {a: {cores: 1, memory: 3X}}",
            "expected an amount of memory like 2000M, 1.5G or 64GiB, got '3X'.",
        ),
        ("kind: slrm", "key kind: expected slurm or pbs, got 'slrm'. Did you mean 'slurm'?"),
        ("flag: maybe", "key flag: expected true or false, got 'maybe'."),
        ("flag:", "key flag: expected true or false, got nothing."),
        ("number: many", "key number: expected a number, got 'many'."),
        ("table: {x: 1h}", "key table.x: expected a whole number, got 'x'."),
        ("container: {cores: x}", "key container.cores: expected a whole number, got 'x'."),
        ("container: [1]", "key container: expected text or keys and values (key: value), got a list."),
        ("options: {x: {y: 1}}", "key options.x: expected text or a list, got keys and values (key: value)."),
        ("options: {x: [[1]]}", "key options.x[0]: expected text, got a list."),
        ("pair: [1]", "key pair: expected 2 values, got 1."),
        ("ladder: [1]", "key ladder: expected a list of length >= 2, got one of length 1."),
        ("ladder: [1, x]", "key ladder[1]: expected a number, got 'x'."),
        ("ladder: 1", "key ladder: expected a list, got '1'."),
        ("until: tomorrow", "key until: expected a date like 2026-11-21, got 'tomorrow'."),
    ],
)
def test_each_mistake_is_one_message_with_place_and_expectation(text: str, message: str) -> None:
    with pytest.raises(UserError) as caught:
        site(text)
    assert message in str(caught.value)
    assert str(caught.value).startswith("s.yaml, line ")


class Pair(msgspec.Struct):
    low: int
    high: int

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("low is larger than high")


def test_what_a_struct_finds_wrong_with_itself_gets_a_place() -> None:
    with pytest.raises(UserError, match=r"s\.yaml, line 2: key p: low is larger than high\."):
        convert(parse("x: 1\np: {low: 2, high: 1}", "s.yaml"), Pair, ("p",))
