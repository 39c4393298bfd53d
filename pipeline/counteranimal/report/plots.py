"""The plots of the report, as SVG text made by pure functions of numbers.

Decides how figures are drawn: point and 95 % interval, common as a filled circle and counter as a square, so that neither
colour nor a script is needed to read them. Leaves which numbers are drawn to the page.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from counteranimal.report.formats import number_text
from counteranimal.report.svg import Axis, Number, document, line, number, rect, runs, span_of, text

__all__ = ["Bar", "Estimate", "Gap", "Part", "Point", "bars", "drops", "dumbbells", "flow", "scatter"]

WIDTH = 580
LABELS = 168
# Room for two columns of figures, with a gap for a mark that sits at the very end of the axis.
VALUES = 148
# The tiles and the terminal call a stored photo kept.
STATE_WORDS = {"stored": "kept"}
ROW = 46
HEAD = 34


@dataclass(frozen=True, slots=True)
class Estimate:
    """One figure: fractions with their 95 % interval, and the number of photos under it."""

    value: Number
    low: Number
    high: Number
    n: Number

    def known(self) -> list[float]:
        """Return the numbers that are there."""
        return [item.value for item in (self.value, self.low, self.high) if item.value is not None]


@dataclass(frozen=True, slots=True)
class Gap:
    """One row: a label (with its sign, if any), small print, and common, counter and drop where they are known."""

    label: str
    sublabel: str = ""
    sign: str = ""
    common: Estimate | None = None
    counter: Estimate | None = None
    drop: Estimate | None = None


@dataclass(frozen=True, slots=True)
class Bar:
    """One bar of a bar chart."""

    label: str
    n: Number


@dataclass(frozen=True, slots=True)
class Part:
    """One segment of the flow: a state (also its CSS class) and its count."""

    name: str
    n: Number


@dataclass(frozen=True, slots=True)
class Point:
    """One model of a scatter plot: label, sign, and the logits of its accuracies on common and counter."""

    label: str
    sign: str
    logits: tuple[float, float]
    draws_line: bool


def _cut(words: str, limit: int) -> str:
    return words if len(words) <= limit else words[: limit - 1] + "…"


def _label(row: Gap, y: float) -> list[str]:
    limit = 20 if row.sign else 22
    return [
        text(0, y + 1, f"{row.sign} {_cut(row.label, limit)}".strip(), cls="label"),
        text(0, y + 15, _cut(row.sublabel, 26), cls="small"),
    ]


def _frame(axis: Axis, rows: int, caption: str, style: str) -> list[str]:
    bottom = HEAD + rows * ROW
    parts = [line(axis.at(tick), HEAD - 6, axis.at(tick), bottom, "grid") for tick in axis.ticks()]
    parts += [
        text(axis.at(tick), bottom + 16, number_text(tick, style).removesuffix(".0"), cls="tick", anchor="middle")
        for tick in axis.ticks()
    ]
    return [*parts, text(axis.left, bottom + 34, caption, cls="tick")]


def _mark(axis: Axis, y: float, estimate: Estimate | None, shape: str) -> list[str]:
    if estimate is None or estimate.value.value is None:
        return []
    parts = []
    if estimate.low.value is not None and estimate.high.value is not None:
        left, right = axis.at(estimate.low.value), axis.at(estimate.high.value)
        parts.append(rect(left, y - 5, (right - left, 10), f"interval {shape}", radius=5))
    x = axis.at(estimate.value.value)
    if shape == "counter":
        parts.append(rect(x - 5, y - 5, (10, 10), "point counter", radius=1.5))
    else:
        parts.append(f'<circle cx="{x:g}" cy="{y:g}" r="5.5" class="point {shape}"/>')
    return parts


def dumbbells(rows: Sequence[Gap], *, title: str) -> str:
    """Return accuracy on common and counter backgrounds, one row a model, joined by a line; empty text without rows."""
    known = [value for row in rows for item in (row.common, row.counter) if item for value in item.known()]
    if not known:
        return ""
    axis = Axis(*span_of(known, step=0.1, bounds=(0.0, 1.0)), LABELS, WIDTH - VALUES)
    body = [
        text(WIDTH - 72, HEAD - 14, "● common", cls="head common", anchor="end"),
        text(WIDTH, HEAD - 14, "■ counter", cls="head counter", anchor="end"),
        *_frame(axis, len(rows), "accuracy in %, with 95 % intervals", "bare"),
    ]
    for position, row in enumerate(rows):
        y = HEAD + position * ROW + ROW / 2
        body += _label(row, y)
        if row.common and row.counter and row.common.value.value is not None and row.counter.value.value is not None:
            body.append(line(axis.at(row.counter.value.value), y, axis.at(row.common.value.value), y, "bond"))
        body += _mark(axis, y, row.common, "common") + _mark(axis, y, row.counter, "counter")
        for right, item, shape in ((WIDTH - 72, row.common, "common"), (WIDTH, row.counter, "counter")):
            body += _value_and_n(right, y, item, shape)
    height = HEAD + len(rows) * ROW + 42
    return document(body, size=(WIDTH, height), title=title, description="The table beside it has the same numbers.")


def _value_and_n(right: float, y: float, item: Estimate | None, shape: str) -> list[str]:
    if item is None:
        return [text(right, y + 1, "–", cls="small", anchor="end")]
    return [
        number(right, y + 1, item.value, cls=shape),
        runs(right, y + 15, ["n ", item.n], cls="small"),
    ]


def drops(rows: Sequence[Gap], *, title: str, caption: str = "drop in percentage points, with 95 % intervals") -> str:
    """Return the drop of every row with its interval around a line at zero; empty text without rows."""
    known = [value for row in rows if row.drop for value in row.drop.known()]
    if not known:
        return ""
    axis = Axis(*span_of([0.0, *known], step=0.05, bounds=(-1.0, 1.0)), LABELS, WIDTH - VALUES)
    bottom = HEAD + len(rows) * ROW
    body = [
        text(WIDTH, HEAD - 14, "drop, 95 % interval", cls="head", anchor="end"),
        *_frame(axis, len(rows), caption, "points"),
        line(axis.at(0), HEAD - 6, axis.at(0), bottom, "zero"),
    ]
    for position, row in enumerate(rows):
        y = HEAD + position * ROW + ROW / 2
        body += [*_label(row, y), *_mark(axis, y, row.drop, "drop")]
        if row.drop is None:
            body.append(text(WIDTH, y + 1, "–", cls="small", anchor="end"))
            continue
        body += [
            number(WIDTH, y + 1, row.drop.value, cls="strong"),
            runs(WIDTH, y + 15, ["[", row.drop.low, " to ", row.drop.high, "]"], cls="small"),
        ]
    return document(
        body, size=(WIDTH, bottom + 42), title=title, description="Right of the zero line, counter is harder."
    )


def bars(rows: Sequence[Bar], *, title: str) -> str:
    """Return counts as horizontal bars, in the order given; empty text without rows."""
    if not rows:
        return ""
    top = max(bar.n.value or 0 for bar in rows) or 1
    left, right, step = 110, WIDTH - 60, 26
    body = []
    for position, bar in enumerate(rows):
        y = position * step
        width = (right - left) * (bar.n.value or 0) / top
        body += [
            text(left - 10, y + 17, _cut(bar.label, 16), cls="label", anchor="end"),
            rect(left, y + 5, (round(width, 1), 16), "bar", radius=2),
            number(left + round(width, 1) + 6, y + 17, bar.n, anchor="start"),
        ]
    description = "Verified photos, most frequent background first."
    return document(body, size=(WIDTH, len(rows) * step + 4), title=title, description=description)


def flow(parts: Sequence[Part], *, title: str) -> str:
    """Return one bar cut into the states that candidates are in, with a legend; states without candidates are left out.

    Empty text where there is no candidate at all.
    """
    shown = [part for part in parts if part.n.value]
    total = sum(part.n.value or 0 for part in shown)
    if not total:
        return ""
    body, x = [], 0.0
    for part in shown:
        width = WIDTH * (part.n.value or 0) / total
        body.append(rect(round(x, 1), 0, (round(max(width - 2, 1.5), 1), 34), f"state {part.name}", radius=3))
        x += width
    column = WIDTH / 4
    for position, part in enumerate(shown):
        left, y = column * (position % 4), 62 + 26 * (position // 4)
        body += [
            rect(left, y - 10, (11, 11), f"state {part.name}", radius=2),
            text(left + 18, y, STATE_WORDS.get(part.name, part.name), cls="label"),
            number(left + column - 24, y, part.n),
        ]
    height = 62 + 26 * ((len(shown) - 1) // 4) + 10
    description = "Every candidate is in exactly one state."
    return document(body, size=(WIDTH, height), title=title, description=description)


_ACCURACIES = (0.01, 0.02, 0.05, *(tenth / 10 for tenth in range(1, 10)), 0.95, 0.98, 0.99)
_LABELLED = 24  # beyond so many, models that draw the line are points without a label
_LABEL_STEP = 15


def scatter(points: Sequence[Point], line_through: tuple[float, float], *, title: str) -> str:
    """Return counter against common accuracy on logit axes, with the line (intercept, slope) and the diagonal of no drop.

    Models that draw the line are circles, others squares; labels stand in a column beside the plot, in the order of their
    points. Empty text without points.
    """
    if not points:
        return ""
    named = [point for point in points if len(points) <= _LABELLED or not point.draws_line]
    bottom = max(400, HEAD + _LABEL_STEP * len(named))
    x, y = (
        Axis(min(ends) - 0.2, max(ends) + 0.2, *pixels)
        for ends, pixels in (
            ([point.logits[0] for point in points], (44.0, WIDTH - 190.0)),
            ([point.logits[1] for point in points], (float(bottom), 16.0)),
        )
    )
    body = [*_logit_frame(x, y), *_lines(x, y, line_through)]
    named.sort(key=lambda point: -point.logits[1])
    for point, height in zip(named, _apart([y.at(point.logits[1]) for point in named], float(bottom)), strict=True):
        body += [
            line(x.at(point.logits[0]), y.at(point.logits[1]), WIDTH - 180, height, "leader"),
            text(WIDTH - 176, height + 4, f"{point.sign} {_cut(point.label, 24)}".strip(), cls="small"),
        ]
    body += [_point(x.at(point.logits[0]), y.at(point.logits[1]), point) for point in points]
    return document(body, size=(WIDTH, bottom + 46), title=title, description="The table beside it has the distances.")


def _apart(wanted: Sequence[float], bottom: float) -> list[float]:
    """Return ascending heights a label's step apart, each as near above what is wanted as those below it leave room for."""
    placed: list[float] = []
    for height in wanted:
        placed.append(max(height, placed[-1] + _LABEL_STEP) if placed else height)
    limit = bottom
    for position in range(len(placed) - 1, -1, -1):
        placed[position] = min(placed[position], limit)
        limit = placed[position] - _LABEL_STEP
    return placed


