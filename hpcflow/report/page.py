"""The page: what a report is made of, and how it becomes one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

Cell: TypeAlias = "str | Bar"


@dataclass
class Bar:
    """A table cell that shows fractions as parts of a bar; what is missing to one stays empty."""

    parts: Sequence[tuple[float, str]]
    """Fractions, each with the name of its colour: ``good``, ``middle``, ``bad`` or ``plain``."""
    text: str = ""


@dataclass
class Table:
    """Rows of cells. ``align`` has a letter for each column: ``l`` for words, ``r`` for numbers."""

    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    align: str
    caption: str
    folded: str = ""
    """What a reader opens to see it, where it is long."""
    kind: str = "table"


@dataclass
class Figure:
    """A drawing (SVG) and the sentence below it."""

    svg: str
    caption: str
    kind: str = "figure"


@dataclass
class Text:
    """A paragraph. Line breaks in it are kept."""

    text: str
    kind: str = "text"


Block: TypeAlias = "Table | Figure | Text"


@dataclass
class Section:
    """A heading with what stands under it."""

    title: str
    blocks: list[Block]

    @property
    def anchor(self) -> str:
        return "".join(c if c.isalnum() else "-" for c in self.title.lower())


@dataclass
class Tile:
    """One number that matters, at the top of the page."""

    value: str
    unit: str
    label: str
    tone: str = ""
    """``good``, ``bad`` or nothing."""


@dataclass
class Page:
    """The whole report."""

    title: str
    lead: str
    facts: list[tuple[str, str]]
    tiles: list[Tile]
    sections: list[Section]
    notes: list[str] = field(default_factory=list)
    """What could not be shown, and why."""


def render(page: Page) -> str:
    """Return the page as HTML in which style and figures are included."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    here = Path(__file__).parent
    environment = Environment(
        loader=FileSystemLoader(here),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    style = (here / "page.css").read_text("utf-8")
    return environment.get_template("page.html.j2").render(page=page, style=style)
