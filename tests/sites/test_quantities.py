"""Times, amounts of memory and values without a type."""

import math
import re

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hpcflow.sites.quantities import boolean, duration, duration_text, memory, resolve

HOUR = 3600


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("12:00:00", 12 * HOUR),
        ("06:30:00", 6.5 * HOUR),
        ("100:00:00", 100 * HOUR),
        ("24:00", 24 * HOUR),
        ("0:30", 1800),
        ("1-12:00:00", 36 * HOUR),
        ("2-00:00", 48 * HOUR),
        ("1-12", 36 * HOUR),
        ("90m", 5400),
        ("90 min", 5400),
        ("2h", 2 * HOUR),
        ("1.5h", 5400),
        ("1d12h", 36 * HOUR),
        ("1d 12h 5m 1s", 36 * HOUR + 301),
        ("45s", 45),
        ("3600", 3600),
        (" 3600 ", 3600),
    ],
)
def test_a_time_means_what_its_writer_means(text: str, seconds: float) -> None:
    assert duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "abc",
        "-5",
        "12:60",
        "12:00:60",
        "1-24:00:00",
        "1:2:3:4",
        "5x",
        "h",
        "12h1d",
        "1e3",
        "٣٦٠٠",
        "1-",
        "nan",
    ],
)
def test_what_is_no_time_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(text))):
        duration(text)


@given(st.integers(0, 10**8))
def test_a_time_survives_being_written_and_read(seconds: int) -> None:
    assert duration(duration_text(seconds)) == seconds


@given(st.floats(0.001, 1000).filter(lambda x: x != int(x)))
def test_fractions_of_a_second_survive_to_six_digits(seconds: float) -> None:
    assert duration(duration_text(round(seconds, 3))) == pytest.approx(seconds, abs=1e-3, rel=1e-5)


@given(st.integers(0, 9), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59))
def test_all_ways_to_write_a_time_agree(days: int, hours: int, minutes: int, seconds: int) -> None:
    clock = duration(f"{days}-{hours:02d}:{minutes:02d}:{seconds:02d}")
    assert clock == duration(f"{days * 24 + hours}:{minutes:02d}:{seconds:02d}")
    assert clock == duration(f"{days}d{hours}h{minutes}m{seconds}s")
    assert clock == duration(str(int(clock)))


@given(st.text(max_size=20))
def test_any_text_is_a_time_or_a_value_error(text: str) -> None:
    try:
        assert duration(text) >= 0
    except ValueError:
        pass


@pytest.mark.parametrize(
    ("text", "mebibytes"),
    [
        ("2000M", 2000),
        ("2000", 2000),
        ("1.5G", 1536),
        ("64GiB", 65536),
        ("64 GB", 65536),
        ("64g", 65536),
        ("1T", 1024**2),
        ("512000K", 500),
        ("1K", 1),
        ("0", 0),
    ],
)
def test_an_amount_of_memory_is_read_in_mebibytes(text: str, mebibytes: int) -> None:
    assert memory(text) == mebibytes


@pytest.mark.parametrize("text", ["", "G", "-1G", "1.5X", "1 2", "GiB5", "1e3M", "nan", "inf"])
def test_what_is_no_amount_of_memory_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(repr(text))):
        memory(text)


@given(st.decimals(0, 10**6, places=3), st.sampled_from("KMGT"))
def test_memory_is_never_rounded_down(number: object, unit: str) -> None:
    exact = float(str(number)) * 1024.0 ** "KMGT".index(unit) / 1024.0
    assert exact <= memory(f"{number}{unit}") < exact + 1


@pytest.mark.parametrize(("text", "value"), [("yes", True), ("True", True), ("off", False), ("NO", False)])
def test_booleans_may_be_written_as_people_write_them(text: str, value: bool) -> None:
    assert boolean(text) is value


@pytest.mark.parametrize("text", ["1", "y", ""])
def test_what_could_be_a_number_is_no_boolean(text: str) -> None:
    with pytest.raises(ValueError, match="true or false"):
        boolean(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2026_042", "2026_042"),
        ("12:00:00", "12:00:00"),
        ("24:00", "24:00"),
        ("yes", "yes"),
        ("1e3", 1000.0),
        ("1e-3", 0.001),
        ("12", 12),
        ("007", 7),
        ("0x1F", 31),
        ("0o17", 15),
        ("-3", -3),
        ("1.5", 1.5),
        (".5", 0.5),
        ("-.inf", -math.inf),
        ("true", True),
        ("False", False),
        ("1.2.3", "1.2.3"),
        ("2026-11-20", "2026-11-20"),
    ],
)
def test_values_without_a_type_are_read_by_the_core_schema(text: str, value: object) -> None:
    assert resolve(text) == value
    assert type(resolve(text)) is type(value)


@given(st.one_of(st.integers(), st.floats(allow_nan=False), st.booleans()))
def test_what_yaml_writes_is_read_back(value: object) -> None:
    assert resolve(yaml.safe_dump(value).split("\n")[0]) == value
