"""Wilson's and Newcombe's intervals hold against reference figures, against statsmodels and as properties."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.proportion import confint_proportions_2indep, proportion_confint

from counteranimal.errors import UsageError
from counteranimal.stats import combined_p, newcombe, newcombe_p, wilson

accuracies = st.floats(0.0, 1.0)
sizes = st.floats(1.0, 5_000.0)


@pytest.mark.case("I09")
@pytest.mark.parametrize(
    ("right", "n", "low", "high"), [(80, 100, 0.7112, 0.8666), (10, 10, 0.7225, 1.0), (50, 50, 0.9287, 1.0)]
)
def test_wilson_gives_the_reference_figures(right: int, n: int, low: float, high: float) -> None:
    """Wilson's 95 % interval equals the reference to four places."""
    interval = wilson(right / n, n)
    assert (round(interval.low, 4), round(interval.high, 4)) == (low, high)


@pytest.mark.case("I10")
def test_newcombe_gives_the_reference_figures() -> None:
    """80 of 100 against 60 of 100 gives 0.200 with Newcombe's [0.0731, 0.3185]."""
    interval = newcombe(0.80, 100, 0.60, 100)
    assert (round(interval.low, 4), round(interval.high, 4)) == (0.0731, 0.3185)


@pytest.mark.parametrize("level", [0.5, 0.9, 0.95, 0.999])
@pytest.mark.parametrize(("k1", "n1", "k2", "n2"), [(1, 3, 0, 7), (17, 40, 30, 41), (500, 501, 71, 72), (12, 12, 0, 9)])
def test_intervals_agree_with_statsmodels(k1: int, n1: int, k2: int, n2: int, level: float) -> None:
    """Both intervals equal an independent implementation at several levels."""
    expected = proportion_confint(k1, n1, alpha=1 - level, method="wilson")
    assert wilson(k1 / n1, n1, level=level) == pytest.approx(expected, abs=1e-12)
    expected = confint_proportions_2indep(k1, n1, k2, n2, method="newcomb", alpha=1 - level)
    assert newcombe(k1 / n1, n1, k2 / n2, n2, level=level) == pytest.approx(expected, abs=1e-12)


@given(accuracies, sizes)
def test_wilson_holds_the_accuracy_and_stays_in_range(accuracy: float, n: float) -> None:
    """The interval contains its accuracy and stays between 0 and 1."""
    low, high = wilson(accuracy, n)
    assert 0.0 <= low <= accuracy + 1e-12
    assert accuracy - 1e-12 <= high <= 1.0


@given(accuracies, sizes, st.floats(1.01, 10.0))
def test_more_photos_never_widen_wilson(accuracy: float, n: float, factor: float) -> None:
    """More effective photos at the same accuracy never give a wider interval."""
    small, large = wilson(accuracy, n), wilson(accuracy, n * factor)
    assert large.high - large.low <= small.high - small.low + 1e-12


@given(accuracies, sizes, accuracies, sizes)
def test_newcombe_is_antisymmetric(first: float, n: float, second: float, m: float) -> None:
    """Swapping the groups mirrors the interval."""
    there, back = newcombe(first, n, second, m), newcombe(second, m, first, n)
    assert there.low == pytest.approx(-back.high, abs=1e-12)
    assert there.high == pytest.approx(-back.low, abs=1e-12)


@given(accuracies, sizes, accuracies, sizes)
def test_p_is_the_level_at_which_the_lower_bound_reaches_zero(first: float, n: float, second: float, m: float) -> None:
    """The two-sided interval of level 1 - 2p starts at 0; a drop of 0 or less has p = 1."""
    p_value = newcombe_p(first, n, second, m)
    if first <= second:
        assert p_value == 1.0
    elif 1e-8 < p_value < 0.4999:
        assert newcombe(first, n, second, m, level=1 - 2 * p_value).low == pytest.approx(0.0, abs=1e-6)


def test_p_agrees_with_the_interval_at_five_percent() -> None:
    """The one-sided p of the reference pair is below 2.5 % exactly because the 95 % interval excludes 0."""
    assert newcombe_p(0.80, 100, 0.60, 100) < 0.025
    assert newcombe_p(0.80, 100, 0.70, 100) > 0.025
    assert newcombe(0.80, 100, 0.70, 100).low < 0


def test_overwhelming_evidence_has_a_tiny_p() -> None:
    """A drop beyond any doubt neither divides by zero nor reaches it."""
    assert newcombe_p(1.0, 1e7, 0.0, 1e7) < 1e-200
    assert combined_p([0.5], [10.0], [-1.0]) == 1.0


@pytest.mark.parametrize(("accuracy", "n"), [(1.2, 10), (0.5, 0), (float("nan"), 3)])
def test_impossible_figures_are_refused(accuracy: float, n: float) -> None:
    """An accuracy outside 0 to 1, no photos and NaN are errors, never an interval."""
    with pytest.raises(UsageError, match="accuracy from 0 to 1"):
        wilson(accuracy, n)
