"""The few SVG elements that the plots are made of: every text escaped, every number carrying its place in `report.json`.

Decides spelling and escaping only. Colours come from the page's style sheet by class, so that plots follow light and dark.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from counteranimal.report.formats import number_text

__all__ = ["Axis", "Number", "document", "line", "number", "rect", "runs", "span_of", "text"]


@dataclass(frozen=True, slots=True)
class Number:
    """A value, how it is spelled, and the JSON pointer it came from."""

    value: float | None
    style: str
    pointer: str

    def __str__(self) -> str:
        return number_text(self.value, self.style)


@dataclass(frozen=True, slots=True)
class Axis:
    """A linear axis from `low` to `high` (data) over `left` to `right` (pixels)."""

    low: float
    high: float
    left: float
    right: float

    def at(self, value: float) -> float:
        """Return the pixel of a value, kept inside the axis."""
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return round(self.left + share * (self.right - self.left), 1)

    def ticks(self) -> list[float]:
        """Return four to ten round values inside the axis."""
        span = self.high - self.low
        step = next(s for s in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, math.inf) if span / s <= 8)
        first = math.ceil(round(self.low / step, 6))
        last = math.floor(round(self.high / step, 6))
        return [round(i * step, 6) for i in range(first, last + 1)]


def span_of(values: Sequence[float], *, step: float, bounds: tuple[float, float]) -> tuple[float, float]:
    """Return the smallest range in whole steps that holds all values, at least one step wide, inside `bounds`."""
    low = max(bounds[0], math.floor(round(min(values) / step, 6)) * step)
    high = min(bounds[1], math.ceil(round(max(values) / step, 6)) * step)
    if high - low < step:
        low, high = max(bounds[0], high - step), min(bounds[1], low + step)
    return round(low, 6), round(high, 6)


def text(x: float, y: float, content: str, *, cls: str = "", anchor: str = "start") -> str:
    """Return a text element; `content` is escaped."""
    return f'<text x="{x:g}" y="{y:g}" class="{cls}" text-anchor="{anchor}">{escape(content)}</text>'


def runs(x: float, y: float, content: Sequence[str | Number], *, cls: str = "", anchor: str = "end") -> str:
    """Return a text element made of words and of numbers of the document, set as one line."""
    inner = "".join(_span(item) if isinstance(item, Number) else escape(item) for item in content)
    return f'<text x="{x:g}" y="{y:g}" class="{cls}" text-anchor="{anchor}">{inner}</text>'


def number(x: float, y: float, value: Number, *, cls: str = "", anchor: str = "end") -> str:
    """Return a text element with one number of the document."""
    return runs(x, y, [value], cls=f"number {cls}", anchor=anchor)


def _span(value: Number) -> str:
    return f'<tspan data-json="{escape(value.pointer)}" data-style="{value.style}">{escape(str(value))}</tspan>'


def line(x1: float, y1: float, x2: float, y2: float, cls: str) -> str:
    """Return a line element."""
    return f'<line x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}" class="{cls}"/>'


def rect(x: float, y: float, size: tuple[float, float], cls: str, *, radius: float = 0) -> str:
    """Return a rectangle of `size` (width, height)."""
    return f'<rect x="{x:g}" y="{y:g}" width="{max(size[0], 0):g}" height="{size[1]:g}" rx="{radius:g}" class="{cls}"/>'


def document(body: Sequence[str], *, size: tuple[float, float], title: str, description: str) -> str:
    """Return a whole SVG element that scales with the page and reads itself aloud as title and description."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size[0]:g} {size[1]:g}" role="img" '
        f'aria-label="{escape(title)}. {escape(description)}"><title>{escape(title)}</title>{"".join(body)}</svg>'
    )
