"""Effective robustness: the line is least squares, a distance is what the line does not expect, and its interval covers."""

from __future__ import annotations

import numpy as np
import pytest
import statsmodels.api as sm
from numpy.typing import NDArray
from scipy.special import expit, logit
from scipy.stats import linregress

from counteranimal.errors import UsageError
from counteranimal.stats import (
    Accuracies,
    Contrast,
    draw_line,
    effective_robustness,
    linearise,
    smoothed_logit,
)

PAPER = np.array([[59.56, 39.24], [81.44, 66.07], [79.84, 64.36], [84.97, 74.98], [89.12, 81.47], [73.08, 56.56]]) / 100


def certain(points: NDArray[np.float64], n: tuple[int, int] = (7408, 5926)) -> Accuracies:
    """Accuracies that are taken as given."""
    return Accuracies(points[:, 0], points[:, 1], np.zeros((2, len(points), 4)), *n, 4)


def test_the_line_agrees_with_scipy_and_statsmodels() -> None:
    """Slope, intercept and residual spread of five of the paper's ImageNet models equal two independent implementations."""
    x, y = logit(PAPER[:5, 0]), logit(PAPER[:5, 1])
    line = draw_line(x, y)
    other, fitted = linregress(x, y), sm.OLS(y, sm.add_constant(x)).fit()
    assert (line.slope, line.intercept) == pytest.approx((other.slope, other.intercept), abs=1e-12)
    assert (line.intercept, line.slope) == pytest.approx(tuple(fitted.params), abs=1e-12)
    assert line.spread == pytest.approx(np.sqrt(fitted.scale), abs=1e-12)


def test_smoothing_is_half_a_photo() -> None:
    """Logits are those of (k + 1/2) / (n + 1), finite at both ends."""
    right = np.array([0, 1, 7, 20])
    assert smoothed_logit(right / 20, 20) == pytest.approx(logit((right + 0.5) / 21), abs=1e-12)


def test_a_distance_is_counter_less_what_the_line_expects() -> None:
    """OpenAI's B/16 beside five ImageNet models, recomputed with SciPy from smoothed accuracies."""
    _, found = effective_robustness(certain(PAPER), np.arange(6) < 5)
    k = PAPER * (7408, 5926)
    smooth = (k + 0.5) / (np.array([7408, 5926]) + 1)
    other = linregress(logit(smooth[:5, 0]), logit(smooth[:5, 1]))
    expected = smooth[:, 1] - expit(other.intercept + other.slope * logit(smooth[:, 0]))
    assert [item.value for item in found] == pytest.approx(list(expected), abs=1e-12)
    assert {(item.low, item.high) for item in found} == {(None, None)}


@pytest.mark.parametrize(
    ("points", "said"),
    [
        (np.tile([[0.7, 0.5]], (6, 1)), "the same accuracy"),
        (np.full((6, 2), 1.0), "the same accuracy"),
        (PAPER[:2], "no line"),
    ],
)
def test_models_that_draw_no_line_are_refused(points: NDArray[np.float64], said: str) -> None:
    """Equal common accuracies, all of them perfect, or two models alone: a sentence, not a division by zero."""
    with pytest.raises(UsageError, match=said):
        effective_robustness(certain(points), np.ones(len(points), dtype=bool))


class World:
    """Fold units with photos in both groups; seven models whose answers share what makes a photo hard."""

    ability = np.array([-0.6, 0.0, 0.5, 0.9, 1.4, 2.0, 0.8])
    counter = 0.85 * ability - 0.9 + np.array([0.08, -0.05, 0.0, 0.06, -0.09, 0.0, 0.9])
    drawing = np.arange(7) < 6

    def __init__(self, rng: np.random.Generator, units: int = 3000, size: int = 3) -> None:
        shared = rng.normal(0, 1.0, (units, 1)) + rng.normal(0, 0.7, (units, size))
        self.right = np.stack(
            [expit(side[:, None, None] + shared[None]) for side in (self.ability, self.counter)]
        )  # (group, model, unit, photo): the probability of a right answer

    def truth(self) -> NDArray[np.float64]:
        """Return every model's distance in the whole population."""
        accuracies = self.right.mean(axis=(2, 3))
        x, y = logit(accuracies)
        line = linregress(x[self.drawing], y[self.drawing])
        return np.asarray(accuracies[1] - expit(line.intercept + line.slope * x))

    def sample(self, rng: np.random.Generator, units: int = 80) -> tuple[Accuracies, list[Contrast]]:
        """Draw fold units and answers; half of a unit's photos lie in either group, in other places."""
        chosen = rng.integers(0, self.right.shape[2], units)
        answers = rng.random(self.right[:, :, chosen].shape) < self.right[:, :, chosen]
        size, units_of = self.right.shape[3], np.repeat(np.arange(units), self.right.shape[3])
        contrasts = [
            Contrast(part.ravel().astype(float), np.ones(part.size), units_of, np.zeros(part.size, int), np.ones(1))
            for part in answers.reshape(14, units, size)
        ]
        by_unit = np.stack([linearise(item, units)[1] for item in contrasts]).reshape(2, 7, units)
        means = answers.mean(axis=(2, 3))
        return Accuracies(means[0], means[1], by_unit, units * size, units * size, units), contrasts


def test_contributions_are_the_derivative_of_the_whole_estimate() -> None:
    """Weighing one unit up by a thousandth moves every distance, the line included, as the linearisation says."""
    rng = np.random.default_rng(3)
    given, contrasts = World(rng).sample(rng)
    _, before = effective_robustness(given, World.drawing)
    variance = np.zeros(7)
    for unit in range(given.n_units):
        moved = [item._replace(weights=np.where(item.units == unit, 1.001, 1.0)) for item in contrasts]
        means = np.array([linearise(item, given.n_units)[0] for item in moved]).reshape(2, 7)
        _, after = effective_robustness(given._replace(common=means[0], counter=means[1]), World.drawing)
        variance += np.array([(b.value - a.value) / 0.001 for a, b in zip(before, after, strict=True)]) ** 2
    errors = np.sqrt(given.n_units / (given.n_units - 1) * variance)  # every unit has photos in both groups
    from scipy.stats import t

    reach = t.ppf(0.975, given.n_units - 1) * errors
    assert [item.high - item.value for item in before] == pytest.approx(list(reach), rel=0.01)


def test_intervals_cover_the_true_distance() -> None:
    """Over 400 samples the 95 % intervals hold the population's distance, for a model off the line and for those that draw it."""
    rng = np.random.default_rng(8)
    world, rounds = World(rng), 400
    truth, hits = world.truth(), np.zeros(7)
    for _ in range(rounds):
        _, found = effective_robustness(world.sample(rng)[0], world.drawing)
        hits += [item.low <= value <= item.high for item, value in zip(found, truth, strict=True)]
    assert truth[6] > 0.05
    assert 0.92 <= hits[6] / rounds <= 0.98
    assert np.all(hits / rounds >= 0.91)
