"""Whether the two groups differ in more than the background: size, sharpness, light, and what else was measured.

Decides how groups are compared and how much of a drop is left once they are alike. It corrects no published figure: what the
photos were not measured for, it cannot weigh.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from counteranimal.discovery.figures import overall
from counteranimal.discovery.outcomes import Outcomes
from counteranimal.stats import LinearFigure

__all__ = ["covariates", "measures"]

# Columns that say how sure a machine is, or what else is in the photo, and nothing of how the animal is photographed.
_NOT_MEASURES = frozenset({"confidence", "bytes", "width", "height", "second_animal", "worn", "printed"})
_RIDGE = 1e-2  # keeps slopes finite where a covariate tells the groups apart without error
_FEWEST = 10  # photos a group and in all before a regression says anything


def measures(photos: pa.Table, scores: pa.Table) -> pa.Table:
    """Return photo_id and one float column a covariate: log pixels, aspect ratio and every number that `scores` holds.

    A photo that has several rows of scores is described by the first; one without scores has nulls.
    """
    width, height = (pc.cast(photos.column(name), pa.float64()) for name in ("width", "height"))
    found = {
        "photo_id": photos.column("photo_id"),
        "log_pixels": pc.ln(pc.multiply(width, height)),
        "aspect": pc.divide(width, height),
    }
    place = pc.index_in(photos.column("photo_id"), value_set=scores.column("photo_id").combine_chunks())
    for name, kind in zip(scores.schema.names, scores.schema.types, strict=True):
        if pa.types.is_floating(kind) and name not in _NOT_MEASURES:
            found[name] = pc.cast(scores.column(name).take(place), pa.float64())
    return pa.table(found)


def covariates(
    outcomes: Outcomes, side: NDArray[np.int8], photo_ids: pa.ChunkedArray, measured: pa.Table
) -> dict[str, Any]:
    """Compare the common and the counter group, and weight them until they are alike.

    Each covariate is centred within its class, so that which classes are large says nothing. Overlap weights (Li, Morgan and
    Zaslavsky 2018): from a logistic regression of the group on classes and covariates, a common photo counts by its
    probability of being counter and the other way round, times its sampling weight. Intervals are those of `overall`, with the
    fitted probabilities taken as known.

    Parameters
    ----------
    outcomes : Outcomes
        Photos of one fold, n rows.
    side : array of shape (n,), int8
        1 common, -1 counter, 0 neither.
    photo_ids : chunked array of n strings
        In the order of `outcomes`.
    measured : pa.Table
        As `measures` returns it; columns that are null everywhere in the groups are left out and named.

    Returns
    -------
    dict
        `n`, `without_measures` (photos of the groups that lack one, left out of everything here), `left_out` (covariates),
        `differences` (covariate -> standardised mean difference, common minus counter, before and after), `drop` and
        `drop_weighted` (value, low, high), `remaining` (their ratio, None where the drop is not above 0). Where fewer than 10
        photos a group are left, only the counts.
    """
    table = measured.take(pc.index_in(photo_ids, value_set=measured.column("photo_id").combine_chunks()))
    columns = {
        name: table.column(name).to_numpy(zero_copy_only=False).astype(np.float64)
        for name in table.column_names
        if name != "photo_id"
    }
    grouped = side != 0
    usable = {name: values for name, values in columns.items() if np.isfinite(values[grouped]).any()}
    complete = grouped & np.logical_and.reduce([np.isfinite(v) for v in usable.values()] or [np.ones(side.size, bool)])
    found: dict[str, Any] = {
        "n": int(complete.sum()),
        "without_measures": int(grouped.sum() - complete.sum()),
        "left_out": sorted(set(columns) - set(usable)),
    }
    part, group = outcomes.where(complete), side[complete]
    if not usable or min(int((group == 1).sum()), int((group == -1).sum())) < _FEWEST:
        return found
    values = _centred(np.stack([column[complete] for column in usable.values()], axis=1), part)
    weighted = replace(part, weights=part.weights * _overlap(values, part, group > 0))
    return found | _compared(dict(zip(usable, values.T, strict=True)), part, weighted, group)


def _centred(values: NDArray[np.float64], part: Outcomes) -> NDArray[np.float64]:
    """Return covariates less their class's mean, in units of what is left; a constant one becomes 0."""
    sizes = np.maximum(np.bincount(part.class_of, minlength=len(part.classes)), 1)
    means = np.stack([np.bincount(part.class_of, column, len(part.classes)) / sizes for column in values.T], axis=1)
    values = values - means[part.class_of]
    scale = values.std(axis=0)
    centred: NDArray[np.float64] = values / np.where(scale > 1e-12, scale, 1.0)
    return centred


def _overlap(values: NDArray[np.float64], part: Outcomes, common: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return each photo's probability of being in the other group, by ridge logistic regression with a constant a class."""
    from scipy.optimize import minimize
    from scipy.special import expit

    label = np.unique(part.class_of, return_inverse=True)[1]
    number, slopes = int(label.max()) + 1, values.shape[1]
    target, weights = common.astype(np.float64), part.weights / part.weights.mean()

    def loss(at: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        score = values @ at[:slopes] + at[slopes:][label]
        miss = weights * (expit(score) - target)
        value = float((weights * (np.logaddexp(0.0, score) - target * score)).sum() + _RIDGE * (at**2).sum() / 2.0)
        gradient = np.concatenate([values.T @ miss, np.bincount(label, miss, number)]) + _RIDGE * at
        return value, gradient

    fitted = minimize(loss, np.zeros(slopes + number), jac=True, method="L-BFGS-B").x
    chance = expit(values @ fitted[:slopes] + fitted[slopes:][label])
    return np.where(common, 1.0 - chance, chance)


def _compared(
    values: Mapping[str, NDArray[np.float64]], part: Outcomes, weighted: Outcomes, group: NDArray[np.int8]
) -> dict[str, Any]:
    correlation = part.correlation()
    before, after = (overall(each, group, "drop", "macro", correlation=correlation) for each in (part, weighted))
    differences = {
        name: {
            "before": _standardised(column, part.weights, group, part.weights),
            "after": _standardised(column, weighted.weights, group, part.weights),
        }
        for name, column in values.items()
    }
    told = {"differences": differences, "drop": _told(before), "drop_weighted": _told(after)}
    positive = before is not None and after is not None and before.value > 0.0
    return told | {"remaining": after.value / before.value if positive and before and after else None}


def _standardised(
    column: NDArray[np.float64], weights: NDArray[np.float64], group: NDArray[np.int8], scale: NDArray[np.float64]
) -> float:
    """Return the difference of group means over the root mean of the unadjusted group variances (Austin 2009)."""
    means = [np.average(column[group == sign], weights=weights[group == sign]) for sign in (1, -1)]
    spread = 0.0
    for sign in (1, -1):
        own, weight = column[group == sign], scale[group == sign]
        spread += np.average((own - np.average(own, weights=weight)) ** 2, weights=weight) / 2.0
    return float((means[0] - means[1]) / np.sqrt(spread)) if spread > 0.0 else 0.0


def _told(figure: LinearFigure | None) -> dict[str, float] | None:
    return None if figure is None else {"value": figure.value, "low": figure.low, "high": figure.high}
