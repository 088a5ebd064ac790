"""Numbers as people read them, and figures as the page needs them."""

import math
import re
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hpcflow.report.drawing import BLUE, draw, log_axis
from hpcflow.report.formats import MINUS, THIN, count, duration, number, percent, plural, sentence


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (3.14159, "3.14"),
        (-3.14159, f"{MINUS}3.14"),
        (0.0123456, "0.0123"),
        (99.96, "100"),
        (1234.5, "1234"),
        (12345.6, f"12{THIN}346"),
        (2.5e-7, f"2.50e{MINUS}07"),
        (1.5e12, "1.50e+12"),
        (float("nan"), "not finite"),
        (None, "–"),
    ],
)
def test_numbers_have_three_significant_digits(value: float | None, text: str) -> None:
    assert number(value) == text


@given(st.floats(1e-8, 1e12), st.integers(2, 5))
def test_a_number_on_the_page_is_the_number_that_was_meant(value: float, digits: int) -> None:
    text = number(value, digits).replace(THIN, "").replace(MINUS, "-")
    assert math.isclose(float(text), value, rel_tol=0.51 * 10 ** (1 - digits))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 s"), (2e-6, "2.00 µs"), (0.0124, "12.4 ms"), (59.9, "59.9 s"), (60, "1.00 min"), (86400 * 2.5, "2.50 d")],
)
def test_times_have_the_unit_that_fits(seconds: float, text: str) -> None:
    assert duration(seconds) == text.replace(" ", THIN)


@pytest.mark.parametrize(("fraction", "text"), [(0, "0.0 %"), (0.0004, "<0.1 %"), (0.051, "5.1 %"), (0.5, "50 %")])
def test_small_fractions_are_not_nothing(fraction: float, text: str) -> None:
    assert percent(fraction) == text.replace(" ", THIN)


def test_words_follow_their_numbers() -> None:
    assert plural(1, "frame") == "1 frame"
    assert plural(20_000, "frame") == f"20{THIN}000 frames"
    assert sentence(["a", "b", "c"]) == "a, b and c"
    assert count(1234) == "1234"


def line(name: str, y: list[float]) -> str:
    def plot(canvas) -> None:  # type: ignore[no-untyped-def]
        axes = canvas.subplots()
        axes.plot(range(len(y)), y, "o-", color=BLUE)
        log_axis(axes, "y", y)

    return draw(name, (3, 2), plot, 'a "small" <line>')


def test_two_figures_share_no_names() -> None:
    ids = [set(re.findall(r'\bid="([^"]+)"', line(name, [1.0, 2.0]))) for name in ("one", "two")]
    assert ids[0]
    assert not ids[0] & ids[1]


def test_a_figure_is_the_same_each_time() -> None:
    assert line("one", [1.0, 2.0]) == line("one", [1.0, 2.0])


def test_the_alternative_text_is_escaped() -> None:
    assert ElementTree.fromstring(line("one", [1.0, 2.0])).get("aria-label") == 'a "small" <line>'


def test_an_axis_over_several_decades_has_plain_numbers() -> None:
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", line("one", [0.01, 1.0, 30.0]))
    assert {"0.01", "0.1", "1", "10"} <= set(texts)


def test_an_axis_with_zero_or_less_stays_linear() -> None:
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", line("one", [-1.0, 1000.0]))
    assert "500" in texts or "400" in texts
