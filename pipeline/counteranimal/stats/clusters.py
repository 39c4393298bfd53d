"""Photos that resemble each other count for less: design effects, effective sizes, and a group's accuracy with its interval.

Decides how weights and fold units enter an interval. What a unit is (an observer, a cut-out) is decided where photos are stored.
"""

from __future__ import annotations

from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from counteranimal.errors import UsageError
from counteranimal.stats.intervals import wilson

__all__ = [
    "GroupAccuracy",
    "Photos",
    "design_effect",
    "effective_size",
    "effective_sizes",
    "group_accuracies",
    "group_accuracy",
    "intraclass_correlation",
    "mean_cluster_size",
]

Size = TypeVar("Size", float, NDArray[np.float64])


class GroupAccuracy(NamedTuple):
    """One group's figures: photos and right answers as counted, effective photos, weighted accuracy and its Wilson interval."""

    n: int
    correct: int
    n_effective: float
    accuracy: float
    low: float
    high: float


class Photos(NamedTuple):
    """Photos with the cells they fall into; arrays of shape (n,), cells being 0, 1, ..."""

    correct: NDArray[np.float64]
    weights: NDArray[np.float64]
    units: NDArray[np.intp]
    cells: NDArray[np.intp]


def mean_cluster_size(units: ArrayLike) -> float:
    """Return m' = sum(m^2) / sum(m), the unit size that the average photo sees.

    Parameters
    ----------
    units : array of shape (n,)
        One label a photo, n at least 1.
    """
    sizes = np.unique(np.asarray(units), return_counts=True)[1].astype(np.float64)
    return float((sizes**2).sum() / sizes.sum())


def design_effect(cluster_size: Size, correlation: float) -> Size:
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


def effective_sizes(
    weights: NDArray[np.float64], units: NDArray[np.intp], cells: NDArray[np.intp], correlation: float
) -> NDArray[np.float64]:
    """Return `effective_size` of every cell at once, shape (cells,); a cell without photos has size 0.

    Parameters
    ----------
    weights, units, cells : arrays of shape (n,)
        1 / inclusion probability, fold unit, and cell (0, 1, ...) of each photo.
    """
    number = int(cells.max()) + 1 if cells.size else 0
    inside, photos = _inside_units(units, cells)
    cluster_size = np.bincount(inside, photos**2, number) / np.maximum(np.bincount(cells, minlength=number), 1)
    squares = np.bincount(cells, weights**2, number)
    kish = np.bincount(cells, weights, number) ** 2 / np.where(squares > 0.0, squares, 1.0)
    sizes: NDArray[np.float64] = kish / design_effect(np.maximum(cluster_size, 1.0), correlation)
    return sizes


def _inside_units(units: NDArray[np.intp], cells: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.float64]]:
    """Return, for each part of a unit that lies in one cell, the cell and its photos."""
    step = int(units.max()) + 1 if units.size else 1
    parts, photos = np.unique(cells * step + units, return_counts=True)
    return parts // step, photos.astype(np.float64)


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
    step = int(units.max()) + 1
    parts, position = np.unique(groups * step + units, return_inverse=True)
    sizes = np.bincount(position).astype(np.float64)
    means = np.bincount(position, correct) / sizes
    group = np.unique(parts // step, return_inverse=True)[1]
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
    codes = np.unique(np.asarray(units), return_inverse=True)[1].reshape(-1)
    photos = Photos(correct, weights, codes, np.zeros(correct.size, dtype=np.intp))
    return group_accuracies(photos, 1, correlation=correlation, level=level)[0]


def group_accuracies(photos: Photos, number: int, *, correlation: float, level: float = 0.95) -> list[GroupAccuracy]:
    """Return `group_accuracy` of cells 0 to `number` - 1 in one pass over the photos.

    Raises
    ------
    UsageError
        If a cell is empty.
    """
    correct, weights, units, cells = photos
    n = np.bincount(cells, minlength=number)
    if (n == 0).any():
        raise UsageError("an empty group has no accuracy; leave it out")
    right = np.bincount(cells, correct, number)
    accuracy = np.bincount(cells, weights * correct, number) / np.bincount(cells, weights, number)
    # All right or all wrong must give exactly 1 or 0, whatever the weights add up to in floating point.
    accuracy = np.where(right == n, 1.0, np.where(right == 0, 0.0, accuracy))
    sizes = effective_sizes(weights, units, cells, correlation)
    return [
        GroupAccuracy(int(count), int(k), size, share, *wilson(share, size, level=level))
        for count, k, size, share in zip(n, right, sizes.tolist(), accuracy.tolist(), strict=True)
    ]
