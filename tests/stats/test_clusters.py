"""Clusters of photos shrink the effective size, and macro figures follow units across groups and classes."""

from __future__ import annotations

import math

import numpy as np
import pytest
import statsmodels.api as sm
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import f_oneway, ttest_ind
from scipy.stats import t as student

from counteranimal.errors import UsageError
from counteranimal.stats import (
    Contrast,
    combined,
    effective_size,
    group_accuracy,
    intraclass_correlation,
    linear_figure,
    mean_cluster_size,
    newcombe,
    wilson,
)


def clustered(rng: np.random.Generator, *, units: int, size: int, accuracy: float, rho: float) -> np.ndarray:
    """Return correctness of units x size photos with the given accuracy and intra-class correlation (beta-binomial)."""
    total = (1 - rho) / rho
    return (rng.random((units, size)) < rng.beta(accuracy * total, (1 - accuracy) * total, (units, 1))).astype(float)


def test_cluster_size_weighs_large_units() -> None:
    """The cluster size m' is sum(m^2)/sum(m): units of 3 and 1 photos give 2.5, not 2."""
    assert mean_cluster_size(["a", "a", "a", "b"]) == 2.5


def test_effective_size_divides_by_both_effects() -> None:
    """Unequal weights and clusters both cost photos, as in DESIGN section 7."""
    weights, units = np.array([1.0, 1.0, 2.0, 4.0]), np.array([0, 0, 1, 1])
    assert effective_size(weights, units, 0.5) == pytest.approx(8**2 / 22 / 1.5)


def test_equal_weights_without_clusters_count_every_photo() -> None:
    """Without weights and clusters a group's figures are plain Wilson."""
    correct = np.repeat([1.0, 0.0], [80, 20])
    figures = group_accuracy(correct, np.ones(100), np.arange(100), correlation=0.7)
    assert figures[:4] == (100, 80, 100.0, 0.8)
    assert figures[4:] == pytest.approx(wilson(0.8, 100))


def test_anova_correlation_matches_the_hand_computed_one() -> None:
    """Two groups of two units: MSB 0.5, MSW 0.25, m0 2 give rho 1/3."""
    correct = np.array([1, 1, 1, 0, 1, 0, 0, 0], dtype=float)
    groups, units = np.repeat([0, 1], 4), np.array([0, 0, 1, 1, 0, 0, 2, 2])
    # Inside each group: between sum 0.25 on 1 df; within sum 0.5 on 2 df. Pooled MSB = .5/2, MSW = 1/4.
    assert intraclass_correlation(correct, groups, units) == pytest.approx(0.0)
    correct = np.array([1, 1, 0, 0, 1, 1, 1, 0], dtype=float)
    msb, msw = (1.0 + 0.25) / 2, 0.5 / 4
    assert intraclass_correlation(correct, groups, units) == pytest.approx((msb - msw) / (msb + msw))


def test_anova_correlation_recovers_a_planted_one() -> None:
    """With many units the estimate is near the truth, also when groups differ in accuracy."""
    rng = np.random.default_rng(4)
    parts = [clustered(rng, units=2_000, size=4, accuracy=accuracy, rho=0.3) for accuracy in (0.4, 0.8)]
    correct = np.concatenate([part.ravel() for part in parts])
    groups, units = np.repeat([0, 1], 8_000), np.repeat(np.arange(4_000), 4)
    assert intraclass_correlation(correct, groups, units) == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize(
    ("units", "expected"), [([0, 1, 2, 3], 0.0), ([0, 0, 0, 0], 1.0)], ids=["all apart", "one unit a group"]
)
def test_inestimable_correlation_errs_on_the_safe_side(units: list[int], expected: float) -> None:
    """Without repeats there is nothing to correct; with one unit only, its photos count as one."""
    correct = np.array([1.0, 0.0, 1.0, 1.0])
    assert intraclass_correlation(correct, np.zeros(4, dtype=int), np.array(units)) == expected


@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 2), st.integers(0, 4)), min_size=1, max_size=40))
def test_correlation_stays_between_zero_and_one(rows: list[tuple[int, int, int]]) -> None:
    """Whatever the layout, rho is a number from 0 to 1."""
    correct, groups, units = (np.array(column) for column in zip(*rows, strict=True))
    assert 0.0 <= intraclass_correlation(correct.astype(float), groups, units) <= 1.0


