"""How many photos a group needs agrees with an independent calculation of power."""

from __future__ import annotations

import math

import pytest
from statsmodels.stats.power import normal_power_het

from counteranimal.errors import UsageError
from counteranimal.stats import photos_needed


def power(n: int, common: float, drop: float, tests: int) -> float:
    """Return statsmodels' power of the one-sided z-test with unpooled variance at Bonferroni's level."""
    counter = common - drop
    spread = math.sqrt(common * (1 - common) + counter * (1 - counter))
    found = normal_power_het(drop, n, 0.05 / tests, std_null=spread, std_alternative=spread, alternative="larger")
    return float(found)


@pytest.mark.parametrize(
    ("common", "drop", "tests"), [(0.75, 0.3, 45), (0.75, 0.2, 45), (0.75, 0.1, 45), (0.9, 0.05, 1), (0.6, 0.6, 3)]
)
def test_it_is_the_smallest_number_with_the_power_asked_for(common: float, drop: float, tests: int) -> None:
    """At that many photos statsmodels finds a power of 80 %, at one less it does not."""
    n = photos_needed(common, drop, tests=tests)
    assert power(n, common, drop, tests) >= 0.8 > power(n - 1, common, drop, tests)


@pytest.mark.parametrize(("common", "drop"), [(0.75, 0.0), (0.5, 0.6), (1.2, 0.1), (0.75, -0.1)])
def test_impossible_drops_are_refused(common: float, drop: float) -> None:
    """No drop, one above the accuracy, and fractions outside 0 to 1 have no size."""
    with pytest.raises(UsageError, match="give fractions above 0"):
        photos_needed(common, drop)
