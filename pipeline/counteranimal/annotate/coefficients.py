"""Krippendorff's alpha for nominal values, with a bootstrap interval over photos.

Decides the estimator only. Source: K. Krippendorff, *Content Analysis* (4th edition), chapter 12, the coincidence-matrix form for
any number of observers and missing values: alpha = 1 - (n - 1) (n - A) / (n² - Σ n_c²), A the agreeing pairs weighted 1/(m_u - 1).
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence

import numpy as np
import numpy.typing as npt

__all__ = ["alpha", "alpha_interval", "count_values", "positive_agreement", "raw_agreement"]

Counts = npt.NDArray[np.int64]


def count_values(units: Iterable[Sequence[Hashable]]) -> Counts:
    """Return how often each value stands in each unit, shape (units with at least two values, values).

    Units with fewer than two values say nothing about agreement and are left out.

    Examples
    --------
    >>> count_values([["a", "a"], ["a", "b"], ["c"]]).tolist()
    [[2, 0], [1, 1]]
    """
    pairable = [list(unit) for unit in units if len(unit) >= 2]
    column = {value: index for index, value in enumerate(sorted({v for unit in pairable for v in unit}, key=str))}
    counts = np.zeros((len(pairable), len(column)), dtype=np.int64)
    for row, unit in enumerate(pairable):
        for value in unit:
            counts[row, column[value]] += 1
    return counts


def alpha(counts: Counts) -> float:
    """Return alpha of a (units, values) count matrix; NaN where it is undefined (no pairs, or one value throughout)."""
    return float(_alpha_of_sums(_sums(counts).sum(axis=0)[np.newaxis])[0]) if counts.size else float("nan")


def alpha_interval(
    counts: Counts, *, rng: np.random.Generator, draws: int = 1000, level: float = 0.95
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of alpha over photos; NaN twice where alpha is undefined.

    Photos are drawn with replacement and keep all their votes, since votes about one photo depend on each other. Draws in which
    alpha is undefined are left out.
    """
    if not counts.size:
        return float("nan"), float("nan")
    sums = _sums(counts)
    units = len(sums)
    weights = (np.bincount(rng.integers(units, size=units), minlength=units) for _ in range(draws))
    values = _alpha_of_sums(np.array([weight @ sums for weight in weights]))
    values = values[np.isfinite(values)]
    if not len(values):
        return float("nan"), float("nan")
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def raw_agreement(counts: Counts) -> float:
    """Return the share of pairs of votes about one photo that are equal; NaN without pairs."""
    votes = counts.sum(axis=1)
    pairs = float((votes * (votes - 1)).sum()) if counts.size else 0.0
    return float((counts * (counts - 1)).sum()) / pairs if pairs else float("nan")


def positive_agreement(units: Iterable[Sequence[bool]]) -> float:
    """Return 2a / (2a + b + c) over all pairs of votes about one photo; NaN if nobody said yes.

    What Cicchetti and Feinstein (1990) propose for rare marks, where alpha and raw agreement mislead.
    """
    both = one = 0
    for unit in units:
        yes, no = sum(unit), len(unit) - sum(unit)
        both += yes * (yes - 1) // 2
        one += yes * no
    return 2 * both / (2 * both + one) if both or one else float("nan")


def _sums(counts: Counts) -> npt.NDArray[np.float64]:
    """Return, for each unit, its agreeing pairs over (m - 1) and its counts: what alpha needs, additive over units."""
    votes = counts.sum(axis=1, keepdims=True)
    agreeing = (counts * (counts - 1)).sum(axis=1, keepdims=True) / (votes - 1)
    return np.hstack([agreeing, counts.astype(np.float64)])


def _alpha_of_sums(sums: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    agreeing, totals = sums[:, 0], sums[:, 1:]
    n = totals.sum(axis=1)
    expected = n**2 - (totals**2).sum(axis=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        value = 1 - (n - 1) * (n - agreeing) / expected
    return np.where(expected > 0, value, np.nan)
