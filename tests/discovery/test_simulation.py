"""The rule and its intervals on made-up collections: small runs with a fixed seed, tolerances from their Monte-Carlo error."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from counteranimal.discovery.simulation import BIAS, COVERAGE, LABELS, bias, coverage
from counteranimal.discovery.worlds import Scenario, draw


def named(scenarios: tuple[Scenario, ...], name: str) -> Scenario:
    return next(item for item in scenarios if item.name == name)


def test_a_unit_s_photos_correlate_as_asked() -> None:
    """The drawn intra-class correlation is the scenario's, and accuracies are those of the class and background."""
    scenario = Scenario(name="x", classes=20, photos=400, cluster=4, correlation=0.3)
    world = draw(scenario, np.random.default_rng(1))
    assert world.outcomes.correlation() == pytest.approx(0.3, abs=0.03)
    seen = np.zeros_like(world.truth)
    np.add.at(seen, (world.outcomes.class_of, world.outcomes.background_of), world.outcomes.correct / 800)
    assert np.abs(seen - world.truth).max() < 0.1


def test_weights_undo_uneven_sampling() -> None:
    """Rarely sampled, harder photos count five times, and the weighted accuracy is the true one."""
    world = draw(Scenario(name="x", accuracy=0.6, spread=0.0, photos=2_000, uneven=0.3), np.random.default_rng(2))
    correct, weights = world.outcomes.correct, world.outcomes.weights
    assert np.average(correct, weights=weights) == pytest.approx(0.6, abs=0.006)
    assert correct.mean() > 0.65


def test_roles_are_unbiased_and_filters_are_not() -> None:
    """Over 40 draws of 45 classes: naive and filtered drops are points too large, role-based ones are within 3 errors of 0."""
    found = bias(named(BIAS, "middling effects"), 40, rng=np.random.default_rng(3))
    assert abs(found["role_based"].value) < 3 * found["role_based"].error < 0.012
    assert found["naive"].value == pytest.approx(0.06, abs=0.01)
    assert found["filtered"].value > 0.05
    assert found["agreeing"].value > 0.05


def test_label_errors_that_follow_recognition_make_a_drop() -> None:
    """Nothing is true, yet machine labels show 13 points and anchored annotators about 4; roles cannot mend labels."""
    rng = np.random.default_rng(4)
    drops = {item.name: bias(replace(item, photos=600), 2, rng=rng)["role_based_drop"].value for item in LABELS}
    assert drops["machine labels"] == pytest.approx(0.13, abs=0.02)
    assert drops["anchored annotators"] == pytest.approx(0.041, abs=0.02)
    assert abs(drops["true backgrounds"]) < 0.015


@pytest.mark.parametrize("name", ["30 photos, one an observer", "observers, one background each", "uneven sampling"])
def test_intervals_hold_the_truth(name: str) -> None:
    """Group and class intervals cover 95 % within 3 Monte-Carlo errors, for few photos, clusters and unequal weights."""
    scenario = named(COVERAGE, name)
    found = coverage(scenario, 20, rng=np.random.default_rng(5), bootstrap_draws=100)
    for kind in ("group", "class_drop"):
        assert abs(found[kind].value - 0.95) < max(0.025, 3 * found[kind].error), kind
    # 20 draws of one interval each: fewer than 16 hits would have a chance below 1 in 400.
    assert found["macro_drop"].value >= 0.8
    assert found["model_difference"].value >= 0.8


def test_the_command_prints_a_json_line_a_scenario(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each part of the run is one line that a program can read, with values and errors in points."""
    from counteranimal.discovery import simulation

    tiny = Scenario(name="tiny", classes=3, backgrounds=2, photos=25)
    for part in ("BIAS", "LABELS", "COVERAGE"):
        monkeypatch.setattr(simulation, part, (tiny,))
    lines: list[str] = []
    simulation.main(["--quick"], tell=lines.append)
    parts = [json.loads(line)["part"] for line in lines]
    assert [parts.count(part) for part in ("bias", "labels", "coverage", "size")] == [2, 1, 2, 3]
