"""What would have come out otherwise: folds swapped, the paper's way of reporting, and how often the folds disagree.

Decides nothing: no pair is ever chosen again because of these figures. They are means over all classes with two eligible
backgrounds, whether or not the difference was large enough to publish, so that no filter flatters them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pyarrow as pa

from counteranimal.discovery.outcomes import Outcomes
from counteranimal.discovery.pairs import estimates, outcomes_for
from counteranimal.discovery.rule import Choice, choices
from counteranimal.recipe import SplitRule

__all__ = ["Diagnostics", "diagnose"]


@dataclass(frozen=True, slots=True)
class Diagnostics:
    """Mean drops as fractions, over `n_eligible` classes (or the one pool); None where nothing is eligible.

    `role_drop`: chosen on select, estimated on report. `swapped_drop`: chosen on report, estimated on select. `naive_drop`:
    chosen and estimated on all photos. `inflation`: naive minus role-based. `unstable_share`: where the folds choose
    different pairs.
    """

    split: str
    n_eligible: int
    role_drop: float | None
    swapped_drop: float | None
    naive_drop: float | None
    inflation: float | None
    unstable_share: float | None

    def record(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)


def diagnose(pool: pa.Table, predictions: pa.Table, rule: SplitRule, vocabulary: Sequence[str]) -> Diagnostics:
    """Return the diagnostics of one named split, whatever its `rule`; parameters as for `choose_pairs`."""
    outcomes = outcomes_for(pool, predictions, rule, vocabulary)
    select, report = outcomes.fold("select"), outcomes.fold("report")
    folds, size = (select, report), len(vocabulary)
    by_select = _found(choices(rule, select, folds, size))
    by_report = _found(choices(rule, report, folds, size))
    by_all = _found(choices(rule, outcomes, folds, size))
    if not by_select:
        return Diagnostics(rule.name, 0, None, None, None, None, None)
    role, naive = _mean_drop(report, by_select), _mean_drop(outcomes, by_all)
    moved = [by_select[key][:2] != by_report[key][:2] for key in by_select]
    return Diagnostics(
        split=rule.name,
        n_eligible=len(by_select),
        role_drop=role,
        swapped_drop=_mean_drop(select, by_report),
        naive_drop=naive,
        inflation=naive - role,
        unstable_share=sum(moved) / len(moved),
    )


def _found(chosen: Mapping[str, Choice | None]) -> dict[str, Choice]:
    return {key: choice for key, choice in chosen.items() if choice is not None}


def _mean_drop(outcomes: Outcomes, chosen: Mapping[str, Choice]) -> float:
    """Return the mean drop; a class whose extremes are one background (all accuracies equal) drops by 0."""
    apart = {key: choice for key, choice in chosen.items() if choice.common != choice.counter}
    drops = [estimate.drop for estimate in estimates(outcomes, apart).values()]
    return sum(drops) / len(chosen)
