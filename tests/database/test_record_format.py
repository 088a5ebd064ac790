"""Records: complete or not there, wherever a file is cut or damaged."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcflow.database.records import decode, encode, parts, scan

HEADERS = st.dictionaries(st.text(min_size=1, max_size=8).filter(lambda k: k not in ("bytes", "crc32")),
                          st.integers() | st.text(max_size=20) | st.booleans() | st.none(), max_size=4)  # fmt: skip
RECORDS = st.lists(st.tuples(HEADERS, st.binary(max_size=60)), max_size=4)


@given(RECORDS)
def test_what_is_written_is_read(written: list[tuple[dict[str, object], bytes]]) -> None:
    data = b"".join(encode(header, payload) for header, payload in written)
    found = [({k: v for k, v in r.header.items() if k not in ("bytes", "crc32")}, data[r.payload : r.end - 1])
             for r in scan(data)]  # fmt: skip
    assert found == written


def test_a_file_cut_at_any_byte_gives_the_records_before_the_cut() -> None:
    pieces = [encode({"kind": "task", "task": n}, b'\n{"x"\x00' * n) for n in range(4)]
    data = b"".join(pieces)
    ends = [len(b"".join(pieces[: n + 1])) for n in range(len(pieces))]
    for cut in range(len(data) + 1):
        found = list(scan(data[:cut]))
        assert len(found) == sum(end <= cut for end in ends)
        assert [record.end for record in found] == ends[: len(found)]


def test_a_changed_byte_anywhere_is_noticed() -> None:
    record = encode({"kind": "task", "task": 3, "state": "succeeded"}, b'{"energy": -1.5}')
    for position in range(len(record)):
        damaged = bytearray(record)
        damaged[position] ^= 0x01
        found = decode(bytes(damaged))
        assert found is None or found.header == decode(record).header, position  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "junk",
    [b"", b"\n", b"{}\n", b"null\n", b'{"bytes":-1,"crc32":"00000000"}\n\n', b'{"bytes":"x","crc32":"00000000"}\n\n',
     b'{"bytes":1e9,"crc32":"zzzzzzzz"}\n', b"\x00" * 100, b'"bytes":0,"crc32":"00000000"}\n\n'],
)  # fmt: skip
def test_junk_is_no_record(junk: bytes) -> None:
    assert decode(junk) is None
    assert list(scan(junk)) == []


def test_a_payload_has_three_parts() -> None:
    header = {"result": 2, "frames": 3, "output": 4}
    assert parts(header, b"{}abcdefg") == ({}, b"abc", b"defg")
    assert parts({}, b"") == (None, b"", b"")
    assert parts({"output": 1}, b"x") == (None, b"", b"x")


def test_a_header_says_the_length_of_its_payload_last_but_one() -> None:
    line = encode({"kind": "beat"}, b"four").split(b"\n")[0]
    assert list(json.loads(line)) == ["kind", "bytes", "crc32"]
    assert json.loads(line)["bytes"] == 4
