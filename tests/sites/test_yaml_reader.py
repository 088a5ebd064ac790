"""The strict YAML reader."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hpcflow.errors import UserError
from hpcflow.sites.yaml_reader import dotted, load, parse


def data(text: str) -> dict[str, Any]:
    return parse(text, "f.yaml").data


def test_every_scalar_stays_the_text_that_was_typed() -> None:
    text = "account: 2026_042\nwalltime: 12:00:00\nlsf: 24:00\noff: no\nnumber: 1e3\nday: 2026-11-20"
    assert data(text) == {
        "account": "2026_042",
        "walltime": "12:00:00",
        "lsf": "24:00",
        "off": "no",
        "number": "1e3",
        "day": "2026-11-20",
    }


def test_only_an_empty_value_and_null_are_none() -> None:
    assert data("a:\nb: ~\nc: null\nd: ''\ne: 'null'\nf: [null, '']") == {
        "a": None,
        "b": None,
        "c": None,
        "d": "",
        "e": "null",
        "f": [None, ""],
    }


def test_keys_are_text_too() -> None:
    assert data("1: a\nyes: b") == {"1": "a", "yes": "b"}


def test_aliases_repeat_a_value() -> None:
    assert data("a: &n {cores: 4}\nb: *n") == {"a": {"cores": "4"}, "b": {"cores": "4"}}


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "null\n"])
def test_an_empty_file_is_an_empty_mapping(text: str) -> None:
    assert data(text) == {}


def test_lines_of_keys_and_items_are_known() -> None:
    document = parse("a:\n  b: 1\n  c:\n    - x\n    - y: 2\n", "f.yaml")
    paths = [(), ("a",), ("a", "b"), ("a", "c"), ("a", "c", 0), ("a", "c", 1), ("a", "c", 1, "y")]
    assert [document.line(p) for p in paths] == [1, 1, 2, 3, 4, 5, 5]


def test_the_line_of_something_that_is_not_there_is_that_of_what_is_around_it() -> None:
    document = parse("x: 1\na:\n  b: 1\n", "f.yaml")
    assert document.where(("a", "z", 3)) == "f.yaml, line 2"


def test_quotes_are_remembered() -> None:
    document = parse("a: '5'\nb: 5\nc: |\n  5\n", "f.yaml")
    assert [document.origin((k,)).quoted for k in "abc"] == [True, False, True]


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("a: 1\nb: 2\na: 3", 3, "key a stands twice, first on line 1"),
        ("x:\n  a: 1\n  a: 3", 3, "key x.a stands twice, first on line 2"),
        ("a: 1\nb: [1, 2", 2, "not valid YAML"),
        ("a: 1\nb: c: d", 2, "mapping values are not allowed"),
        ("a:\n\tb: 1", 2, "cannot start any token"),
        ("a: *nothing", 1, "undefined alias"),
        ("a: !python/object:os.system x", 1, "tags"),
        ("a: !!binary aGVsbG8=", 1, "tags"),
        ("a: !!set {x, y}", 1, "tags"),
        ("b: 1\n<<: {a: 1}", 2, "merge keys"),
        ("? [a, b]\n: c", 1, "a key must be plain text"),
        ("a: &x [*x]", 1, "contains itself"),
        ("- a\n- b", 1, "keys and values"),
        ("a: 1\n---\nb: 2", 2, "expected a single document"),
    ],
)
def test_what_it_does_not_take_is_an_error_with_its_line(text: str, line: int, message: str) -> None:
    with pytest.raises(UserError) as caught:
        data(text)
    assert str(caught.value).startswith(f"f.yaml, line {line}: ")
    assert message in str(caught.value)


def test_aliases_of_aliases_do_not_fill_the_memory() -> None:
    bomb = "a: &a [x,x,x,x,x,x,x,x,x,x]\n" + "".join(
        f"{new}: &{new} [{','.join(['*' + old] * 10)}]\n" for old, new in zip("abcdefgh", "bcdefghi", strict=True)
    )
    with pytest.raises(UserError, match="values, aliases counted"):
        data(bomb)


@pytest.mark.parametrize("content", [b"a: \xff\xfe", b"a: \x01", b"\x80"])
def test_what_is_not_text_is_an_error_with_the_name_of_the_file(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "f.yaml").write_bytes(content)
    with pytest.raises(UserError, match=r"f\.yaml.*not valid YAML"):
        load(tmp_path / "f.yaml")


def test_a_file_that_cannot_be_read_is_an_error_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"missing\.yaml: cannot be read: No such file"):
        load(tmp_path / "missing.yaml")
    with pytest.raises(UserError, match="cannot be read: Is a directory"):
        load(tmp_path)


def test_deep_nesting_is_an_error_and_no_crash() -> None:
    with pytest.raises(UserError, match="nested too deeply"):
        data("a: " + "[" * 5000 + "]" * 5000)


def test_key_paths_are_written_as_people_write_them() -> None:
    assert dotted(("queues", "small", "options", 0, "x")) == "queues.small.options[0].x"


_texts = st.text(st.characters(codec="utf-8", exclude_categories=("Cc", "Cs", "Cn")), max_size=12)
_values = st.recursive(
    st.none() | _texts | st.just("12:00") | st.just("2026_042"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_texts, inner, max_size=3),
    max_leaves=12,
)


@given(st.dictionaries(_texts, _values, max_size=4), st.booleans())
def test_text_that_yaml_wrote_is_read_back(value: dict[str, Any], flow: bool) -> None:
    text = yaml.safe_dump(value, allow_unicode=True, default_flow_style=flow)
    assert data(text) == value


@given(st.text(max_size=60) | st.binary(max_size=60))
def test_any_content_is_a_document_or_a_user_error(content: str | bytes) -> None:
    try:
        assert isinstance(parse(content, "f.yaml").data, dict)
    except UserError as error:
        assert str(error).startswith("f.yaml")  # noqa: PT017 - most contents are in order
