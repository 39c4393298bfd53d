"""How much of a split hangs on choices that nobody can defend to the last digit: thresholds, minimum sizes, models, prompts.

Decides which variations are tried: of the rule's own numbers, and of whose answers choose. A model with other prompts is one more
model in the predictions, named apart. Chooses nothing: the published split is the recipe's.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from counteranimal.discovery.diagnostics import diagnose
from counteranimal.discovery.pairs import choose_pairs
from counteranimal.recipe import SplitRule

__all__ = ["DIFFERENCES", "MINIMA", "sensitivity"]

DIFFERENCES = (0.0, 5.0, 10.0)
MINIMA = (5, 10, 20, 40)


def sensitivity(
    pool: pa.Table, predictions: pa.Table, rule: SplitRule, vocabulary: Sequence[str]
) -> list[dict[str, Any]]:
    """Return one dict a variation of the rule: threshold and minimum in turn, then each model that has answers.

    Parameters
    ----------
    predictions : pa.Table
        1-vs-1000 predictions of one or more models on every photo of the pool. Two prompt sets are two models here, named
        apart by their spec.

    Returns
    -------
    list of dict
        `selector`, `min_difference`, `n_min`, `pairs` (classes with one), `same` (those with the recipe's own pair), the mean
        drop on report over the pairs, and the naive minus role-based drop over all eligible classes (fractions, None if none).
    """
    own = _pairs(choose_pairs(pool, predictions, rule, vocabulary))
    offered = predictions.filter(pc.equal(predictions.column("protocol"), "1v1000")).column("model")
    models = sorted(set(pc.unique(offered).to_pylist()) - {rule.selector})
    minima = sorted({*MINIMA, rule.n_min})
    varied: list[dict[str, Any]] = [
        *({"min_difference": value} for value in sorted({*DIFFERENCES, rule.min_difference})),
        *({"n_min": value} for value in minima if value != rule.n_min),
        *({"selector": model} for model in models),
    ]
    return [_one(pool, predictions, rule.model_copy(update=change), vocabulary, own) for change in varied]


def _pairs(table: pa.Table) -> dict[str, tuple[str, str]]:
    return {row["class_id"]: (row["common"], row["counter"]) for row in table.to_pylist() if row["status"] == "pair"}


def _one(
    pool: pa.Table,
    predictions: pa.Table,
    rule: SplitRule,
    vocabulary: Sequence[str],
    own: dict[str, tuple[str, str]],
) -> dict[str, Any]:
    found = choose_pairs(pool, predictions, rule, vocabulary)
    pairs = _pairs(found)
    drops = [drop for drop in found.column("drop_report").to_pylist() if drop is not None]
    return {
        "selector": rule.selector,
        "min_difference": rule.min_difference,
        "n_min": rule.n_min,
        "pairs": len(pairs),
        "same": sum(own.get(key) == pair for key, pair in pairs.items()),
        "drop_report": float(np.mean(drops)) if drops else None,
        "inflation": diagnose(pool, predictions, rule, vocabulary).inflation,
    }
