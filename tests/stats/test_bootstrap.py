"""Drawing fold units compares two models on the same photos."""

from __future__ import annotations

import numpy as np
import pytest

from counteranimal.errors import UsageError
from counteranimal.stats import PairedSample, paired_difference


def sample(rng: np.random.Generator, *, gain: float = 0.0, units: int = 30) -> PairedSample:
    """Three classes, four photos a unit, both groups; the first model is right `gain` more often in the common group."""
    n = 3 * units * 4
    classes = np.repeat(np.arange(3), units * 4)
    hard = rng.random(n)
    counter = rng.random(n) < 0.5
    first, second = hard < 0.6 + gain * ~counter, hard < 0.6
    return PairedSample(
        classes, counter, np.repeat(np.arange(3 * units), 4), np.ones(n), first.astype(float), second.astype(float)
    )


def test_equal_models_differ_by_nothing() -> None:
    """A model against itself: difference 0, interval 0 to 0, p 1."""
    rng = np.random.default_rng(1)
    given = sample(rng)
    assert paired_difference(given, "drop", rng=rng) == (0.0, 0.0, 0.0, 1.0)


def test_a_planted_gain_is_found_with_its_size() -> None:
    """A gain of 20 points in the common group only shows in drop and common accuracy, not in the counter group."""
    rng = np.random.default_rng(2)
    given = sample(rng, gain=0.2)
    drop, counter = (paired_difference(given, figure, rng=rng) for figure in ("drop", "counter"))
    assert drop.low < 0.2 < drop.high
    assert drop.p_value < 0.01
    assert counter[:3] == (0.0, 0.0, 0.0)


def test_the_generator_decides_the_draws() -> None:
    """The same seed gives the same figures to the last bit."""
    given = sample(np.random.default_rng(3), gain=0.1)
    once, again = (paired_difference(given, "drop", rng=np.random.default_rng(9)) for _ in range(2))
    assert once == again


def test_draws_that_empty_a_group_are_repeated() -> None:
    """Two units, one group each: half of all draws would empty a group, yet every figure is a number."""
    given = PairedSample(
        np.zeros(2, int), np.array([False, True]), np.arange(2), np.ones(2), np.array([1.0, 0.0]), np.zeros(2)
    )
    assert paired_difference(given, "drop", rng=np.random.default_rng(0))[:3] == (1.0, 1.0, 1.0)


def test_weights_move_the_difference() -> None:
    """A photo that stands for three counts three times."""
    given = PairedSample(
        np.zeros(3, int),
        np.array([False, False, True]),
        np.arange(3),
        np.array([3.0, 1.0, 1.0]),
        np.array([1.0, 0.0, 0.0]),
        np.zeros(3),
    )
    assert paired_difference(given, "common", rng=np.random.default_rng(0), draws=10).value == 0.75


def test_a_class_without_a_group_is_refused() -> None:
    """A missing counter group is an error, not a difference of nothing."""
    one = np.ones(1)
    given = PairedSample(np.zeros(1, int), np.array([False]), np.zeros(1, int), one, one, one)
    with pytest.raises(UsageError, match="leave it out"):
        paired_difference(given, "drop", rng=np.random.default_rng(0))


def test_classes_of_one_unit_are_drawn_among_each_other() -> None:
    """Ten classes of one observer each: the interval is that of ten differences, where draws within a class would give width 0."""
    rng = np.random.default_rng(4)
    gains = rng.integers(0, 2, 10).astype(float)
    given = PairedSample(
        np.repeat(np.arange(10), 2), np.tile([False, True], 10), np.repeat(np.arange(10), 2), np.ones(20),
        np.stack([gains, np.zeros(10)], axis=1).ravel(), np.zeros(20),
    )  # fmt: skip
    found = paired_difference(given, "drop", rng=rng)
    reach = 1.96 * gains.std() / np.sqrt(10)
    assert found.value == pytest.approx(gains.mean())
    assert (found.low, found.high) == pytest.approx((gains.mean() - reach, gains.mean() + reach), abs=0.1)


@pytest.mark.parametrize(("classes", "units"), [(3, 30), (20, 2)], ids=["many units a class", "two units a class"])
def test_intervals_cover_and_p_values_are_even_where_models_do_not_differ(classes: int, units: int) -> None:
    """250 samples of two models whose drops are the same: the 95 % interval holds 0, and p below 5 % is as rare as it says."""
    rng = np.random.default_rng(12)
    rounds, hits, small, size = 250, 0, 0, 4
    unit = np.repeat(np.arange(classes * units), 2 * size)
    counter = np.tile(np.repeat([False, True], size), classes * units)
    for _ in range(rounds):
        shared = np.repeat(rng.normal(0, 1, classes * units), 2 * size)
        own = [np.repeat(rng.normal(0, 0.7, 2 * classes * units), size) for _ in range(2)]
        right = [rng.normal(0.5, 1, unit.size) + shared + one - 0.6 * counter > 0 for one in own]
        given = PairedSample(unit // units, counter, unit, np.ones(unit.size), *(one.astype(float) for one in right))
        found = paired_difference(given, "drop", rng=rng, draws=400)
        hits += found.low <= 0.0 <= found.high
        small += found.p_value < 0.05
    assert 0.91 <= hits / rounds <= 0.98
    assert 0.02 <= small / rounds <= 0.09
