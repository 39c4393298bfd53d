"""Resampling fold units to compare two models on the same photos.

Decides how a draw is made. Which models and which baseline are compared is left to the caller, who also passes the generator.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from counteranimal.errors import UsageError
from counteranimal.stats.intervals import Interval

__all__ = ["Difference", "PairedSample", "paired_difference"]

DRAWS = 2_000
Figure = Literal["drop", "common", "counter"]


class PairedSample(NamedTuple):
    """Photos of the common and counter groups and what two models made of them; arrays of shape (n,).

    `counter` is True in the counter group; `first` and `second` are 1 where that model is right.
    """

    classes: NDArray[np.intp]
    counter: NDArray[np.bool_]
    units: NDArray[np.intp]
    weights: NDArray[np.float64]
    first: NDArray[np.float64]
    second: NDArray[np.float64]


class Difference(NamedTuple):
    """First minus second, its percentile interval, and the two-sided bootstrap p-value."""

    value: float
    low: float
    high: float
    p_value: float


def paired_difference(
    sample: PairedSample, figure: Figure, *, rng: np.random.Generator, draws: int = DRAWS, level: float = 0.95
) -> Difference:
    """Return the difference of two models' macro figure, resampling fold units with replacement inside each class.

    Both models see the same draw, so what makes a photo hard for both cancels. A draw that empties a class's group is
    repeated. Draws from h units spread too little by sqrt((h - 1) / h), so a class's distances from its own figure are stretched by the
    inverse (Rao and Wu 1988). Classes of a single unit cannot be drawn from; they are drawn among each other, as one stratum. Percentile interval and p-value (Davison and Hinkley 1997, 4.4 and 5.3).

    Raises
    ------
    UsageError
        If a class lacks one of its groups.
    """
    classes = np.unique(sample.classes)
    if classes.size == 0:
        raise UsageError("no class has a pair, so there is no difference to draw; choose a split with pairs")
    value = 0.0
    drawn = np.zeros(draws)
    single: list[float] = []
    for label in classes:
        sums = _sums_by_unit(sample, sample.classes == label)
        whole = sums.sum(axis=0, keepdims=True)
        if (whole[:, [0, 3]] == 0).any():
            raise UsageError("a class without a common or a counter photo cannot be compared; leave it out")
        own = float(_figure(whole, figure)[0])
        value += own / classes.size
        if len(sums) == 1:
            single.append(own)
        else:
            drawn += (own + _stretch(len(sums)) * (_figure(_draw(sums, draws, rng), figure) - own)) / classes.size
    if single:
        counts = rng.multinomial(len(single), np.full(len(single), 1.0 / len(single)), size=draws)
        total = sum(single)
        drawn += (total + _stretch(len(single)) * (counts @ np.array(single) - total)) / classes.size
    ends = np.quantile(drawn, [0.5 - level / 2.0, 0.5 + level / 2.0])
    interval = Interval(float(ends[0]), float(ends[1]))
    # The observed sample counts as one draw, so that p is never 0.
    at_most, at_least = int((drawn <= 0).sum()) + 1, int((drawn >= 0).sum()) + 1
    p_value = min(1.0, 2.0 * min(at_most, at_least) / (draws + 1))
    return Difference(value, interval.low, interval.high, p_value)


def _stretch(units: int) -> float:
    """Return what makes up for drawing from few units; 1 for one, which cannot be drawn from."""
    return math.sqrt(units / max(units - 1, 1))


def _sums_by_unit(sample: PairedSample, chosen: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return shape (units, 6): weight, weight right first, weight right second in the common, then in the counter group."""
    unit = np.unique(sample.units[chosen], return_inverse=True)[1].reshape(-1)
    counter = sample.counter[chosen]
    weights = sample.weights[chosen]
    columns = []
    for group in (~counter, counter):
        inside = weights * group
        columns += [
            np.bincount(unit, inside),
            np.bincount(unit, inside * sample.first[chosen]),
            np.bincount(unit, inside * sample.second[chosen]),
        ]
    return np.stack(columns, axis=1)


def _draw(sums: NDArray[np.float64], draws: int, rng: np.random.Generator) -> NDArray[np.float64]:
    units = sums.shape[0]
    totals = np.zeros((draws, sums.shape[1]))
    empty = np.ones(draws, dtype=bool)
    while empty.any():
        counts = rng.multinomial(units, np.full(units, 1.0 / units), size=int(empty.sum()))
        totals[empty] = counts @ sums
        empty = (totals[:, [0, 3]] == 0).any(axis=1)
    return totals


def _figure(totals: NDArray[np.float64], figure: Figure) -> NDArray[np.float64]:
    common = (totals[:, 1] - totals[:, 2]) / totals[:, 0]
    counter = (totals[:, 4] - totals[:, 5]) / totals[:, 3]
    chosen: NDArray[np.float64] = {"drop": common - counter, "common": common, "counter": counter}[figure]
    return chosen
