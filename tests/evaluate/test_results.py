"""The table of results: every figure with its n and interval, on the right fold, and models that chose are marked."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest

from counteranimal.discovery import assign, choose_pairs
from counteranimal.errors import IntegrityError
from counteranimal.evaluate import results_table
from counteranimal.models.lineage import mark
from counteranimal.recipe import SplitRule
from counteranimal.stats import newcombe, wilson
from tests.discovery.conftest import World

VOCABULARY = ("grass", "snow", "water", "rock")
RULE = SplitRule(name="s", n_min=4)


def figure(results: pa.Table, class_id: str, name: str, fold: str = "report", **more: str) -> dict[str, Any]:
    """Return the one row of a figure."""
    wanted = {"class_id": class_id, "figure": name, "fold": fold} | more
    (row,) = [row for row in results.to_pylist() if all(row[key] == value for key, value in wanted.items())]
    return row


def small() -> World:
    """Two classes with a pair, one without."""
    world = World()
    world.both("ape", "grass", (9, 10), (8, 10)).both("ape", "snow", (2, 10), (3, 10)).both(
        "ape", "rock", (5, 10), (5, 10)
    )
    world.both("bat", "grass", (19, 20), (18, 20)).both("bat", "snow", (2, 10), (6, 10))
    return world.both("cat", "grass", (5, 10), (5, 10))


def results_of(world: World, rule: SplitRule = RULE) -> pa.Table:
    splits = assign(world.pool, choose_pairs(world.pool, world.predictions, rule, VOCABULARY))
    return results_table(world.pool, splits, {rule.name: rule.model_dump()}, world.predictions)


def test_class_figures_have_their_intervals() -> None:
    """Accuracies carry Wilson's and the drop Newcombe's interval; n counts photos."""
    results = results_of(small())
    common, drop = figure(results, "ape", "accuracy_common"), figure(results, "ape", "drop")
    assert (common["value"], common["n"], common["n_effective"]) == (0.8, 10, 10.0)
    assert (common["low"], common["high"]) == pytest.approx(wilson(0.8, 10))
    assert (drop["value"], drop["n"]) == (pytest.approx(0.5), 20)
    assert (drop["low"], drop["high"]) == pytest.approx(newcombe(0.8, 10, 0.3, 10))


def test_macro_averages_classes_and_micro_photos() -> None:
    """Macro gives each class one voice, micro each photo; classes without a pair have none."""
    results = results_of(small())
    assert figure(results, "*", "macro_accuracy_common")["value"] == pytest.approx((0.8 + 0.9) / 2)
    assert figure(results, "*", "micro_accuracy_common")["value"] == pytest.approx(26 / 30)
    assert figure(results, "*", "macro_accuracy_counter")["value"] == pytest.approx((0.3 + 0.6) / 2)
    macro = figure(results, "*", "macro_drop")
    assert macro["value"] == pytest.approx(0.4)
    assert macro["low"] < 0.4 < macro["high"]
    assert (macro["n"], figure(results, "*", "micro_accuracy_common")["n"]) == (50, 30)
    assert {row["class_id"] for row in results.to_pylist()} == {"*", "ape", "bat"}


def test_each_fold_is_published_apart() -> None:
    """Select, report and all photos have their own figures."""
    results = results_of(small())
    values = {fold: figure(results, "ape", "drop", fold)["value"] for fold in ("select", "report", "all")}
    assert values == {"select": pytest.approx(0.7), "report": pytest.approx(0.5), "all": pytest.approx(0.6)}


def test_figures_are_weighted() -> None:
    """A photo counts with the inverse of its inclusion probability, and effective n says what that costs."""
    world = World().both("ape", "grass", (10, 10), (10, 10)).both("ape", "snow", (0, 5), (0, 5))
    for fold in ("select", "report"):
        world.cell("ape", "snow", fold, 5, 5, chance=0.25)
    row = figure(results_of(world), "ape", "accuracy_counter")
    assert row["value"] == pytest.approx(0.8)
    assert row["n_effective"] == pytest.approx(25**2 / (5 + 5 * 16))


def test_the_paper_rule_knows_one_unweighted_fold() -> None:
    """A split by the paper's rule is published on all photos, each counted once."""
    world = small().cell("ape", "grass", "report", 0, 20, chance=0.1)
    results = results_of(world, SplitRule(name="p", rule="paper", n_min=4))
    assert set(results.column("fold").to_pylist()) == {"all"}
    row = figure(results, "bat", "accuracy_common", "all")
    assert (row["n"], row["value"], row["n_effective"]) == (40, pytest.approx(37 / 40), 40.0)


def test_another_model_is_judged_on_the_same_groups() -> None:
    """Groups come from the selector; each model has its own figures on them."""
    world = small()
    splits = assign(world.pool, choose_pairs(world.pool, world.predictions, RULE, VOCABULARY))
    world.answers += [dict(row, model="always right", correct=True) for row in world.answers]
    results = results_table(world.pool, splits, {"s": RULE.model_dump()}, world.predictions)
    row = figure(results, "*", "macro_drop", model="always right")
    assert row["value"] == 0.0
    assert row["low"] < 0 < row["high"]
    assert figure(results, "*", "macro_drop", model="stand-in")["value"] == pytest.approx(0.4)


def test_a_missing_photo_is_an_error() -> None:
    """A model that skipped a photo has no results."""
    world = small()
    splits = assign(world.pool, choose_pairs(world.pool, world.predictions, RULE, VOCABULARY))
    world.answers.pop(3)
    with pytest.raises(IntegrityError, match="1 verified photos have no 1v1000 prediction"):
        results_table(world.pool, splits, {"s": RULE.model_dump()}, world.predictions)


def test_a_protocol_for_some_classes_is_reported_for_those() -> None:
    """1 vs 20 has candidates only where a pair was found; its macro runs over those classes."""
    world = small()
    splits = assign(world.pool, choose_pairs(world.pool, world.predictions, RULE, VOCABULARY))
    apes = {row["photo_id"] for row in world.rows if row["class_id"] == "ape"}
    world.answers += [dict(row, protocol="1v20") for row in world.answers if row["photo_id"] in apes]
    results = results_table(world.pool, splits, {"s": RULE.model_dump()}, world.predictions)
    assert figure(results, "*", "macro_drop", protocol="1v20")["value"] == pytest.approx(0.5)


def test_no_pair_anywhere_gives_no_figures() -> None:
    """A release without pairs has an empty table of results, which is no error."""
    assert len(results_of(World().both("cat", "grass", (5, 10), (5, 10)))) == 0


@pytest.mark.case("I13")
@pytest.mark.parametrize(
    ("identity", "expected"),
    [
        ({"spec": "stand-in", "weights_sha256": "ab"}, "selector"),
        ({"spec": "efficientnet-lite2", "weights_sha256": "cd"}, "relative"),
        ({"spec": "other name", "weights_sha256": "ab"}, "relative"),
        ({"spec": "efficientnet-lite1", "weights_sha256": "ef"}, ""),
    ],
)
def test_models_that_took_part_in_the_choice_are_marked(identity: dict[str, str], expected: str) -> None:
    """The selector is marked, and so is every model that shares weights with it."""
    selector = {"spec": "stand-in", "weights_sha256": "ab", "lineage": ["efficientnet-lite2"]}
    assert mark(identity, selector) == expected
