"""Figures as SVG that belongs into the page: its font, and its colours for light, dark and print.

matplotlib draws with stand-in colours, which become the names of the page's colours afterwards. Text
stays text. Nothing here knows what is drawn.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure as Canvas

Floats: TypeAlias = "Sequence[float] | Any"

INK, MUTED, LINE, GRID, SURFACE = "#00f001", "#00f002", "#00f003", "#00f004", "#00f005"
BLUE, ORANGE, GREEN, PURPLE, YELLOW, PALE = "#00f011", "#00f012", "#00f013", "#00f014", "#00f015", "#00f016"
SERIES = (BLUE, ORANGE, GREEN, PURPLE, YELLOW)
"""Colours of lines that are equals, in order."""

_NAMES = {
    INK: ("ink", "#1d1f24"),
    MUTED: ("muted", "#5f636b"),
    LINE: ("line", "#d9d7d2"),
    GRID: ("grid", "#e6e4df"),
    SURFACE: ("surface", "#fdfdfc"),
    BLUE: ("blue", "#1f6fb2"),
    ORANGE: ("orange", "#c8511b"),
    GREEN: ("green", "#2b8a6e"),
    PURPLE: ("purple", "#8a5aa8"),
    YELLOW: ("yellow", "#b98500"),
    PALE: ("pale", "#b9d3e8"),
}
"""Name of each colour on the page, and what it is where a figure stands alone."""

_STYLE: Any = {
    "svg.fonttype": "none",
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 8.5,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": MUTED,
    "axes.linewidth": 0.7,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 8.5,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.labelsize": 8.5,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "xtick.minor.size": 0,
    "ytick.minor.size": 0,
    "xtick.major.pad": 5,
    "lines.linewidth": 1.6,
    "lines.markersize": 5,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "legend.handlelength": 1.4,
}


def draw(name: str, size: tuple[float, float], plot: Callable[[Canvas], None], alternative: str) -> str:
    """Draw one figure.

    Parameters
    ----------
    name
        Of this figure; no other on the page has it.
    size
        Width and height in inches; 7.4 inches are the width of the page.
    plot
        Draws on the empty figure it gets.
    alternative
        What the figure shows, for people who do not see it.

    Returns
    -------
    svg
        An ``svg`` element to put into the page.
    """
    import matplotlib
    from matplotlib.figure import Figure as Canvas

    with matplotlib.rc_context({**_STYLE, "svg.hashsalt": name}):
        canvas = Canvas(figsize=size, layout="constrained")
        plot(canvas)
        text = io.StringIO()
        canvas.savefig(text, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    return _for_the_page(text.getvalue(), name, alternative)


def _for_the_page(svg: str, name: str, alternative: str) -> str:
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<defs>\s*<style.*?</style>\s*</defs>", "", svg, count=1, flags=re.S)
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.S)
    svg = re.sub(r"<!--.*?-->", "", svg, flags=re.S)
    # Numbers of parts mean nothing on a page with several figures; what is referred to keeps a name of its own.
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    svg = re.sub(r'\bid="([^"]*)"', rf'id="{name}-\1"', svg)
    svg = re.sub(r'xlink:href="#([^"]*)"', rf'href="#{name}-\1"', svg)
    svg = re.sub(r"url\(#([^)]*)\)", rf"url(#{name}-\1)", svg)
    svg = re.sub(r"font-family: [^;\"]*", "font-family: var(--font, sans-serif)", svg)
    svg = re.sub("|".join(_NAMES), _colour, svg)
    svg = re.sub(r"\n\s*", "\n", svg)
    svg = re.sub(r"<[^>]*>", lambda tag: re.sub(r"(\.\d\d)\d+", r"\1", tag[0]), svg)
    svg = re.sub(r'(?:<use [^>]* style="([^"]*)"/>\n)(?:<use [^>]* style="\1"/>\n)+', _one_style, svg)
    width, height = re.findall(r'(?:width|height)="([\d.]+)pt"', svg)[:2]
    label = alternative.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
    head = f'<svg viewBox="0 0 {width} {height}" role="img" aria-label="{label}">'
    return head + svg[svg.index(">") + 1 :]


def _one_style(found: re.Match[str]) -> str:
    """Many equal marks have their style once, around them all."""
    return f'<g style="{found[1]}">\n' + found[0].replace(f' style="{found[1]}"', "") + "</g>\n"


def _colour(found: re.Match[str]) -> str:
    name, alone = _NAMES[found[0]]
    return f"var(--{name}, {alone})"


def spans(values: Floats) -> float:
    """How many times the smallest of some numbers the largest is; 0 if they are not all positive."""
    finite = [float(v) for v in values if v is not None]
    return max(finite) / min(finite) if finite and min(finite) > 0 else 0.0


def log_axis(axes: Axes, which: str, values: Floats, factor: float = 4.0) -> bool:
    """Make an axis logarithmic if its values are positive and span more than ``factor``, with plain numbers.

    Returns
    -------
    logarithmic
        Whether it is.
    """
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

    wide = spans(values)
    if wide <= factor:
        return False
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(LogLocator(subs=next(marks for limit, marks in _MARKS if wide < limit), numticks=99))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
    return True


_MARKS = (
    (3.0, (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)),
    (12.0, (1.0, 1.5, 2.0, 3.0, 4.0, 5.0, 7.0)),
    (300.0, (1.0, 2.0, 5.0)),
    (float("inf"), (1.0,)),
)
"""Marks in each decade of a logarithmic axis, for values that span less than so many times the smallest."""


def padded(values: Floats, share: float = 0.12) -> tuple[float, float]:
    """Limits of a logarithmic axis that leave some room on both sides."""
    low, high = float(min(values)), float(max(values))
    room = (high / low) ** share
    return low / room, high * room


def level(axes: Axes, value: float, text: str, side: str = "left") -> None:
    """Draw a vertical line at a limit, with its name at the top."""
    axes.axvline(value, color=INK, linewidth=0.9, dashes=(4, 3))
    axes.annotate(
        text,
        (value, 1.0),
        xycoords=("data", "axes fraction"),
        xytext=(-4 if side == "left" else 4, -2),
        textcoords="offset points",
        ha="right" if side == "left" else "left",
        va="top",
        fontsize=8,
        color=INK,
    )


def whole_numbers(axes: Axes, which: str = "x") -> None:
    """Ticks at whole numbers only: iterations and counts."""
    from matplotlib.ticker import MaxNLocator

    (axes.xaxis if which == "x" else axes.yaxis).set_major_locator(MaxNLocator(integer=True, nbins=8))


def points(axes: Axes, x: Floats, y: Floats, color: str = BLUE, size: float = 3.2, alpha: float = 0.35) -> None:
    """Many points, as light on the page as they can be."""
    axes.plot(x, y, "o", color=color, markersize=size, markeredgewidth=0, alpha=alpha)
