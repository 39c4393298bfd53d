"""Accuracies and drops of chosen groups: by class, and over classes.

Decides which interval each figure gets: Wilson for a group, Newcombe for a class's drop, linearised variance over fold units
for everything that spans classes. A class counts where both of its groups have photos.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from counteranimal.discovery.outcomes import Outcomes
from counteranimal.stats import (
    Contrast,
    GroupAccuracy,
    Interval,
    LinearFigure,
    Photos,
    group_accuracies,
    linear_figure,
    newcombe,
    newcombe_p,
)

__all__ = ["ClassFigures", "Figure", "Weighting", "class_figures", "contrast_of", "overall", "sides"]

Figure = Literal["common", "counter", "drop"]
Weighting = Literal["macro", "micro"]


class ClassFigures(NamedTuple):
    """Both groups of one class, the drop between them, its interval and one-sided p-value."""

    common: GroupAccuracy
    counter: GroupAccuracy
    drop: float
    interval: Interval
    p_value: float


def sides(outcomes: Outcomes, pairs: Mapping[str, tuple[int, int]]) -> NDArray[np.int8]:
    """Return 1 for photos of a common group, -1 for a counter group, 0 for all others.

    Parameters
    ----------
    pairs : mapping
        Class id -> codes of its common and counter background.
    """
    codes = np.full((2, len(outcomes.classes)), -1)
    for code, name in enumerate(outcomes.classes):
        if name in pairs:
            codes[:, code] = pairs[name][:2]
    common = codes[0][outcomes.class_of] == outcomes.background_of
    counter = codes[1][outcomes.class_of] == outcomes.background_of
    side: NDArray[np.int8] = common.astype(np.int8) - counter.astype(np.int8)
    return side


def class_figures(outcomes: Outcomes, side: NDArray[np.int8], *, correlation: float) -> dict[str, ClassFigures]:
    """Return class id -> figures, for the classes that have photos in both groups.

    Parameters
    ----------
    outcomes : Outcomes
        Photos of one fold.
    side : array of shape (n,), int8
        As `sides` returns it.
    correlation : float
        Pooled over all groups of the fold (`Outcomes.correlation`).
    """
    complete = _complete(outcomes, side)
    chosen = np.isin(outcomes.class_of, complete) & (side != 0)
    part = outcomes.where(chosen)
    cell = np.searchsorted(complete, part.class_of) * 2 + (side[chosen] < 0)
    photos = Photos(part.correct, part.weights, part.unit_of, cell)
    groups = group_accuracies(photos, 2 * complete.size, correlation=correlation)
    return {
        outcomes.classes[code]: _class_figures(common, counter)
        for code, common, counter in zip(complete.tolist(), groups[::2], groups[1::2], strict=True)
    }


def _class_figures(common: GroupAccuracy, counter: GroupAccuracy) -> ClassFigures:
    ends = (common.accuracy, common.n_effective, counter.accuracy, counter.n_effective)
    return ClassFigures(common, counter, common.accuracy - counter.accuracy, newcombe(*ends), newcombe_p(*ends))


def overall(
    outcomes: Outcomes, side: NDArray[np.int8], figure: Figure, weighting: Weighting, *, correlation: float
) -> LinearFigure | None:
    """Return a figure over all classes with both groups, None where there is no such class.

    `macro` is the unweighted mean over classes, `micro` pools their photos.
    """
    contrast = contrast_of(outcomes, side, figure, weighting)
    return None if contrast is None else linear_figure(contrast, correlation=correlation)


def contrast_of(outcomes: Outcomes, side: NDArray[np.int8], figure: Figure, weighting: Weighting) -> Contrast | None:
    """Return the photos, cells and coefficients behind `overall`; units keep the numbers of `Outcomes.unit_of`."""
    complete = _complete(outcomes, side)
    wanted = {"common": (1,), "counter": (-1,), "drop": (1, -1)}[figure]
    chosen = np.isin(outcomes.class_of, complete) & np.isin(side, wanted)
    if not chosen.any():
        return None
    part, group = outcomes.where(chosen), side[chosen].astype(np.intp)
    if weighting == "macro":
        cell = np.searchsorted(complete, part.class_of) * 2 + (group < 0)
        factors = np.tile([1.0, -1.0], complete.size) / complete.size
    else:
        cell, factors = (group < 0).astype(np.intp), np.array([1.0, -1.0])
    if figure != "drop":
        factors = np.abs(factors)
    present, position = np.unique(cell, return_inverse=True)
    return Contrast(part.correct, part.weights, part.unit_of, position.reshape(-1), factors[present])


def _complete(outcomes: Outcomes, side: NDArray[np.int8]) -> NDArray[np.intp]:
    """Return the codes of classes with photos in both groups, ascending."""
    common, counter = (
        np.bincount(outcomes.class_of[side == sign], minlength=len(outcomes.classes)) > 0 for sign in (1, -1)
    )
    return np.flatnonzero(common & counter)
