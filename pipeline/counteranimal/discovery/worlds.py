"""Made-up collections with known truth: what the simulation draws, and what it knows that no real collection tells.

Decides how photos, observers, label errors and two models' answers arise. The rule and the statistics that are tried on them
are those of a release; nothing of them is repeated here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from counteranimal.discovery.outcomes import Outcomes

__all__ = ["Scenario", "World", "draw"]

_LOWEST, _HIGHEST = 0.02, 0.98


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """One kind of collection.

    `photos` is the number in each class, background and fold. A class's backgrounds have accuracies `accuracy` plus normal
    noise of standard deviation `spread`: 0 is no effect of the background. Fold units hold up to `cluster` photos of one
    class each, spread over its backgrounds where `shared`; `correlation` is that of two photos of one unit. `uneven` samples
    every second photo with a fifth of the chance, and these are `uneven` less often right. `mistaken` is the share of
    unrecognised photos whose proposed background is wrong (always the class's same one), of which `accepted` pass.
    """

    name: str
    classes: int = 45
    backgrounds: int = 5
    photos: int = 40
    accuracy: float = 0.72
    spread: float = 0.08
    cluster: int = 1
    correlation: float = 0.0
    shared: bool = False
    uneven: float = 0.0
    mistaken: float = 0.0
    accepted: float = 1.0


class World(NamedTuple):
    """A drawn collection: outcomes of the selector, a second model's answers, and the true accuracy by class and background."""

    outcomes: Outcomes
    other: NDArray[np.float64]
    truth: NDArray[np.float64]
    other_truth: NDArray[np.float64]


def draw(scenario: Scenario, rng: np.random.Generator) -> World:
    """Draw one collection.

    Every photo has a uniform number, its difficulty, and the selector is right where it lies below the true accuracy of the
    photo's class and background. Photos of a unit share the unit's number with probability sqrt(correlation), so two of them
    correlate by `correlation` within a background whatever its accuracy. The second model is 5 points better and shares the
    difficulty of three photos in four.
    """
    shape = (scenario.classes, scenario.backgrounds)
    truth = np.clip(scenario.accuracy + scenario.spread * rng.standard_normal(shape), _LOWEST, _HIGHEST)
    other_truth = np.clip(truth + 0.05, _LOWEST, _HIGHEST)
    class_of, background_of, report, unit_of = _places(scenario)
    n = class_of.size
    common = rng.random(int(unit_of.max()) + 1)[unit_of]
    difficulty = np.where(rng.random(n) < np.sqrt(scenario.correlation), common, rng.random(n))
    other_difficulty = np.where(rng.random(n) < 0.75, difficulty, rng.random(n))
    rare = np.arange(n) // scenario.cluster % 2 == 0 if scenario.uneven else np.zeros(n, dtype=bool)
    chance = np.where(rare, 0.2, 1.0)
    # The two strata of a background average to its true accuracy when weighted by 1 / chance: 5 rare photos to 1 other.
    shift = np.where(rare, -scenario.uneven / 6.0, scenario.uneven * 5.0 / 6.0) if scenario.uneven else 0.0
    correct = (difficulty < truth[class_of, background_of] + shift).astype(np.float64)
    other = (other_difficulty < other_truth[class_of, background_of] + shift).astype(np.float64)
    outcomes = Outcomes(
        classes=tuple(f"class{i:04d}" for i in range(scenario.classes)),
        backgrounds=tuple(f"background{i:02d}" for i in range(scenario.backgrounds)),
        class_of=class_of,
        background_of=_labelled(scenario, background_of, correct, rng),
        unit_of=unit_of,
        report=report,
        weights=1.0 / chance,
        correct=correct,
    )
    return World(outcomes, other, truth, other_truth)


def _places(
    scenario: Scenario,
) -> tuple[NDArray[np.intp], NDArray[np.intp], NDArray[np.bool_], NDArray[np.intp]]:
    """Return class, background, report fold and unit of every photo; a unit's photos lie in one class and fold."""
    classes, backgrounds, photos, cluster = (
        scenario.classes,
        scenario.backgrounds,
        scenario.photos,
        scenario.cluster,
    )
    fold, class_of, background_of, place = (
        axis.reshape(-1) for axis in np.indices((2, classes, backgrounds, photos), dtype=np.intp)
    )
    # Unit sizes 1 to `cluster` in turn, so that units differ in size as observers do.
    sizes = np.resize(np.arange(1, cluster + 1), photos)
    number = np.repeat(np.arange(photos), sizes)[:photos]
    block = fold * classes + class_of
    if not scenario.shared:
        block = block * backgrounds + background_of
    return class_of, background_of, fold == 1, block * photos + number[place]


def _labelled(
    scenario: Scenario, background_of: NDArray[np.intp], correct: NDArray[np.float64], rng: np.random.Generator
) -> NDArray[np.intp]:
    """Return the labelled backgrounds: of the unrecognised photos, some are taken for background 0."""
    wrong = (correct == 0.0) & (rng.random(correct.size) < scenario.mistaken * scenario.accepted)
    return np.where(wrong, 0, background_of)
