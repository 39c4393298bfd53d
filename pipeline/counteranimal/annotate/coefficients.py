"""Coefficients of agreement for nominal answers, each with a bootstrap interval over photos.

Decides the estimators; which votes enter is decided in `agreement`. Photos are drawn with replacement and keep all their votes, since
votes about one photo depend on each other. Every coefficient here is a ratio of sums over photos, and photos with equal sums are
exchangeable, so a draw of photos is a multinomial draw of *patterns*: the same distribution, at a cost that does not grow with photos.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence

import numpy as np
import numpy.typing as npt

__all__ = [
    "alpha",
    "alpha_interval",
    "cohen",
    "cohen_interval",
    "contingency",
    "count_values",
    "fleiss",
    "fleiss_interval",
    "positive_agreement",
    "positive_interval",
    "raw_agreement",
    "raw_interval",
]

Counts = npt.NDArray[np.int64]
Sums = npt.NDArray[np.float64]
Statistic = Callable[[Sums], npt.NDArray[np.float64]]

DRAWS = 1_000
LEVEL = 0.95


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
    rows = np.repeat(np.arange(len(pairable)), np.array([len(unit) for unit in pairable], dtype=np.int64))
    columns = np.array([column[value] for unit in pairable for value in unit], dtype=np.int64)
    np.add.at(counts, (rows, columns), 1)
    return counts


def alpha(counts: Counts) -> float:
    """Return Krippendorff's alpha of a (units, values) count matrix; NaN where it is undefined (no pairs, or one value throughout).

    Source: K. Krippendorff, *Content Analysis* (4th edition), chapter 12, the coincidence-matrix form for any number of
    observers and missing values: alpha = 1 - (n - 1) (n - A) / (n² - Σ n_c²), A the agreeing pairs weighted 1/(m_u - 1).
    """
    return _whole(_agreeing(counts), _alpha)


def alpha_interval(counts: Counts, *, rng: np.random.Generator, draws: int = DRAWS) -> tuple[float, float]:
    """Return alpha's 95 % percentile interval; NaN twice where alpha is undefined. Draws without alpha are left out."""
    return _interval(_agreeing(counts), _alpha, rng, draws)


def raw_agreement(counts: Counts) -> float:
    """Return the share of pairs of votes about one photo that are equal; NaN without pairs."""
    return _whole(_equal_pairs(counts), _ratio)


def raw_interval(counts: Counts, *, rng: np.random.Generator, draws: int = DRAWS) -> tuple[float, float]:
    """Return the 95 % percentile interval of `raw_agreement`."""
    return _interval(_equal_pairs(counts), _ratio, rng, draws)


def positive_agreement(units: Iterable[Sequence[bool]]) -> float:
    """Return 2a / (2a + b + c) over all pairs of votes about one photo; NaN if nobody said yes.

    What Cicchetti and Feinstein (1990) propose for rare marks, where alpha and raw agreement mislead.
    """
    return _whole(_positive_pairs(units), _ratio)


def positive_interval(
    units: Iterable[Sequence[bool]], *, rng: np.random.Generator, draws: int = DRAWS
) -> tuple[float, float]:
    """Return the 95 % percentile interval of `positive_agreement`; draws in which nobody says yes are left out."""
    return _interval(_positive_pairs(units), _ratio, rng, draws)


def fleiss(counts: Counts) -> float:
    """Return Fleiss' kappa (1971) of a count matrix whose rows all hold the same number of votes; NaN where undefined."""
    return _whole(_agreeing(counts), _fleiss)


def fleiss_interval(counts: Counts, *, rng: np.random.Generator, draws: int = DRAWS) -> tuple[float, float]:
    """Return the 95 % percentile interval of `fleiss`."""
    return _interval(_agreeing(counts), _fleiss, rng, draws)


def contingency(pairs: Iterable[tuple[Hashable, Hashable]]) -> Counts:
    """Return how often one person said the row's value and the other the column's, shape (values, values)."""
    listed = list(pairs)
    index = {value: place for place, value in enumerate(sorted({v for pair in listed for v in pair}, key=str))}
    table = np.zeros((len(index), len(index)), dtype=np.int64)
    for first, second in listed:
        table[index[first], index[second]] += 1
    return table


