"""Tests of several p-values and of two models agree with reference figures and independent implementations."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest
from statsmodels.stats.multitest import multipletests

from counteranimal.errors import UsageError
from counteranimal.stats import holm, mcnemar_exact


@pytest.mark.case("I11")
@pytest.mark.parametrize(("first", "second", "p_value"), [(40, 20, 0.0135), (5, 0, 0.0625), (0, 0, 1.0)])
def test_mcnemar_gives_the_reference_figures(first: int, second: int, p_value: float) -> None:
    """The exact p-value equals the reference to four places."""
    assert round(mcnemar_exact(first, second), 4) == p_value


@settings(deadline=None)
@given(st.integers(0, 3_000), st.integers(0, 3_000))
def test_mcnemar_is_a_binomial_test(first: int, second: int) -> None:
    """It is the two-sided binomial test at one half, in either order and for any size."""
    expected = binomtest(first, first + second, 0.5).pvalue if first + second else 1.0
    assert mcnemar_exact(first, second) == pytest.approx(expected, rel=1e-7)
    assert mcnemar_exact(first, second) == mcnemar_exact(second, first)


@pytest.fixture(scope="module")
def small_heap() -> Iterator[None]:
    """Keep what is loaded out of the garbage collector: statsmodels calls it for every adjustment, a second each in a full process."""
    gc.freeze()
    yield
    gc.unfreeze()


@pytest.mark.case("I12")
@pytest.mark.usefixtures("small_heap")
@settings(deadline=None)
@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=30))
def test_holm_agrees_with_statsmodels(p_values: list[float]) -> None:
    """Adjusted p-values equal an independent implementation, in the order given."""
    assert holm(p_values) == pytest.approx(list(multipletests(p_values, method="holm")[1]), abs=1e-12)


def test_holm_of_nothing_is_nothing() -> None:
    """No classes with a pair: no p-values, no error."""
    assert holm([]) == []


def test_a_p_value_that_is_not_a_number_is_refused() -> None:
    """NaN among the p-values would silently reorder them."""
    with pytest.raises(UsageError, match="between 0 and 1"):
        holm([0.1, float("nan")])
