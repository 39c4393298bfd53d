"""What a person is told about each class of a split: the pair, both accuracies, photos, drops and stamps.

Decides which figures stand side by side: the pair in each fold, and beside it what choosing and estimating on all photos would
have claimed. Leaves the rule to `rule`, the estimates to `pairs`, and the layout to whoever prints.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa

from counteranimal.discovery.outcomes import Outcomes
from counteranimal.discovery.pairs import Estimate, choose_pairs, estimates, outcomes_for
from counteranimal.discovery.rule import Choice, choices
from counteranimal.recipe import SplitRule

__all__ = ["summary"]

_TOLD = ("class_id", "status", "reason", "p_value", "confirmed", "unstable", "common", "counter")


def summary(
    pool: pa.Table,
    predictions: pa.Table,
    rule: SplitRule,
    vocabulary: Sequence[str],
    classes: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """Return one plain dict a class of a split (or one, `*`, for the whole pool); parameters as for `choose_pairs`.

    Returns
    -------
    list of dict
        The pair's status, reason, backgrounds, p-value and stamps; `folds`: fold -> photos, accuracies (fractions), drop and
        its interval (`all` is the one fold of the paper's rule); `naive`: the pair that all photos would choose and its drop
        on the same photos, None where nothing is eligible.
    """
    rows = choose_pairs(pool, predictions, rule, vocabulary, classes).to_pylist()
    outcomes = outcomes_for(pool, predictions, rule, vocabulary)
    halves = {name: outcomes.fold(name) for name in ("select", "report")}
    roles = rule.rule == "roles"
    code = {name: number for number, name in enumerate(vocabulary)}
    chosen = {
        row["class_id"]: Choice(code[row["common"]], code[row["counter"]], 0.0)
        for row in rows
        if row["status"] == "pair"
    }
    folds: Mapping[str, Outcomes] = halves if roles else {"all": outcomes}
    by_fold = {name: estimates(fold, chosen) for name, fold in folds.items()}
    naive = {
        name: choice
        for name, choice in choices(rule, outcomes, list(folds.values()), len(vocabulary)).items()
        if choice is not None and choice.common != choice.counter
    }
    on_all = estimates(outcomes, naive)
    return [
        {
            **{name: row[name] for name in _TOLD},
            "folds": {name: _told(found.get(row["class_id"])) for name, found in by_fold.items()},
            "naive": _told_naive(naive, on_all, row["class_id"], vocabulary),
        }
        for row in rows
    ]


def _told(estimate: Estimate | None) -> dict[str, Any] | None:
    return (
        None if estimate is None else {name: value for name, value in estimate._asdict().items() if name != "p_value"}
    )


def _told_naive(
    naive: Mapping[str, Choice], found: Mapping[str, Estimate], key: str, vocabulary: Sequence[str]
) -> dict[str, Any] | None:
    told = _told(found.get(key))
    if told is None:
        return None
    return {"common": vocabulary[naive[key].common], "counter": vocabulary[naive[key].counter], **told}