def cohen(table: Counts) -> float:
    """Return Cohen's kappa (1960) of a contingency table of two people; NaN where undefined (no photo, or one value throughout)."""
    return float(_cohen(table[np.newaxis].astype(np.float64))[0]) if table.size else float("nan")


def cohen_interval(table: Counts, *, rng: np.random.Generator, draws: int = DRAWS) -> tuple[float, float]:
    """Return the 95 % percentile interval of `cohen` over photos."""
    number = int(table.sum())
    if not number:
        return float("nan"), float("nan")
    drawn = rng.multinomial(number, table.reshape(-1) / number, size=draws).reshape(draws, *table.shape)
    return _percentiles(_cohen(drawn.astype(np.float64)))


def _agreeing(counts: Counts) -> Sums:
    """Return, for each unit, its agreeing pairs over (m - 1) and its counts: what alpha and Fleiss' kappa need."""
    votes = counts.sum(axis=1, keepdims=True)
    agreeing = (counts * (counts - 1)).sum(axis=1, keepdims=True) / np.maximum(votes - 1, 1)
    return np.hstack([agreeing, counts.astype(np.float64)])


def _equal_pairs(counts: Counts) -> Sums:
    votes = counts.sum(axis=1)
    return np.stack([(counts * (counts - 1)).sum(axis=1), votes * (votes - 1)], axis=1).astype(np.float64)


def _positive_pairs(units: Iterable[Sequence[bool]]) -> Sums:
    listed = [(sum(unit), len(unit)) for unit in units]
    yes, votes = np.array(listed, dtype=np.float64).reshape(-1, 2).T
    return np.stack([yes * (yes - 1), yes * (votes - 1)], axis=1)


def _alpha(sums: Sums) -> npt.NDArray[np.float64]:
    agreeing, totals = sums[:, 0], sums[:, 1:]
    n = totals.sum(axis=1)
    return 1 - _over((n - 1) * (n - agreeing), n**2 - (totals**2).sum(axis=1))


def _fleiss(sums: Sums) -> npt.NDArray[np.float64]:
    agreeing, totals = sums[:, 0], sums[:, 1:]
    n = totals.sum(axis=1)
    chance = (totals**2).sum(axis=1) / n**2
    return _over(agreeing / n - chance, 1 - chance)


def _cohen(tables: Sums) -> npt.NDArray[np.float64]:
    n = tables.sum(axis=(1, 2))
    observed = np.trace(tables, axis1=1, axis2=2) / n
    chance = (tables.sum(axis=1) * tables.sum(axis=2)).sum(axis=1) / n**2
    return _over(observed - chance, 1 - chance)


def _ratio(sums: Sums) -> npt.NDArray[np.float64]:
    return _over(sums[:, 0], sums[:, 1])


def _over(above: npt.NDArray[np.float64], below: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Return above / below, NaN where `below` is 0 but for rounding."""
    value: npt.NDArray[np.float64] = np.full(above.shape, np.nan)
    np.divide(above, below, out=value, where=below > 1e-12)
    return value


def _whole(sums: Sums, statistic: Statistic) -> float:
    return float(statistic(sums.sum(axis=0)[np.newaxis])[0]) if sums.size and len(sums) else float("nan")


def _interval(sums: Sums, statistic: Statistic, rng: np.random.Generator, draws: int) -> tuple[float, float]:
    if not len(sums):
        return float("nan"), float("nan")
    tally = Counter(map(bytes, np.ascontiguousarray(sums)))
    patterns = np.array([np.frombuffer(row) for row in tally])
    frequency = np.array(list(tally.values())) / len(sums)
    return _percentiles(statistic(rng.multinomial(len(sums), frequency, size=draws) @ patterns))


def _percentiles(values: npt.NDArray[np.float64]) -> tuple[float, float]:
    defined = values[np.isfinite(values)]
    if not len(defined):
        return float("nan"), float("nan")
    low, high = np.quantile(defined, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
