import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcflow.worker.commands import BadCommand, fields, fill

SHELL_TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=30)


@given(SHELL_TEXT)
def test_the_shell_sees_exactly_the_text_of_the_field(text):
    command = fill("printf %s {value}", {"value": text})
    assert subprocess.run(["/bin/sh", "-c", command], stdout=subprocess.PIPE, check=True).stdout == text.encode()


def test_values_that_are_no_texts_are_written_as_json():
    assert fill("x {a} {b} {c}", {"a": 1.5, "b": True, "c": [1, "q"]}) == "x 1.5 true '[1, \"q\"]'"


def test_double_braces_are_braces():
    assert fill("echo ${{HOME}} {a}", {"a": 1}) == "echo ${HOME} 1"


def test_braces_around_something_else_stay():
    assert fill("awk '{print $1}' {path}", {"path": "f"}) == "awk '{print $1}' f"


def test_an_unknown_field_names_the_nearest():
    with pytest.raises(BadCommand, match=r"the command names \{tempreature\}, did you mean \{temperature\}"):
        fill("run {tempreature}", {"temperature": 300, "index": 1})


def test_an_unknown_field_without_likeness_lists_what_is_known():
    with pytest.raises(BadCommand, match="known: index, path"):
        fill("echo ${HOME}", {"path": "f", "index": 1})


def test_a_zero_byte_is_refused():
    with pytest.raises(BadCommand, match="zero byte"):
        fill("echo {a}", {"a": "x\0y"})


def test_fields_are_listed_once_in_order():
    assert fields("{b} {a} {{c}} {b} {größe} {two words}") == ["b", "a", "größe", "two words"]
