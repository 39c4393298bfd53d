"""What stands beside a pair: figures by fold, the naive drop, variations of the rule, and other differences of the groups."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from counteranimal.cli.discovered import discovery_text
from counteranimal.discovery import covariates, join, measures, sensitivity, summary
from counteranimal.discovery.figures import sides
from counteranimal.stats import newcombe

VOCABULARY = ("grass", "snow", "water", "rock")


def two_classes(world):
    world.both("ape", "grass", (9, 10), (8, 10)).both("ape", "snow", (2, 10), (3, 10))
    world.both("ape", "rock", (8, 10), (10, 10))
    return world.both("bat", "grass", (5, 10), (5, 10))


def test_a_class_is_told_with_both_folds_and_the_naive_drop(world, rule) -> None:
    """Accuracies, photos and intervals are those of the pair in each fold; naive is the extreme pair of all photos."""
    two_classes(world)
    ape, bat = summary(world.pool, world.predictions, rule, VOCABULARY)
    report = ape["folds"]["report"]
    assert (report["accuracy_common"], report["accuracy_counter"], report["n_common"]) == pytest.approx((0.8, 0.3, 10))
    assert (report["low"], report["high"]) == pytest.approx(newcombe(0.8, 10, 0.3, 10))
    assert ape["folds"]["select"]["drop"] == pytest.approx(0.7)
    assert (ape["naive"]["common"], ape["naive"]["counter"]) == ("rock", "snow")
    assert ape["naive"]["drop"] == pytest.approx(0.9 - 0.25)
    assert (bat["status"], bat["naive"], bat["folds"]["report"]) == ("no_pair", None, None)


def test_the_printed_table_has_pair_figures_and_reasons(world, rule) -> None:
    """A person reads the pair, both accuracies, photos a fold and both drops; a class without a pair says why."""
    two_classes(world)
    text = discovery_text({"s": summary(world.pool, world.predictions, rule, VOCABULARY)})
    for part in ("grass > snow", "10+10", "80.0 > 30.0", "50.0 [", "65.0 [", "would choose rock > snow", " U"):
        assert part in text
    assert max(len(line) for line in text.splitlines()) <= 120
    assert "bat: no pair; one_background: every usable photo is on grass" in text


def test_one_pair_for_the_pool_is_told_by_its_macro_means(world, rule) -> None:
    """The accuracies beside the drop of `*` are the unweighted means over classes, so that they differ by the drop."""
    two_classes(world).both("bat", "snow", (1, 10), (1, 10))
    (row,) = summary(world.pool, world.predictions, rule.model_copy(update={"unit": "pool"}), VOCABULARY)
    report = row["folds"]["report"]
    assert report["accuracy_common"] - report["accuracy_counter"] == pytest.approx(report["drop"])
    assert "all classes" in discovery_text({"s": [row]})


def test_variations_name_what_changes(world, rule) -> None:
    """Thresholds, minimum sizes and every model with answers are tried; the count of equal pairs refers to the rule's own."""
    two_classes(world)
    world.answers += [dict(row, model="other", correct=not row["correct"]) for row in world.answers]
    rows = sensitivity(world.pool, world.predictions, rule, VOCABULARY)
    own = next(row for row in rows if (row["selector"], row["min_difference"], row["n_min"]) == ("stand-in", 5.0, 4))
    assert (own["pairs"], own["same"], own["drop_report"]) == (1, 1, pytest.approx(0.5))
    assert next(row for row in rows if row["n_min"] == 20)["pairs"] == 0
    other = next(row for row in rows if row["selector"] == "other")
    assert (other["pairs"], other["same"]) == (1, 0)


def measured(world, values) -> pa.Table:
    return pa.table({"photo_id": world.pool.column("photo_id"), "sharpness": values})


def confounded(world):
    """Right answers follow sharpness alone; the common group just has more sharp photos."""
    for background, sharp in (("grass", 160), ("snow", 40)):
        world.cell("fox", background, "report", round(sharp * 0.9), sharp)
        world.cell("fox", background, "report", round((200 - sharp) * 0.4), 200 - sharp)
    ids = world.pool.column("photo_id").to_pylist()
    values = np.zeros(400)
    for place, photo_id in enumerate(ids):
        number = int(photo_id, 16)
        values[place] = number < 160 or 200 <= number < 240
    outcomes = join(world.pool, world.predictions, "stand-in", vocabulary=VOCABULARY)
    return outcomes, sides(outcomes, {"fox": (0, 1)}), values


def test_a_drop_that_is_all_sharpness_does_not_remain(world) -> None:
    """Weighted until both groups are as sharp, nothing of a confounded drop is left."""
    outcomes, side, values = confounded(world)
    found = covariates(outcomes, side, world.pool.column("photo_id"), measured(world, values))
    assert found["drop"]["value"] == pytest.approx(0.3)
    assert found["differences"]["sharpness"]["before"] == pytest.approx(1.5, abs=0.01)
    assert abs(found["differences"]["sharpness"]["after"]) < 0.01
    assert abs(found["drop_weighted"]["value"]) < 0.01
    assert found["drop_weighted"]["low"] < 0 < found["drop_weighted"]["high"]
    assert abs(found["remaining"]) < 0.03


def test_a_covariate_that_says_nothing_leaves_the_drop(world) -> None:
    """What is unrelated to the groups takes nothing away."""
    outcomes, side, _ = confounded(world)
    values = np.random.default_rng(1).standard_normal(400)
    found = covariates(outcomes, side, world.pool.column("photo_id"), measured(world, values))
    assert found["remaining"] == pytest.approx(1.0, abs=0.1)


def test_photos_without_measures_are_counted(world) -> None:
    """A photo that was not scored is left out in the open; a column without any value is named."""
    outcomes, side, values = confounded(world)
    values[:5] = np.nan
    table = measured(world, values).append_column("animal_area", pa.nulls(400, pa.float64()))
    found = covariates(outcomes, side, world.pool.column("photo_id"), table)
    assert (found["n"], found["without_measures"], found["left_out"]) == (395, 5, ["animal_area"])


def test_measures_take_size_and_every_score() -> None:
    """Size comes from photos, further numbers from scores, whichever there are; a machine's confidence is none."""
    photos = pa.table({"photo_id": ["a", "b"], "width": [200, 100], "height": [100, 100]})
    scores = pa.table({"photo_id": ["b"], "sharpness": [0.5], "animal_area": [0.2], "confidence": [0.9]})
    table = measures(photos, scores)
    assert table.column_names == ["photo_id", "log_pixels", "aspect", "sharpness", "animal_area"]
    assert table.column("aspect").to_pylist() == [2.0, 1.0]
    assert table.column("sharpness").to_pylist() == [None, 0.5]
