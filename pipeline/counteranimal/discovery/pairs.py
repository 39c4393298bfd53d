"""Chooses pairs on the select fold and states what they are worth on the report fold.

Decides the table `pairs`: the rule with roles, the paper's rule without them, the reasons where there is no pair, and the stamp
`confirmed`. Publication never depends on the stamp.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from counteranimal import tables
from counteranimal.discovery.figures import class_figures, overall, sides
from counteranimal.discovery.outcomes import Outcomes, join
from counteranimal.discovery.rule import ALL_CLASSES, Choice, choices, exceeds
from counteranimal.recipe import SplitRule
from counteranimal.stats import holm

__all__ = ["Estimate", "choose_pairs", "estimates", "outcomes_for", "pairs_by_class"]


class Estimate(NamedTuple):
    """A pair's drop in one fold with its interval, one-sided p-value, photos and the two accuracies behind it."""

    drop: float
    low: float
    high: float
    p_value: float
    n_common: int
    n_counter: int
    accuracy_common: float
    accuracy_counter: float


def choose_pairs(
    pool: pa.Table,
    predictions: pa.Table,
    rule: SplitRule,
    vocabulary: Sequence[str],
    classes: Sequence[str] = (),
) -> pa.Table:
    """Return the table `pairs` of one named split.

    Parameters
    ----------
    pool : pa.Table
        Verified photos with people's backgrounds (`pool_table`).
    predictions : pa.Table
        1-vs-1000 predictions of `rule.selector`, one template, for every photo of the pool; other rows are ignored.
    rule : SplitRule
        From the recipe.
    vocabulary : sequence of str
        Backgrounds that can form a group, in vocabulary order (`Recipe.vocabulary`).
    classes : sequence of str
        Classes of the recipe, so that one without a verified photo has its row too.

    Returns
    -------
    pa.Table
        One row a class, or one row `*` for `unit = "pool"`. Where there is no pair, `reason` opens with a code: no_photos,
        one_background, one_fold_unit, too_few_photos or small_difference. Under `rule = "paper"` the columns of the select fold, the p-value
        and `unstable` are null, those of the report fold hold all photos, and nothing can be confirmed: the photos that
        estimate are those that chose.

    Raises
    ------
    IntegrityError
        If a photo of the pool has no prediction of the selector.
    """
    outcomes = outcomes_for(pool, predictions, rule, vocabulary)
    roles = rule.rule == "roles"
    select, report = (outcomes.fold("select"), outcomes.fold("report")) if roles else (outcomes, outcomes)
    folds = (select, report) if roles else (outcomes,)
    chosen = choices(rule, select, folds, len(vocabulary))
    kept = {key: choice for key, choice in chosen.items() if choice is not None and exceeds(choice, rule)}
    on_select = estimates(select, kept) if roles else {}
    on_report = estimates(report, kept)
    swapped = choices(rule, report, folds, len(vocabulary)) if roles else {}
    rows = []
    missing = [] if rule.unit == "pool" else sorted(set(classes) - set(chosen))
    for key, choice in [*chosen.items(), *((name, None) for name in missing)]:
        row: dict[str, Any] = {"split": rule.name, "class_id": key, "confirmed": False}
        other = swapped.get(key)
        if choice is not None and other is not None:
            row["unstable"] = choice[:2] != other[:2]
        if choice is None or key not in kept:
            why = _too_little(outcomes, key, len(vocabulary), rule) if choice is None else _too_small(rule, choice)
            rows.append(row | {"status": "no_pair", "reason": why})
            continue
        row |= {"status": "pair", "common": vocabulary[choice.common], "counter": vocabulary[choice.counter]}
        rows.append(row | _figures(on_select.get(key), on_report.get(key), held_out=roles))
    _stamp(rows, rule.gap_alpha)
    return tables.conform("pairs", rows)


def pairs_by_class(
    pool: pa.Table,
    predictions: pa.Table,
    rule: SplitRule,
    vocabulary: Sequence[str],
    classes: Sequence[str] = (),
) -> pa.Table:
    """Return what the per-class rule would say, to be shown beside a split with one pair for the whole pool."""
    return choose_pairs(pool, predictions, rule.model_copy(update={"unit": "class"}), vocabulary, classes)


