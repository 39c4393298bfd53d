"""Turns predictions into the table `results`: accuracies and drops of each split, fold, model and protocol, with intervals.

Decides which figures are published. Leaves the estimates themselves to `discovery`, which states its own pairs by the same
functions.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
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

__all__ = ["ALL_CLASSES", "folds_of", "headline_fold", "results_table"]

ALL_CLASSES = "*"
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
    for protocol in PROTOCOLS:
        judged = predictions.filter(pc.equal(predictions.column("protocol"), protocol))
        photos = _judged_classes(entries, judged)
        for model in sorted(set(pc.unique(judged.column("model")).to_pylist())):
            outcomes = join(photos, judged, model, protocol=protocol)
            for split, rule in sorted(rules.items()):
                side = sides_of(photos, splits, split)
                for fold, figure in _split_rows(outcomes, side, rule):
                    rows.append(_key(split, fold, model, protocol) | figure)
    return tables.conform("results", rows)


def _key(split: str, fold: str, model: str, protocol: ProtocolName) -> dict[str, Any]:
    return {"split": split, "fold": fold, "model": model, "protocol": protocol}


def _judged_classes(entries: pa.Table, judged: pa.Table) -> pa.Table:
    """Return the entries of the classes that the protocol judged; inside such a class every photo must have its prediction."""
    seen = pc.is_in(entries.column("photo_id"), value_set=judged.column("photo_id").combine_chunks())
    classes = pc.unique(entries.column("class_id").filter(seen))
    return entries.filter(pc.is_in(entries.column("class_id"), value_set=classes))


def _split_rows(
    outcomes: Outcomes, side: NDArray[np.int8], rule: Mapping[str, Any]
) -> Iterator[tuple[FoldName, dict[str, Any]]]:
    if rule.get("rule") == "paper":
        outcomes = replace(outcomes, weights=np.ones_like(outcomes.weights))
    for fold in folds_of(rule):
        inside = outcomes.in_fold(fold)
        part, part_side = outcomes.where(inside), side[inside]
        correlation = part.correlation()
        by_class = class_figures(part, part_side, correlation=correlation)
        for class_id, figures in by_class.items():
            for row in _class_rows(figures):
                yield fold, {"class_id": class_id} | row
        for weighting in _WEIGHTINGS:
            for figure, name in _FIGURES.items():
                found = overall(part, part_side, figure, weighting, correlation=correlation)
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
                yield fold, {"class_id": ALL_CLASSES, "figure": f"{weighting}_{name}"} | interval | counts


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
