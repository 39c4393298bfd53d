"""Intervals of one accuracy and of differences of accuracies, from an accuracy and a sample size that may be fractional.

Decides Wilson's interval, Newcombe's hybrid of two of them, and the p-value that belongs to the latter. Where the effective
sample size comes from is left to `clusters`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import NamedTuple

from counteranimal.errors import UsageError

__all__ = ["Interval", "combined", "combined_p", "newcombe", "newcombe_p", "wilson"]

_LARGEST_Z = 37.0  # beyond it the one-sided p-value is below the smallest double


class Interval(NamedTuple):
    """The two ends of an interval, on the scale of the figure they belong to."""

    low: float
    high: float


def _wilson_at(accuracy: float, n: float, z: float) -> Interval:
    if not (0.0 <= accuracy <= 1.0 and n > 0.0):
        raise UsageError(
            f"an interval needs an accuracy from 0 to 1 and photos behind it, got {accuracy} over {n}; skip empty groups"
        )
    shrink = 1.0 + z * z / n
    centre = (accuracy + z * z / (2.0 * n)) / shrink
    half = z / shrink * math.sqrt(accuracy * (1.0 - accuracy) / n + z * z / (4.0 * n * n))
    # The formula gives these ends exactly; floating point would leave them a hair inside.
    low = 0.0 if accuracy == 0.0 else max(0.0, centre - half)
    high = 1.0 if accuracy == 1.0 else min(1.0, centre + half)
    return Interval(low, high)


def wilson(accuracy: float, n: float, *, level: float = 0.95) -> Interval:
    """Return the score interval of a proportion (Wilson 1927, without continuity correction).

    Parameters
    ----------
    accuracy : float
        Fraction from 0 to 1, weighted where photos have weights.
    n : float
        Effective number of photos, above 0; need not be whole.
    level : float
        Two-sided coverage, 0.95 by default.

    Raises
    ------
    UsageError
        If the accuracy is outside 0 to 1 or `n` is not positive.

    Examples
    --------
    >>> [round(end, 4) for end in wilson(0.80, 100)]
    [0.7112, 0.8666]
    """
    return _wilson_at(accuracy, n, _two_sided_z(level))


def newcombe(first: float, n_first: float, second: float, n_second: float, *, level: float = 0.95) -> Interval:
    """Return the interval of `first - second` for two independent groups (Newcombe 1998, method 10).

    Parameters are the two accuracies (fractions) and their effective sizes.

    Examples
    --------
    >>> [round(end, 4) for end in newcombe(0.80, 100, 0.60, 100)]
    [0.0731, 0.3185]
    """
    return combined([first, second], [n_first, n_second], [1.0, -1.0], level=level)


def newcombe_p(first: float, n_first: float, second: float, n_second: float) -> float:
    """Return the one-sided p-value of `first > second`: the level at which Newcombe's lower bound reaches 0.

    1 if the difference is 0 or negative.
    """
    return combined_p([first, second], [n_first, n_second], [1.0, -1.0])


def combined(
    accuracies: Sequence[float], sizes: Sequence[float], coefficients: Sequence[float], *, level: float = 0.95
) -> Interval:
    """Return the interval of a linear combination of independent accuracies from their Wilson intervals.

    Each accuracy's distance to the end of its own interval stands in for its standard error (Zou and Donner 2008, "method of
    variance estimates recovery"); with coefficients 1 and -1 this is Newcombe's interval.

    Parameters
    ----------
    accuracies, sizes, coefficients : sequences of float, equal lengths
        Fractions, effective sizes and the factor of each.
    """
    return _combined_at(accuracies, sizes, coefficients, _two_sided_z(level))


def combined_p(accuracies: Sequence[float], sizes: Sequence[float], coefficients: Sequence[float]) -> float:
    """Return the one-sided level at which the lower bound of `combined` reaches 0; 1 if the value is not positive."""
    value = sum(factor * accuracy for factor, accuracy in zip(coefficients, accuracies, strict=True))
    if value <= 0.0:
        return 1.0
    low, high = 0.0, _LARGEST_Z
    if _combined_at(accuracies, sizes, coefficients, high).low > 0.0:
        return _upper_tail(high)
    # The bound falls as z grows, so halving finds the crossing; 80 halvings exhaust double precision.
    for _ in range(80):
        middle = (low + high) / 2.0
        if _combined_at(accuracies, sizes, coefficients, middle).low > 0.0:
            low = middle
        else:
            high = middle
    return _upper_tail(high)


def _combined_at(
    accuracies: Sequence[float], sizes: Sequence[float], coefficients: Sequence[float], z: float
) -> Interval:
    value = below = above = 0.0
    for accuracy, size, factor in zip(accuracies, sizes, coefficients, strict=True):
        low, high = _wilson_at(accuracy, size, z)
        down, up = (accuracy - low, high - accuracy) if factor > 0 else (high - accuracy, accuracy - low)
        value += factor * accuracy
        below += (factor * down) ** 2
        above += (factor * up) ** 2
    return Interval(value - math.sqrt(below), value + math.sqrt(above))


def _two_sided_z(level: float) -> float:
    if not 0.0 < level < 1.0:
        raise UsageError(f"a level lies between 0 and 1, got {level}; 0.95 is usual")
    return NormalDist().inv_cdf(0.5 + level / 2.0)


def _upper_tail(z: float) -> float:
    return math.erfc(z / math.sqrt(2.0)) / 2.0