def outcomes_for(pool: pa.Table, predictions: pa.Table, rule: SplitRule, vocabulary: Sequence[str]) -> Outcomes:
    """Return the selector's outcomes as the rule weighs them: the paper's rule counts every photo once."""
    outcomes = join(pool, predictions, rule.selector, vocabulary=vocabulary)
    return outcomes if rule.rule == "roles" else replace(outcomes, weights=np.ones_like(outcomes.weights))


def estimates(outcomes: Outcomes, chosen: Mapping[str, Choice]) -> dict[str, Estimate]:
    """Return each pair's figures on the given photos; a pair without photos in both groups has none.

    One pair for the pool is estimated by the macro drop over the classes present in both backgrounds.
    """
    correlation = outcomes.correlation()
    if ALL_CLASSES in chosen:
        pair = chosen[ALL_CLASSES]
        side = sides(outcomes, dict.fromkeys(outcomes.classes, (pair.common, pair.counter)))
        macro = overall(outcomes, side, "drop", "macro", correlation=correlation)
        if macro is None:
            return {}
        parts = class_figures(outcomes, side, correlation=correlation).values()
        n_common, n_counter = sum(part.common.n for part in parts), sum(part.counter.n for part in parts)
        common, counter = (
            sum(getattr(part, name).accuracy for part in parts) / len(parts) for name in ("common", "counter")
        )
        counted = (n_common, n_counter, common, counter)
        return {ALL_CLASSES: Estimate(macro.value, macro.low, macro.high, macro.p_value, *counted)}
    side = sides(outcomes, {name: (pair.common, pair.counter) for name, pair in chosen.items()})
    return {
        name: Estimate(
            item.drop,
            *item.interval,
            p_value=item.p_value,
            n_common=item.common.n,
            n_counter=item.counter.n,
            accuracy_common=item.common.accuracy,
            accuracy_counter=item.counter.accuracy,
        )
        for name, item in class_figures(outcomes, side, correlation=correlation).items()
    }


def _figures(select: Estimate | None, report: Estimate | None, *, held_out: bool) -> dict[str, Any]:
    row: dict[str, Any] = {}
    if select is not None:
        row |= {"n_common_select": select.n_common, "n_counter_select": select.n_counter, "drop_select": select.drop}
    if report is not None:
        row |= {"n_common_report": report.n_common, "n_counter_report": report.n_counter, "drop_report": report.drop}
        row |= {"drop_report_low": report.low, "drop_report_high": report.high}
        row |= {"p_value": report.p_value} if held_out else {}
    return row


def _too_small(rule: SplitRule, choice: Choice) -> str:
    return f"small_difference: {100 * choice.difference:.1f} points is not above {rule.min_difference:g}"


def _too_little(outcomes: Outcomes, class_id: str, n_backgrounds: int, rule: SplitRule) -> str:
    """Return a code and a sentence: what a class, or the pool, lacks for two eligible backgrounds."""
    named = [code for code, name in enumerate(outcomes.classes) if class_id in {name, ALL_CLASSES}]
    decisive = outcomes.where(np.isin(outcomes.class_of, named) & (outcomes.background_of < n_backgrounds))
    if decisive.correct.size == 0:
        return "no_photos: no verified photo on a background that can form a group"
    if np.unique(decisive.background_of).size == 1:
        return f"one_background: every usable photo is on {outcomes.backgrounds[int(decisive.background_of[0])]}"
    if rule.rule == "roles" and np.unique(decisive.unit_of).size == 1:
        return "one_fold_unit: one observer took every photo, and an observer is in one fold only"
    where = "in each fold" if rule.rule == "roles" else "in all"
    together = " of classes they share" if rule.unit == "pool" else ""
    return f"too_few_photos: fewer than two backgrounds with {rule.n_min} photos{together} {where}"


def _stamp(rows: list[dict[str, Any]], level: float) -> None:
    """Confirm the pairs that Holm's procedure at `level` rejects "no drop" for, on the report fold."""
    tested = [row for row in rows if row.get("p_value") is not None]
    for row, adjusted in zip(tested, holm([row["p_value"] for row in tested]), strict=True):
        row["confirmed"] = adjusted <= level
