"""Effective robustness: how far a model's accuracy on the counter group lies above the line that other models follow.

Decides the line, its scale and the interval of a distance from it. Which models draw the line is left to the caller.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from counteranimal.errors import UsageError
from counteranimal.stats.linear import student_interval

__all__ = ["Accuracies", "Line", "Robustness", "draw_line", "effective_robustness", "smoothed_logit"]

_SAME = 1e-9  # accuracies closer than this on the logit scale are one accuracy


class Accuracies(NamedTuple):
    """Accuracies of M models on the same photos of two groups, and what each of G fold units contributes to their errors.

    `common`, `counter` have shape (M,), fractions; `contributions` shape (2, M, G), common first, as `stats.linearise` returns
    them, 0 for accuracies that are taken as given; `n_common`, `n_counter` count photos; `n_units` the fold units that
    have photos in either group.
    """

    common: NDArray[np.float64]
    counter: NDArray[np.float64]
    contributions: NDArray[np.float64]
    n_common: int
    n_counter: int
    n_units: int


class Line(NamedTuple):
    """logit(counter) = intercept + slope * logit(common); `spread` is the residual standard deviation, on M - 2 degrees."""

    intercept: float
    slope: float
    spread: float


class Robustness(NamedTuple):
    """One model's distance from the line, as a fraction; both ends are None where the photos cannot tell."""

    value: float
    low: float | None
    high: float | None


def smoothed_logit(accuracy: NDArray[np.float64], n: int) -> NDArray[np.float64]:
    """Return the logit of (k + 1/2) / (n + 1) with k = n * accuracy, finite also where all or none are right.

    Examples
    --------
    >>> smoothed_logit(np.array([0.0, 0.5, 1.0]), 10).round(3).tolist()
    [-3.045, 0.0, 3.045]
    """
    right = n * np.asarray(accuracy, dtype=np.float64)
    return np.asarray(np.log((right + 0.5) / (n - right + 0.5)))


def draw_line(common: NDArray[np.float64], counter: NDArray[np.float64]) -> Line:
    """Return the least-squares line of logit counter accuracies on logit common accuracies (Taori et al. 2020, 3.2).

    Parameters
    ----------
    common, counter : arrays of shape (M,), M at least 3
        Logits of the models that draw the line.

    Raises
    ------
    UsageError
        If there are fewer than three models, or all have the same accuracy on the common group.
    """
    if common.size < 3:
        raise UsageError(f"{common.size} models draw no line; evaluate at least three")
    if float(np.ptp(common)) < _SAME:
        raise UsageError("the models that draw the line all have the same accuracy on the common group; add others")
    centred = common - common.mean()
    slope = float(centred @ counter / (centred @ centred))
    intercept = float(counter.mean() - slope * common.mean())
    residuals = counter - intercept - slope * common
    return Line(intercept, slope, math.sqrt(float(residuals @ residuals) / (common.size - 2)))


def effective_robustness(
    given: Accuracies, drawing: NDArray[np.bool_], *, level: float = 0.95
) -> tuple[Line, list[Robustness]]:
    """Return the line through the drawing models, and every model's counter accuracy less what the line expects of it.

    Both accuracies enter as (k + 1/2) / (n + 1). The interval is that of the photos: Taylor linearisation of the whole estimate,
    the line included, the variance G/(G-1) sum(u_g^2) over fold units and Student's t with G-1 degrees, as for `linear_figure`.
    That other models would have drawn another line is not in it; `Line.spread` tells how closely they follow it.

    Parameters
    ----------
    drawing : array of shape (M,), bool
        The models that draw the line.

    Raises
    ------
    UsageError
        If the drawing models draw no line.
    """
    sizes = (given.n_common, given.n_counter)
    x, y = (smoothed_logit(part, n) for part, n in zip((given.common, given.counter), sizes, strict=True))
    line = draw_line(x[drawing], y[drawing])
    observed, expected = _inverse(y), _inverse(line.intercept + line.slope * x)
    # What each unit adds to every model's logits, shape (M, G): the derivative of the logit is 1 / (p (1 - p) (n + 1) / n).
    moved_x, moved_y = (
        part * (n / (n + 1) / (smooth * (1.0 - smooth)))[:, None]
        for part, n, smooth in zip(given.contributions, sizes, (_inverse(x), observed), strict=True)
    )
    moved_intercept, moved_slope = _moved_line(x[drawing], line, y[drawing], (moved_x[drawing], moved_y[drawing]))
    moved_height = moved_intercept + x[:, None] * moved_slope + line.slope * moved_x
    moved = (observed * (1.0 - observed))[:, None] * moved_y - (expected * (1.0 - expected))[:, None] * moved_height
    return line, [
        _measured(float(value), by_unit, given.n_units, level)
        for value, by_unit in zip(observed - expected, moved, strict=True)
    ]


def _inverse(logit: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(1.0 / (1.0 + np.exp(-logit)))


def _moved_line(
    x: NDArray[np.float64], line: Line, y: NDArray[np.float64], moved: tuple[NDArray[np.float64], NDArray[np.float64]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what each unit adds to intercept and slope, both of shape (G,)."""
    centred, residual = x - x.mean(), y - line.intercept - line.slope * x
    # d slope / d y_i = c_i / S and d slope / d x_i = (r_i - slope c_i) / S, with S the sum of c_i^2 and r_i the residuals.
    slope = (centred @ moved[1] + (residual - line.slope * centred) @ moved[0]) / float(centred @ centred)
    intercept = moved[1].mean(axis=0) - line.slope * moved[0].mean(axis=0) - x.mean() * slope
    return intercept, slope


def _measured(value: float, by_unit: NDArray[np.float64], n_units: int, level: float) -> Robustness:
    squares = float(by_unit @ by_unit)
    # No unit tells, or none can contradict another: an interval of width 0 would claim certainty.
    if n_units < 2 or squares < 1e-24:
        return Robustness(value, None, None)
    low, high = student_interval(value, math.sqrt(squares), n_units - 1, level)
    return Robustness(value, max(low, -1.0), min(high, 1.0))