def test_empty_groups_are_refused() -> None:
    """An empty group has no figure and says so."""
    nothing = np.array([])
    with pytest.raises(UsageError, match="empty group"):
        group_accuracy(nothing, nothing, nothing, correlation=0.0)
    with pytest.raises(UsageError, match="empty groups out"):
        linear_figure(
            Contrast(np.ones(1), np.ones(1), np.zeros(1, int), np.zeros(1, int), np.array([1.0, -1.0])), correlation=0.0
        )


def contrast(correct: list[float], units: list[int], cells: list[int], coefficients: list[float]) -> Contrast:
    n = len(correct)
    return Contrast(np.array(correct), np.ones(n), np.array(units), np.array(cells), np.array(coefficients))


def test_macro_drop_has_the_linearised_variance() -> None:
    """The interval equals value +- t(G-1) times sqrt(G/(G-1) sum u_g^2), computed by hand over three units."""
    given = contrast([1, 1, 0, 1, 0, 0], [0, 1, 2, 0, 1, 2], [0, 0, 0, 1, 1, 1], [1, -1])
    figure = linear_figure(given, correlation=0, level=0.8)
    u = np.array([1 / 9 - 2 / 9, 1 / 9 + 1 / 9, -2 / 9 + 1 / 9])
    error = math.sqrt(3 / 2 * (u**2).sum())
    assert figure.value == pytest.approx(1 / 3)
    assert figure.n_units == 3
    assert figure.low == pytest.approx(1 / 3 - student.ppf(0.9, 2) * error)
    assert figure.p_value == pytest.approx(student.sf(1 / 3 / error, 2))


def test_a_unit_in_both_groups_cancels() -> None:
    """When the same units are right in both groups together, the drop's interval is narrower than for strangers."""
    correct, cells = [1, 1, 0, 0, 1, 0, 0, 0], [0] * 4 + [1] * 4
    paired = linear_figure(contrast(correct, [0, 1, 2, 3, 0, 1, 2, 3], cells, [1, -1]), correlation=0)
    apart = linear_figure(contrast(correct, list(range(8)), cells, [1, -1]), correlation=0)
    assert paired.high - paired.low < apart.high - apart.low


def test_certainty_is_never_published() -> None:
    """Groups that are all right or all wrong have zero variance, yet the interval keeps a width: Newcombe's."""
    figure = linear_figure(contrast([1, 1, 1, 0, 0], [0, 1, 2, 3, 4], [0, 0, 0, 1, 1], [1, -1]), correlation=0)
    assert (figure.low, figure.high) == pytest.approx(newcombe(1, 3, 0, 2))
    assert 0 < figure.p_value < 0.5


def test_one_unit_says_nothing() -> None:
    """With a single fold unit the interval is the whole range and nothing is significant."""
    figure = linear_figure(contrast([1, 1, 0], [7, 7, 7], [0, 0, 1], [1, -1]), correlation=0)
    assert (figure.value, figure.low, figure.high, figure.p_value) == (1.0, -1.0, 1.0, 1.0)


def test_intervals_cover_the_truth_under_clusters() -> None:
    """With clusters of four at rho 0.3, group and macro intervals cover near 95 %, the plain ones clearly less."""
    rng = np.random.default_rng(11)
    hits = {"plain": 0, "group": 0, "macro": 0}
    classes, units, size, rounds = 6, 20, 4, 500
    truth = {0: 0.75, 1: 0.55}
    cells = np.repeat(np.arange(2 * classes), units * size)
    unit = np.repeat(np.arange(2 * classes * units), size)
    coefficients = np.tile([1 / classes, -1 / classes], classes)
    for _ in range(rounds):
        parts = [clustered(rng, units=units, size=size, accuracy=truth[c % 2], rho=0.3) for c in range(2 * classes)]
        correct = np.concatenate([part.ravel() for part in parts])
        weights = np.ones_like(correct)
        rho = intraclass_correlation(correct, cells, unit)
        own = group_accuracy(correct[:80], weights[:80], unit[:80], correlation=rho)
        plain = wilson(own.accuracy, 80)
        macro = linear_figure(Contrast(correct, weights, unit, cells, coefficients), correlation=rho)
        hits["plain"] += plain.low <= truth[0] <= plain.high
        hits["group"] += own.low <= truth[0] <= own.high
        hits["macro"] += macro.low <= truth[0] - truth[1] <= macro.high
    assert hits["plain"] / rounds < 0.89
    assert 0.92 <= hits["group"] / rounds <= 0.98
    assert 0.92 <= hits["macro"] / rounds <= 0.98


