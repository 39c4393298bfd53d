"""The rule itself: which two backgrounds a class, or the whole pool, is compared on.

Decides eligibility, the extremes and ties, from counts and accuracies by class and background. Whether the difference is large
enough, and what it is on photos that took no part, is decided by the callers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from counteranimal.discovery.outcomes import Outcomes
from counteranimal.recipe import SplitRule

__all__ = ["ALL_CLASSES", "Choice", "choices", "exceeds"]

ALL_CLASSES = "*"
# Sums of weights carry rounding noise in the last bits; beyond 12 decimals two accuracies are one and the same.
_DECIMALS = 12


class Choice(NamedTuple):
    """Codes of the common and the counter background, and their difference (fraction) where they were chosen."""

    common: int
    counter: int
    difference: float


class _Cells(NamedTuple):
    """Photos (unweighted) and weighted accuracy, shape (classes, backgrounds of the vocabulary); NaN where there is none."""

    photos: NDArray[np.int64]
    accuracy: NDArray[np.float64]


def choices(
    rule: SplitRule, chooser: Outcomes, folds: Sequence[Outcomes], n_backgrounds: int
) -> dict[str, Choice | None]:
    """Return class id -> extreme pair, None where fewer than two backgrounds qualify; `*` for one pair for the pool.

    Parameters
    ----------
    rule : SplitRule
        `unit` and `n_min` are read.
    chooser : Outcomes
        Photos whose accuracies choose.
    folds : sequence of Outcomes
        A background qualifies with at least `n_min` photos in each of them.
    n_backgrounds : int
        The first so many backgrounds decide; the rest (other, mixed, not sure) never form a group.
    """
    cells, counts = _cells(chooser, n_backgrounds), [_cells(fold, n_backgrounds).photos for fold in folds]
    if rule.unit == "pool":
        return {ALL_CLASSES: _choose_for_pool(cells, counts, rule.n_min)}
    enough = np.logical_and.reduce([photos >= rule.n_min for photos in counts])
    return {
        name: _choose_for_class(cells.accuracy[code], cells.photos[code], enough[code])
        for code, name in enumerate(chooser.classes)
    }


def exceeds(choice: Choice, rule: SplitRule) -> bool:
    """Say whether the unrounded difference is above the rule's `min_difference` points."""
    return round(100.0 * choice.difference, 9) > rule.min_difference


def _cells(outcomes: Outcomes, n_backgrounds: int) -> _Cells:
    shape = (len(outcomes.classes), len(outcomes.backgrounds))
    code = outcomes.class_of * shape[1] + outcomes.background_of
    size = shape[0] * shape[1]
    photos = np.bincount(code, minlength=size)
    total = np.bincount(code, outcomes.weights, minlength=size)
    right = np.bincount(code, outcomes.weights * outcomes.correct, minlength=size)
    with np.errstate(invalid="ignore"):
        accuracy = np.where(photos > 0, right / total, np.nan)
    return _Cells(photos.reshape(shape)[:, :n_backgrounds], accuracy.reshape(shape)[:, :n_backgrounds])


def _choose_for_class(
    accuracy: NDArray[np.float64], photos: NDArray[np.int64], enough: NDArray[np.bool_]
) -> Choice | None:
    """Return the highest and lowest background; ties go to more photos, then to the earlier in the vocabulary."""
    known = [code for code in np.flatnonzero(enough).tolist() if photos[code] > 0]
    if len(known) < 2:
        return None
    common = min(known, key=lambda code: (-round(float(accuracy[code]), _DECIMALS), -photos[code], code))
    counter = min(known, key=lambda code: (round(float(accuracy[code]), _DECIMALS), -photos[code], code))
    return Choice(common, counter, float(accuracy[common] - accuracy[counter]))


def _choose_for_pool(cells: _Cells, counts: Sequence[NDArray[np.int64]], n_min: int) -> Choice | None:
    """Return the pair with the largest difference of mean class accuracies over classes on both backgrounds.

    `n_min` counts the photos that are compared: all classes together, but only those present in both backgrounds. Otherwise a
    background full of one animal could win by a single photo of another.
    """
    best: tuple[tuple[float, int, int, int], Choice] | None = None
    n_backgrounds = cells.photos.shape[1]
    for first in range(n_backgrounds):
        for second in range(first + 1, n_backgrounds):
            if not all(_compared(photos, first, second).min() >= n_min for photos in counts):
                continue
            shared = (cells.photos[:, first] > 0) & (cells.photos[:, second] > 0)
            if not shared.any():
                continue
            difference = float(cells.accuracy[shared, first].mean() - cells.accuracy[shared, second].mean())
            common, counter = (second, first) if round(difference, _DECIMALS) < 0 else (first, second)
            photos = int(_compared(cells.photos, first, second).sum())
            rank = (-round(abs(difference), _DECIMALS), -photos, common, counter)
            if best is None or rank < best[0]:
                best = (rank, Choice(common, counter, abs(difference)))
    return best[1] if best else None


def _compared(photos: NDArray[np.int64], first: int, second: int) -> NDArray[np.int64]:
    """Return the photos of both backgrounds in classes that both have, shape (2,)."""
    pair = photos[:, [first, second]]
    totals: NDArray[np.int64] = pair[(pair > 0).all(axis=1)].sum(axis=0)
    return totals
