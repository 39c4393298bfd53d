"""Plots are well-formed, escape what they are given, and draw nothing where there is nothing."""

from __future__ import annotations

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
