"""Turns predictions into the table `results`: accuracies and drops of each split, fold, model and protocol, with intervals.

Decides which figures are published. Leaves the estimates themselves to `discovery`, which states its own pairs by the same
functions.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from counteranimal import tables
from counteranimal.discovery import Outcomes, class_figures, join, overall, sides_of
from counteranimal.discovery.figures import ClassFigures, Figure, Weighting
from counteranimal.discovery.outcomes import FoldName
from counteranimal.evaluate.protocols import PROTOCOLS, ProtocolName

__all__ = [
    "ALL_CLASSES",
    "WITHOUT_OVERLAP",
    "folds_of",
    "headline_fold",
    "is_among",
    "outcomes_of",
    "results_table",
    "weighted",
    "worst_group",
]

ALL_CLASSES = "*"
WITHOUT_OVERLAP = "_without_overlap"
"""Follows the name of the headline's fold where photos that a training or reference set holds are left out."""
_FIGURES: dict[Figure, str] = {"common": "accuracy_common", "counter": "accuracy_counter", "drop": "drop"}
_WEIGHTINGS: tuple[Weighting, ...] = ("macro", "micro")


def folds_of(rule: Mapping[str, Any]) -> tuple[FoldName, ...]:
    """Return the folds that a split's figures are published for; the paper's rule knows none."""
    return ("all",) if rule.get("rule") == "paper" else ("report", "select", "all")


def headline_fold(rule: Mapping[str, Any]) -> FoldName:
    """Return the fold of the headline: report, because its photos took no part in the choice."""
    return folds_of(rule)[0]


def results_table(
    entries: pa.Table,
    splits: pa.Table,
    rules: Mapping[str, Mapping[str, Any]],
    predictions: pa.Table,
    overlapping: Collection[str] = (),
) -> pa.Table:
    """Return the table `results`.

    Parameters
    ----------
    entries, splits : pa.Table
        Of a release (or a pool in place of entries).
    rules : mapping
        Split -> its rule as plain values (`rule` is read).
    predictions : pa.Table
        Of any number of models. A protocol that judged only some classes (1 vs 20) is reported for those.
    overlapping : collection of str
        Photos that training or reference sets hold; where there are any, the headline's fold stands there once more without them.

    Returns
    -------
    pa.Table
        For each split, fold, model and protocol: accuracy_common, accuracy_counter and drop of every class that has both
        groups, and macro_* and micro_* over these classes under class id `*`. Where a figure spans several groups,
        `n_effective` is their sum.

    Raises
    ------
    IntegrityError
        If a model lacks a prediction of a photo.
    """
    rows: list[dict[str, Any]] = []
    for protocol, model, photos, outcomes in outcomes_of(entries, predictions):
        apart = ~is_among(photos, overlapping)
        for split, rule in sorted(rules.items()):
            side = sides_of(photos, splits, split)
            parts: dict[str, NDArray[np.bool_]] = {fold: outcomes.in_fold(fold) for fold in folds_of(rule)}
            if overlapping:
                parts[f"{headline_fold(rule)}{WITHOUT_OVERLAP}"] = parts[headline_fold(rule)] & apart
            for fold, inside in parts.items():
                key = {"split": split, "fold": fold, "model": model, "protocol": protocol}
                rows += [key | row for row in _fold_rows(weighted(outcomes, rule).where(inside), side[inside])]
    return tables.conform("results", rows)


def worst_group(rows: Iterable[Mapping[str, Any]], n_min: int) -> dict[str, Any] | None:
    """Return the group of a class with the lowest accuracy, among groups of at least `n_min` photos; None without any.

    Of equal accuracies the one with more photos counts, then the name decides. The interval is that of this group: it does not
    know that the group was picked for being the lowest.
    """
    groups = [
        {"class_id": row["class_id"], "group": row["figure"].removeprefix("accuracy_")}
        | {key: row[key] for key in ("value", "low", "high", "n", "n_effective")}
        for row in rows
        if row["figure"] in _FIGURES.values() and row["figure"] != "drop" and row["n"] >= n_min
    ]
    return min(groups, key=lambda group: (group["value"], -group["n"], group["class_id"], group["group"]), default=None)


def outcomes_of(entries: pa.Table, predictions: pa.Table) -> Iterator[tuple[ProtocolName, str, pa.Table, Outcomes]]:
    """Yield each protocol and model with the entries that it judged and what came out, in the order of these entries."""
    for protocol in PROTOCOLS:
        judged = predictions.filter(pc.equal(predictions.column("protocol"), protocol))
        photos = _judged_classes(entries, judged)
        for model in sorted(set(pc.unique(judged.column("model")).to_pylist())):
            yield protocol, model, photos, join(photos, judged, model, protocol=protocol)


def is_among(photos: pa.Table, photo_ids: Collection[str]) -> NDArray[np.bool_]:
    """Return which rows are of the named photos, shape (n,)."""
    found = pc.is_in(photos.column("photo_id"), value_set=pa.array(sorted(photo_ids), pa.string()))
    return np.asarray(found.to_numpy(zero_copy_only=False), dtype=bool)


def _judged_classes(entries: pa.Table, judged: pa.Table) -> pa.Table:
    """Return the entries of the classes that the protocol judged; inside such a class every photo must have its prediction."""
    seen = pc.is_in(entries.column("photo_id"), value_set=judged.column("photo_id").combine_chunks())
    classes = pc.unique(entries.column("class_id").filter(seen))
    return entries.filter(pc.is_in(entries.column("class_id"), value_set=classes))


def weighted(outcomes: Outcomes, rule: Mapping[str, Any]) -> Outcomes:
    """Return the answers with the weights that a split's rule gives photos: the paper's knows none."""
    return replace(outcomes, weights=np.ones_like(outcomes.weights)) if rule.get("rule") == "paper" else outcomes


def _fold_rows(part: Outcomes, side: NDArray[np.int8]) -> Iterator[dict[str, Any]]:
    correlation = part.correlation()
    by_class = class_figures(part, side, correlation=correlation)
    for class_id, figures in by_class.items():
        for row in _class_rows(figures):
            yield {"class_id": class_id} | row
    for weighting in _WEIGHTINGS:
        for figure, name in _FIGURES.items():
            found = overall(part, side, figure, weighting, correlation=correlation)
            if found is None:
                continue
            interval = {"value": found.value, "low": found.low, "high": found.high}
            n = sum(
                group.n
                for item in by_class.values()
                for kind, group in (("common", item.common), ("counter", item.counter))
                if figure in {kind, "drop"}
            )
            counts = {"n": n, "n_effective": found.n_effective}
            yield {"class_id": ALL_CLASSES, "figure": f"{weighting}_{name}"} | interval | counts


def _class_rows(figures: ClassFigures) -> Iterator[dict[str, Any]]:
    for name, group in (("accuracy_common", figures.common), ("accuracy_counter", figures.counter)):
        yield {
            "figure": name,
            "value": group.accuracy,
            "n": group.n,
            "n_effective": group.n_effective,
            "low": group.low,
            "high": group.high,
        }
    yield {
        "figure": "drop",
        "value": figures.drop,
        "n": figures.common.n + figures.counter.n,
        "n_effective": figures.common.n_effective + figures.counter.n_effective,
        "low": figures.interval.low,
        "high": figures.interval.high,
    }