@pytest.mark.parametrize(
    "per_class",
    [np.full(20, 2), np.array([1] * 12 + [3] * 8), np.ones(20, int)],
    ids=["two units a class", "one or three", "one"],
)
def test_classes_of_few_units_do_not_look_certain(per_class: np.ndarray) -> None:
    """Units with photos in both groups, few a class: intervals cover; plain terms times G/(G-1) would cover far less."""
    rng = np.random.default_rng(21)
    classes, size, rounds, hits, plain = len(per_class), 4, 400, 0, 0
    n = int(per_class.sum())
    unit = np.repeat(np.arange(n), 2 * size)
    cells = np.repeat(np.repeat(np.arange(classes), per_class), 2 * size) * 2 + np.tile(np.repeat([0, 1], size), n)
    coefficients = np.tile([1 / classes, -1 / classes], classes)
    for _ in range(rounds):
        parts = [clustered(rng, units=n, size=size, accuracy=accuracy, rho=0.3) for accuracy in (0.75, 0.55)]
        correct = np.stack(parts, axis=1).ravel()
        figure = linear_figure(Contrast(correct, np.ones(correct.size), unit, cells, coefficients), correlation=0.3)
        means = np.bincount(cells, correct) / np.bincount(cells)
        own = np.bincount(unit, (coefficients / np.bincount(cells))[cells] * (correct - means[cells]))
        reach = student.ppf(0.975, n - 1) * math.sqrt(n / (n - 1) * (own**2).sum())
        hits += figure.low <= 0.2 <= figure.high
        plain += abs(figure.value - 0.2) <= reach
    assert hits / rounds >= 0.92
    assert plain / rounds < 0.86


def test_linear_figures_agree_with_a_cluster_robust_regression() -> None:
    """Where every unit has photos in every cell, contrast, error and t interval equal statsmodels' WLS with clustered errors."""
    rng = np.random.default_rng(5)
    n, units = 320, 40
    unit, cells = np.tile(np.arange(units), 8), np.repeat(np.tile(np.arange(4), 2), units)
    weights, correct = rng.uniform(0.5, 3.0, n), (rng.random(n) < 0.6).astype(float)
    coefficients = np.array([0.5, -0.5, 0.5, -0.5])
    fitted = sm.WLS(correct, np.eye(4)[cells], weights=weights).fit(
        cov_type="cluster", cov_kwds={"groups": unit, "use_correction": False}
    )
    figure = linear_figure(Contrast(correct, weights, unit, cells, coefficients), correlation=0.0)
    error = math.sqrt(units / (units - 1) * float(coefficients @ fitted.cov_params() @ coefficients))
    assert figure.value == pytest.approx(float(coefficients @ fitted.params), abs=1e-12)
    assert figure.high - figure.value == pytest.approx(student.ppf(0.975, units - 1) * error, abs=1e-12)


def test_independent_groups_have_the_unpooled_variance() -> None:
    """One photo a unit, two cells: the error is that of two independent means, s^2/n each, as Welch's test in SciPy has it."""
    rng = np.random.default_rng(7)
    first, second = (rng.random(30) < 0.8).astype(float), (rng.random(20) < 0.5).astype(float)
    correct, cells = np.concatenate([first, second]), np.repeat([0, 1], [30, 20])
    figure = linear_figure(Contrast(correct, np.ones(50), np.arange(50), cells, np.array([1.0, -1.0])), correlation=0.0)
    error = (first.mean() - second.mean()) / ttest_ind(first, second, equal_var=False).statistic
    assert figure.high - figure.value == pytest.approx(student.ppf(0.975, 49) * error, abs=1e-12)


def test_anova_correlation_agrees_with_scipy() -> None:
    """In one group of equal units the mean squares are those of SciPy's one-way analysis of variance."""
    parts = clustered(np.random.default_rng(6), units=12, size=5, accuracy=0.6, rho=0.3)
    ratio = f_oneway(*parts).statistic  # MSB / MSW, so rho = (F - 1) / (F - 1 + m)
    rho = intraclass_correlation(parts.ravel(), np.zeros(60, dtype=int), np.repeat(np.arange(12), 5))
    assert rho == pytest.approx((ratio - 1) / (ratio - 1 + 5))


def test_combined_interval_of_one_accuracy_is_wilson() -> None:
    """The general combination reduces to Wilson for one group."""
    assert combined([0.3], [20.0], [1.0]) == pytest.approx(wilson(0.3, 20))
