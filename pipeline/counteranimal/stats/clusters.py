"""Photos that resemble each other count for less: design effects, effective sizes, and a group's accuracy with its interval.

Decides how weights and fold units enter an interval. What a unit is (an observer, a cut-out) is decided where photos are stored.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from counteranimal.errors import UsageError
from counteranimal.stats.intervals import wilson

__all__ = [
    "GroupAccuracy",
    "design_effect",
    "effective_size",
    "group_accuracy",
    "intraclass_correlation",
    "mean_cluster_size",
]


class GroupAccuracy(NamedTuple):
    """One group's figures: photos and right answers as counted, effective photos, weighted accuracy and its Wilson interval."""

    n: int
    correct: int
    n_effective: float
    accuracy: float
    low: float
    high: float


def mean_cluster_size(units: ArrayLike) -> float:
    """Return m' = sum(m^2) / sum(m), the unit size that the average photo sees.

    Parameters
    ----------
    units : array of shape (n,)
        One label a photo, n at least 1.
    """
    sizes = np.unique(np.asarray(units), return_counts=True)[1].astype(np.float64)
    return float((sizes**2).sum() / sizes.sum())


def design_effect(cluster_size: float, correlation: float) -> float:
    """Return d = 1 + (m' - 1) rho (Kish 1965): how many clustered photos are worth one independent photo."""
    return 1.0 + (cluster_size - 1.0) * correlation


def effective_size(weights: NDArray[np.float64], units: ArrayLike, correlation: float) -> float:
    """Return (sum w)^2 / sum(w^2) / d, the number of independent, equally weighted photos that say as much.

    Parameters
    ----------
    weights : array of shape (n,)
        1 / inclusion probability.
    units : array of shape (n,)
        Fold unit of each photo.
    correlation : float
        Intra-class correlation of correctness, 0 to 1.
    """
    kish = float(weights.sum() ** 2 / (weights**2).sum())
    return kish / design_effect(mean_cluster_size(units), correlation)


def intraclass_correlation(correct: NDArray[np.float64], groups: NDArray[np.intp], units: NDArray[np.intp]) -> float:
    """Return the ANOVA estimate of rho, pooled over groups, cut to 0..1.

    One-way analysis of variance of correctness on units inside each group, sums of squares and degrees of freedom added over
    groups (Donner 1986): rho = (MSB - MSW) / (MSB + (m0 - 1) MSW). Negative estimates become 0. Where no group holds two
    units, nothing can be estimated: then rho is 1 if some unit repeats inside a group (many photos of one unit count as one)
    and 0 if none does.

    Parameters
    ----------
    correct : array of shape (n,)
        1 for right, 0 for wrong.
    groups, units : integer arrays of shape (n,)
        Group and fold unit of each photo.
    """
    if correct.size == 0:
        return 0.0
    keys = np.stack([groups, units])
    cells, position = np.unique(keys, axis=1, return_inverse=True)
    position = position.reshape(-1)
    sizes = np.bincount(position).astype(np.float64)
    means = np.bincount(position, correct) / sizes
    group = np.unique(cells[0], return_inverse=True)[1].reshape(-1)
    n_group = np.bincount(group, sizes)
    mean_group = np.bincount(group, sizes * means) / n_group
    between = float((sizes * (means - mean_group[group]) ** 2).sum())
    within = float(((correct - means[position]) ** 2).sum())
    df_between = int(sizes.size - n_group.size)
    df_within = int(correct.size - sizes.size)
    if df_within == 0:
        return 0.0
    if df_between == 0:
        return 1.0
    m0 = float((n_group - np.bincount(group, sizes**2) / n_group).sum()) / df_between
    msb, msw = between / df_between, within / df_within
    scale = msb + (m0 - 1.0) * msw
    return min(1.0, max(0.0, (msb - msw) / scale)) if scale > 0.0 else 0.0


def group_accuracy(
    correct: NDArray[np.float64],
    weights: NDArray[np.float64],
    units: ArrayLike,
    *,
    correlation: float,
    level: float = 0.95,
) -> GroupAccuracy:
    """Return a group's weighted accuracy with its Wilson interval at the effective size.

    Parameters
    ----------
    correct, weights, units : arrays of shape (n,), n at least 1
        Correctness (1 or 0), 1 / inclusion probability, fold unit.
    correlation : float
        Intra-class correlation, pooled over all groups that are published together.

    Raises
    ------
    UsageError
        If the group is empty.
    """
    if correct.size == 0:
        raise UsageError("an empty group has no accuracy; leave it out")
    # All right or all wrong must give exactly 1 or 0, whatever the weights add up to in floating point.
    accuracy = float(correct[0]) if (correct == correct[0]).all() else float((weights * correct).sum() / weights.sum())
    size = effective_size(weights, units, correlation)
    interval = wilson(accuracy, size, level=level)
    return GroupAccuracy(int(correct.size), int(correct.sum()), size, accuracy, interval.low, interval.high)