def _point(x: float, y: float, point: Point) -> str:
    if point.draws_line:
        return f'<circle cx="{x:g}" cy="{y:g}" r="5" class="point drop"/>'
    return rect(x - 5, y - 5, (10, 10), "point other", radius=1.5)


def _logit_frame(x: Axis, y: Axis) -> list[str]:
    parts = []
    for value in _ACCURACIES:
        at, words = math.log(value / (1 - value)), number_text(value, "bare").removesuffix(".0")
        if x.low <= at <= x.high:
            parts.append(line(x.at(at), y.left, x.at(at), y.right, "grid"))
            parts.append(text(x.at(at), y.left + 16, words, cls="tick", anchor="middle"))
        if y.low <= at <= y.high:
            parts.append(line(x.left, y.at(at), x.right, y.at(at), "grid"))
            parts.append(text(x.left - 6, y.at(at) + 4, words, cls="tick", anchor="end"))
    caption = "accuracy on common (across) and counter (up) in %, logit scales; dashed: no drop"
    return [*parts, text(x.left, y.left + 34, caption, cls="tick")]


def _lines(x: Axis, y: Axis, fit: tuple[float, float]) -> list[str]:
    """Return the fitted line and the diagonal, cut off where they leave the plot."""
    parts = []
    for (intercept, slope), cls in (((0.0, 1.0), "same"), (fit, "fit")):
        low, high = x.low, x.high
        if slope:
            ends = sorted(((y.low - intercept) / slope, (y.high - intercept) / slope))
            low, high = max(low, ends[0]), min(high, ends[1])
        if low < high:
            parts.append(
                line(x.at(low), y.at(intercept + slope * low), x.at(high), y.at(intercept + slope * high), cls)
            )
    return parts
