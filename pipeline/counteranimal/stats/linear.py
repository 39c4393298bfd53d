"""Figures over several groups at once (macro and micro accuracies and drops), with intervals that follow fold units everywhere.

Decides the linearised variance. A unit may have photos in both groups and in several classes; its whole contribution is taken
together, so what those photos have in common cancels or adds as it should.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from counteranimal.errors import UsageError
from counteranimal.stats.clusters import effective_sizes
from counteranimal.stats.intervals import combined, combined_p

__all__ = ["Contrast", "LinearFigure", "linear_figure", "linearise", "student_interval"]


class Contrast(NamedTuple):
    """Photos and the cells they fall into; the figure is the sum over cells of coefficient times weighted cell mean.

    `correct`, `weights`, `units`, `cells` have shape (n,); `coefficients` one number a cell, cells being 0, 1, ... without gaps.
    """

    correct: NDArray[np.float64]
    weights: NDArray[np.float64]
    units: NDArray[np.intp]
    cells: NDArray[np.intp]
    coefficients: NDArray[np.float64]


class LinearFigure(NamedTuple):
    """The figure, its interval, the one-sided p-value of "above 0", the fold units and effective photos behind it."""

    value: float
    low: float
    high: float
    p_value: float
    n_units: int
    n_effective: float


def linearise(contrast: Contrast, n_units: int) -> tuple[float, NDArray[np.float64]]:
    """Return the figure, and what each fold unit contributes to its error, shape (n_units,); the variance is the sum of squares.

    Taylor terms of the weighted cell means, those of a cell times sqrt(h / (h - 1)) for its h units: where all G units have photos
    in every cell that is G/(G-1) sum(u_g^2), and where cells hold few units it is what keeps their spread from being
    underestimated (Särndal, Swensson and Wretman 1992, 3.7 and 5.6). A cell of one unit shows no spread, and its own terms add up to
    0; there the distance to the mean over the cells of the same sign stands in (Lumley 2010, 2.2: single units "adjusted").

    Parameters
    ----------
    contrast : Contrast
        Every cell must hold a photo.
    n_units : int
        Units are 0 to `n_units` - 1; one without photos contributes 0.
    """
    correct, weights, units, cells, coefficients = contrast
    total = np.bincount(cells, weights)
    means = np.bincount(cells, weights * correct) / total
    inside = np.bincount(np.unique(cells * n_units + units) // n_units)
    single = inside == 1
    centre = np.where(single, _side_means(means, coefficients), means)
    # Single units are compared with each other, so there it is all units that are one too many.
    spread = np.where(single, np.unique(units).size, inside)
    factor = np.sqrt(spread / np.maximum(spread - 1, 1))
    influence = (coefficients * factor / total)[cells] * weights * (correct - centre[cells])
    by_unit: NDArray[np.float64] = np.bincount(units, influence, n_units).astype(np.float64)
    return float((coefficients * means).sum()), by_unit


def _side_means(means: NDArray[np.float64], coefficients: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return, for each cell, the mean over the cells whose coefficient has its sign, weighted as the figure weighs them."""
    sides = np.sign(coefficients)
    centre = np.zeros_like(means)
    for side in np.unique(sides[sides != 0]):
        here = sides == side
        centre[here] = np.average(means[here], weights=np.abs(coefficients[here]))
    return centre


def linear_figure(contrast: Contrast, *, correlation: float, level: float = 0.95) -> LinearFigure:
    """Return a combination of weighted group means with its cluster-robust interval.

    Taylor linearisation of ratio means, the ultimate-cluster variance over fold units (`linearise`), and Student's t with G-1
    degrees. With one unit the interval is the whole range. Where the
    variance is 0 because every cell is all right or all wrong, the Wilson intervals of the cells are combined instead: no
    finite sample is certain.

    Parameters
    ----------
    contrast : Contrast
        Every cell must hold a photo.
    correlation : float
        Intra-class correlation, for the effective sizes.

    Raises
    ------
    UsageError
        If a cell is empty.
    """
    correct, weights, units, cells, coefficients = contrast
    if coefficients.size == 0 or (np.bincount(cells, minlength=coefficients.size) == 0).any():
        raise UsageError("a figure over groups needs a photo in each of them; leave empty groups out")
    codes = np.unique(units, return_inverse=True)[1].reshape(-1)
    sizes = effective_sizes(weights, codes, cells, correlation)
    ceiling = float(np.abs(coefficients[coefficients > 0]).sum())
    floor = -float(np.abs(coefficients[coefficients < 0]).sum())
    n_units = int(codes.max()) + 1
    value, by_unit = linearise(contrast._replace(units=codes), n_units)
    if n_units == 1:
        return LinearFigure(value, floor, ceiling, 1.0, n_units, float(sizes.sum()))
    error = math.sqrt(float((by_unit**2).sum()))
    # Linearised terms of cells that are all right or all wrong vanish up to rounding.
    if error < 1e-12:
        means = np.bincount(cells, weights * correct) / np.bincount(cells, weights)
        accuracies = [float(mean) for mean in np.clip(means, 0.0, 1.0)]
        low, high = combined(accuracies, sizes.tolist(), coefficients.tolist(), level=level)
        p_value = combined_p(accuracies, sizes.tolist(), coefficients.tolist())
    else:
        low, high = student_interval(value, error, n_units - 1, level)
        p_value = _student_p(value, error, n_units - 1)
    return LinearFigure(value, max(low, floor), min(high, ceiling), p_value, n_units, float(sizes.sum()))


def student_interval(value: float, error: float, degrees: int, level: float) -> tuple[float, float]:
    """Return value less and plus Student's t times the standard error."""
    from scipy.special import stdtrit

    reach = float(stdtrit(degrees, 0.5 + level / 2.0)) * error
    return value - reach, value + reach


def _student_p(value: float, error: float, degrees: int) -> float:
    from scipy.special import stdtr

    return float(stdtr(degrees, -value / error)) if value > 0.0 else 1.0
