"""Plots are well-formed, escape what they are given, and draw nothing where there is nothing."""

from __future__ import annotations

import itertools
from xml.etree import ElementTree as ET

import pytest

from counteranimal.report import plots
from counteranimal.report.svg import Axis, Number, span_of

HOSTILE = '<script>&"'


def estimate(value: float | None, low: float | None = None, high: float | None = None) -> plots.Estimate:
    points = [Number(item, "percent", f"/{name}") for name, item in (("value", value), ("low", low), ("high", high))]
    return plots.Estimate(*points, Number(40, "count", "/n"))


def gap(label: str = "model") -> plots.Gap:
    return plots.Gap(label, "small", "◆", estimate(0.9, 0.8, 0.95), estimate(0.6, 0.5, 0.7), estimate(0.3, 0.2, 0.4))


@pytest.mark.parametrize("draw", [plots.dumbbells, plots.drops])
def test_a_plot_is_well_formed_and_escapes_its_labels(draw) -> None:
    """Text that looks like markup stays text; the SVG parses."""
    root = ET.fromstring(draw([gap(HOSTILE)], title=HOSTILE))  # noqa: S314 - our own output
    assert root.find(".//{*}script") is None
    assert any(HOSTILE in (node.text or "") for node in root.iter())


def test_empty_input_draws_nothing() -> None:
    """No rows, no candidates: no plot."""
    assert plots.dumbbells([], title="") == plots.drops([], title="") == plots.bars([], title="") == ""
    assert plots.flow([plots.Part("stored", Number(0, "count", "/n"))], title="") == ""


def test_a_missing_figure_is_a_dash_not_a_zero() -> None:
    """A row without a drop shows a dash and no point."""
    text = plots.drops([gap(), plots.Gap("other")], title="")
    assert text.count('class="point drop"') == 1
    assert ">–<" in text


def test_points_stand_where_their_values_are() -> None:
    """A point's place on the axis is proportional to its value."""
    axis = Axis(0.0, 1.0, 100, 300)
    assert (axis.at(0.0), axis.at(0.25), axis.at(1.0)) == (100, 150, 300)


@pytest.mark.parametrize(
    ("values", "span"), [([0.61, 0.83], (0.6, 0.9)), ([1.0, 1.0], (0.9, 1.0)), ([0.0], (0.0, 0.1))]
)
def test_an_axis_holds_all_its_values_in_whole_steps(values: list[float], span: tuple[float, float]) -> None:
    """The range is rounded outwards and never empty."""
    assert span_of(values, step=0.1, bounds=(0.0, 1.0)) == span


def test_the_flow_is_as_long_as_its_counts() -> None:
    """Segment widths are in proportion to the candidates in each state, and empty states are left out."""
    parts = [plots.Part(name, Number(n, "count", "/n")) for name, n in (("stored", 30), ("failed", 10), ("pending", 0))]
    root = ET.fromstring(plots.flow(parts, title="flow"))  # noqa: S314 - our own output
    wide = [float(node.get("width", 0)) for node in root.iter() if node.get("height") == "34"]
    assert len(wide) == 2
    assert wide[0] / wide[1] == pytest.approx(3, rel=0.02)


def points(number: int, label: str = "model") -> list[plots.Point]:
    return [
        plots.Point(f"{label} {n}", "◆" if n == 0 else "", (0.1 * n, 0.08 * n - 0.5), draws_line=n > 1)
        for n in range(number)
    ]


def test_a_scatter_shows_who_draws_the_line_and_who_does_not() -> None:
    """Circles draw the line, squares do not; line and diagonal are inside, every model has its label, and markup stays text."""
    root = ET.fromstring(plots.scatter(points(6, HOSTILE), (-0.5, 0.8), title=HOSTILE))  # noqa: S314 - our own output
    drawn = [node.get("class") for node in root.iter()]
    assert (drawn.count("point drop"), drawn.count("point other"), drawn.count("fit"), drawn.count("same")) == (
        4,
        2,
        1,
        1,
    )
    words = [node.text or "" for node in root.iter() if node.get("class") == "small"]
    assert len(words) == 6
    assert sum(word.startswith("◆ ") for word in words) == 1
    assert root.find(".//{*}script") is None


def test_a_models_point_lies_on_the_line_that_goes_through_it() -> None:
    """The fitted line passes through the pixels of a point on it, on both logit axes."""
    through = [plots.Point("on", "", (x, 0.8 * x - 0.5), draws_line=True) for x in (0.0, 1.0, 2.0)]
    root = ET.fromstring(plots.scatter(through, (-0.5, 0.8), title=""))  # noqa: S314 - our own output
    [fit] = [
        {key: float(node.get(key, 0)) for key in ("x1", "y1", "x2", "y2")}
        for node in root.iter()
        if node.get("class") == "fit"
    ]
    for node in root.iter():
        if node.get("class") == "point drop":
            share = (float(node.get("cx", 0)) - fit["x1"]) / (fit["x2"] - fit["x1"])
            assert float(node.get("cy", 0)) == pytest.approx(fit["y1"] + share * (fit["y2"] - fit["y1"]), abs=0.5)


def test_many_models_leave_labels_to_those_off_the_line() -> None:
    """With 40 models only the two that do not draw the line are labelled, and labels never lie on each other."""
    root = ET.fromstring(plots.scatter(points(40), (-0.5, 0.8), title=""))  # noqa: S314 - our own output
    assert len([node for node in root.iter() if node.get("class") == "small"]) == 2
    close = [plots.Point(f"m{n}", "", (0.0, 0.001 * n), draws_line=True) for n in range(9)]
    root = ET.fromstring(plots.scatter(close, (0.0, 1.0), title=""))  # noqa: S314 - our own output
    heights = sorted(float(node.get("y", 0)) for node in root.iter() if node.get("class") == "small")
    assert all(upper - lower >= 14 for lower, upper in itertools.pairwise(heights))


def test_no_models_draw_no_scatter() -> None:
    """Nothing to show, nothing drawn."""
    assert plots.scatter([], (0.0, 1.0), title="") == ""
