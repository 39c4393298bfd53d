"""Tries the rule and the intervals of a release on collections whose truth is known: `python -m counteranimal.discovery.simulation`.

Decides what counts as bias and as coverage, and which collections are drawn. Reads no data and decides nothing about any. The
functions under trial are those that publish: `choices`, `estimates`, `group_accuracies`, `newcombe`, `overall`,
`paired_difference`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from counteranimal.discovery.figures import class_figures, overall, sides
from counteranimal.discovery.pairs import estimates
from counteranimal.discovery.rule import Choice, choices
from counteranimal.discovery.worlds import Scenario, World, draw
from counteranimal.recipe import SplitRule
from counteranimal.stats import PairedSample, paired_difference, photos_needed

__all__ = ["BIAS", "COVERAGE", "KINDS", "LABELS", "Mean", "bias", "coverage", "main"]

RULE = SplitRule(name="simulated", n_min=20)
KINDS = ("group", "class_drop", "macro_drop", "model_difference")

BIAS = (
    Scenario(name="no effect", spread=0.0),
    Scenario(name="small effects", spread=0.04),
    Scenario(name="middling effects"),
    Scenario(name="strong effects", spread=0.16),
    Scenario(name="strong effects, observers", spread=0.16, cluster=4, correlation=0.3),
    Scenario(name="middling effects, uneven sampling", accuracy=0.6, spread=0.06, uneven=0.2),
)
# A machine that takes 15 % of the photos it does not recognise for one and the same background, and never another.
_NO_EFFECT = Scenario(name="true backgrounds", backgrounds=4, accuracy=0.6, spread=0.0, photos=2_000, classes=20)
LABELS = (
    _NO_EFFECT,
    replace(_NO_EFFECT, name="machine labels", mistaken=0.15),
    replace(_NO_EFFECT, name="anchored annotators", mistaken=0.15, accepted=0.3),
)
_SMALL = Scenario(name="", classes=12, backgrounds=4)
_UNEVEN = replace(_SMALL, name="uneven sampling", photos=80, uneven=0.2, accuracy=0.6, spread=0.06)
COVERAGE = (
    replace(_SMALL, name="30 photos, one an observer", photos=30),
    replace(_SMALL, name="80 photos, one an observer", photos=80),
    replace(_SMALL, name="no effect", photos=60, spread=0.0),
    replace(_SMALL, name="strong effects", photos=60, spread=0.16),
    replace(_SMALL, name="accurate models", photos=80, accuracy=0.85, spread=0.05),
    replace(_SMALL, name="observers, one background each", photos=60, cluster=4, correlation=0.3),
    replace(_SMALL, name="observers across backgrounds", photos=60, cluster=4, correlation=0.3, shared=True),
    _UNEVEN,
    replace(_UNEVEN, name="uneven sampling, observers", photos=120, cluster=3, correlation=0.2),
)


class Mean(NamedTuple):
    """A mean over draws and its Monte-Carlo standard error."""

    value: float
    error: float


def _mean(values: Sequence[float]) -> Mean:
    array = np.asarray(values)
    return Mean(float(array.mean()), float(array.std(ddof=1) / np.sqrt(array.size)) if array.size > 1 else float("nan"))


def bias(scenario: Scenario, draws: int, *, rng: np.random.Generator) -> dict[str, Mean]:
    """Return estimate minus truth (fractions, mean over classes) of four ways to report, and the true drop with roles.

    `naive`: chosen and estimated on all photos. `filtered`: with roles, but only pairs whose interval on report excludes 0.
    `agreeing`: only pairs that both folds choose. `role_based`: with roles, every class.
    """
    found: dict[str, list[float]] = {}
    for _ in range(draws):
        world = draw(scenario, rng)
        for name, value in _one_bias(world).items():
            found.setdefault(name, []).append(value)
    return {name: _mean(values) for name, values in found.items()}


def _one_bias(world: World) -> dict[str, float]:
    outcomes = world.outcomes
    select, report = outcomes.fold("select"), outcomes.fold("report")
    folds, size = (select, report), len(outcomes.backgrounds)
    by_select, by_report, by_all = (
        {name: choice for name, choice in choices(RULE, fold, folds, size).items() if choice is not None}
        for fold in (select, report, outcomes)
    )
    on_report, on_all = estimates(report, by_select), estimates(outcomes, by_all)
    off = {name: item.drop - _truth(world, name, by_select[name]) for name, item in on_report.items()}
    kinds = {
        "naive": [item.drop - _truth(world, name, by_all[name]) for name, item in on_all.items()],
        "filtered": [off[name] for name, item in on_report.items() if item.low > 0.0],
        "agreeing": [value for name, value in off.items() if by_select[name][:2] == by_report[name][:2]],
        "role_based": list(off.values()),
        "true_drop": [_truth(world, name, by_select[name]) for name in off],
        "role_based_drop": [item.drop for item in on_report.values()],
        "naive_drop": [item.drop for item in on_all.values()],
    }
    return {name: float(np.mean(values)) for name, values in kinds.items() if values}


def _truth(world: World, class_id: str, choice: Choice) -> float:
    own = world.truth[world.outcomes.classes.index(class_id)]
    return float(own[choice.common] - own[choice.counter])


def coverage(
    scenario: Scenario, draws: int, *, rng: np.random.Generator, bootstrap_draws: int = 2_000
) -> dict[str, Mean]:
    """Return the share of 95 % intervals that hold the truth, by kind (`KINDS`), pairs chosen on select as in a release.

    The standard error treats each draw of a collection as one observation, since its classes share nothing but luck.
    """
    found: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for _ in range(draws):
        world = draw(scenario, rng)
        for kind, share in _one_coverage(world, rng, bootstrap_draws).items():
            found[kind].append(share)
    return {kind: _mean(values) for kind, values in found.items()}


def _one_coverage(world: World, rng: np.random.Generator, bootstrap_draws: int) -> dict[str, float]:
    outcomes = world.outcomes
    select, inside = outcomes.fold("select"), outcomes.in_fold("report")
    report = outcomes.where(inside)
    chosen = {
        name: choice
        for name, choice in choices(RULE, select, (select, report), len(outcomes.backgrounds)).items()
        if choice is not None and choice.common != choice.counter
    }
    side = sides(report, {name: (choice.common, choice.counter) for name, choice in chosen.items()})
    correlation = report.correlation()
    classes, groups = [], []
    for name, item in class_figures(report, side, correlation=correlation).items():
        own = world.truth[outcomes.classes.index(name)]
        choice = chosen[name]
        classes.append(_holds(item.interval, _truth(world, name, choice)))
        groups += [_holds((item.common.low, item.common.high), own[choice.common])]
        groups += [_holds((item.counter.low, item.counter.high), own[choice.counter])]
    macro = overall(report, side, "drop", "macro", correlation=correlation)
    true_macro = float(np.mean([_truth(world, name, choice) for name, choice in chosen.items()]))
    pair = report.where(side != 0)
    sample = PairedSample(
        pair.class_of, side[side != 0] < 0, pair.unit_of, pair.weights, world.other[inside][side != 0], pair.correct
    )
    difference = paired_difference(sample, "counter", rng=rng, draws=bootstrap_draws)
    gains = world.other_truth - world.truth
    true_gain = float(np.mean([gains[outcomes.classes.index(name), choice.counter] for name, choice in chosen.items()]))
    return {
        "group": float(np.mean(groups)),
        "class_drop": float(np.mean(classes)),
        "macro_drop": float(macro is not None and _holds((macro.low, macro.high), true_macro)),
        "model_difference": float(_holds((difference.low, difference.high), true_gain)),
    }


def _holds(interval: tuple[float, float], truth: float) -> bool:
    return bool(interval[0] <= truth <= interval[1])


def _points(means: dict[str, Mean]) -> dict[str, list[float | None]]:
    """Return value and error in points; the error of a single draw is unknown."""
    return {
        name: [round(100 * mean.value, 2), None if np.isnan(mean.error) else round(100 * mean.error, 2)]
        for name, mean in means.items()
    }


def main(arguments: Sequence[str] | None = None, *, tell: Callable[[str], None] = print) -> None:
    """Run every part and print one JSON line a scenario: values and Monte-Carlo standard errors in percentage points."""
    parser = argparse.ArgumentParser(description="Try the rule and its intervals where the truth is known.")
    parser.add_argument("--quick", action="store_true", help="a tenth of the draws, under a minute")
    parser.add_argument("--seed", type=int, default=2024)
    parser.add_argument(
        "--only", choices=("bias", "labels", "coverage", "size"), help="run one part instead of all four"
    )
    parser.add_argument("--draws", type=int, help="collections a scenario of `coverage`, 120 by default")
    given = parser.parse_args(arguments)
    rng = np.random.default_rng(given.seed)
    many, some, few = (10, 2, 8) if given.quick else (100, 6, 120)
    parts: dict[str, Callable[[], None]] = {
        "bias": lambda: _tell_bias(many, rng, tell),
        "labels": lambda: _tell_labels(some, rng, tell),
        "coverage": lambda: _tell_coverage(given.draws or few, rng, tell),
        "size": lambda: _tell_sizes(tell),
    }
    for name, part in parts.items():
        if given.only in {None, name}:
            part()


def _over_scenarios(means: Sequence[Mean]) -> Mean:
    """Return the mean over scenarios with its Monte-Carlo error; scenarios are drawn independently."""
    error = float(np.sqrt(sum(mean.error**2 for mean in means))) / len(means)
    return Mean(float(np.mean([mean.value for mean in means])), error)


def _tell_bias(draws: int, rng: np.random.Generator, tell: Callable[[str], None]) -> None:
    own = []
    for scenario in BIAS:
        found = bias(scenario, draws, rng=rng)
        own.append(found["role_based"])
        tell(json.dumps({"part": "bias", "scenario": scenario.name, "draws": draws, **_points(found)}))
    tell(json.dumps({"part": "bias", "scenario": "all", **_points({"role_based": _over_scenarios(own)})}))


def _tell_labels(draws: int, rng: np.random.Generator, tell: Callable[[str], None]) -> None:
    for scenario in LABELS:
        found = bias(scenario, draws, rng=rng)
        tell(json.dumps({"part": "labels", "scenario": scenario.name, "draws": draws, **_points(found)}))


def _tell_coverage(draws: int, rng: np.random.Generator, tell: Callable[[str], None]) -> None:
    by_kind: dict[str, list[Mean]] = {kind: [] for kind in KINDS}
    for scenario in COVERAGE:
        found = coverage(scenario, draws, rng=rng, bootstrap_draws=500)
        for kind in KINDS:
            by_kind[kind].append(found[kind])
        tell(json.dumps({"part": "coverage", "scenario": scenario.name, "draws": draws, **_points(found)}))
    means = {kind: _over_scenarios(values) for kind, values in by_kind.items()}
    tell(json.dumps({"part": "coverage", "scenario": "mean over scenarios", **_points(means)}))


def _tell_sizes(tell: Callable[[str], None]) -> None:
    for drop in (0.3, 0.2, 0.1):
        needed = photos_needed(0.75, drop)
        told = {"part": "size", "drop": round(100 * drop), "effective": needed, "at_effect_1.9": needed * 1.9}
        tell(json.dumps(told))


if __name__ == "__main__":
    main()
