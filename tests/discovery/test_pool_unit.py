"""One pair for the whole pool: classes count equally, and only classes on both backgrounds are compared."""

from __future__ import annotations

import pyarrow as pa
import pytest

from counteranimal.discovery import (
    assign,
    choose_pairs,
    class_figures,
    covariates,
    group_figures,
    join,
    overall,
    pairs_by_class,
    sides_of,
)
from counteranimal.recipe import SplitRule

VOCABULARY = ("grass", "snow", "water", "rock")
POOL = SplitRule(name="all", unit="pool", n_min=6)


def test_classes_count_equally_whatever_their_size(world) -> None:
    """The pair is compared by the unweighted mean of class accuracies, not by pooled photos."""
    # Pooled, grass would lose with 16 of 40 against 17 of 40.
    world.both("ape", "grass", (4, 4), (4, 4)).both("ape", "snow", (0, 4), (0, 4))
    world.both("bat", "grass", (12, 36), (12, 36)).both("bat", "snow", (17, 36), (17, 36))
    (row,) = choose_pairs(world.pool, world.predictions, POOL, VOCABULARY).to_pylist()
    assert (row["class_id"], row["status"], row["common"], row["counter"]) == ("*", "pair", "grass", "snow")
    assert row["drop_report"] == pytest.approx((1.0 + 12 / 36 - 17 / 36) / 2)
    assert (row["n_common_report"], row["n_counter_report"]) == (40, 40)


def test_only_classes_on_both_backgrounds_are_compared(world) -> None:
    """A class seen on one of the two backgrounds only neither helps nor hurts, in the choice and in the drop."""
    world.both("ape", "grass", (8, 10), (8, 10)).both("ape", "snow", (4, 10), (4, 10))
    world.both("bat", "snow", (10, 10), (10, 10))
    (row,) = choose_pairs(world.pool, world.predictions, POOL, VOCABULARY).to_pylist()
    assert row["drop_report"] == pytest.approx(0.4)
    assert row["n_counter_report"] == 10


def test_a_pair_cannot_win_by_one_photo(world) -> None:
    """`n_min` counts what is compared: snow is full of bats, but one ape on snow is no comparison."""
    world.both("ape", "grass", (10, 10), (10, 10)).both("ape", "water", (8, 10), (8, 10)).both(
        "ape", "snow", (0, 1), (0, 1)
    )
    world.both("bat", "snow", (10, 10), (10, 10))
    (row,) = choose_pairs(world.pool, world.predictions, POOL, VOCABULARY).to_pylist()
    assert (row["common"], row["counter"]) == ("grass", "water")


def test_photos_of_all_classes_count_together(world) -> None:
    """Cells that are too small for the per-class rule carry one pair together, and the per-class rule says so beside it."""
    for name in ("ape", "bat", "cat"):
        world.both(name, "grass", (3, 3), (3, 3)).both(name, "snow", (1, 3), (1, 3))
    (row,) = choose_pairs(world.pool, world.predictions, POOL, VOCABULARY).to_pylist()
    assert row["status"] == "pair"
    beside = pairs_by_class(world.pool, world.predictions, POOL, VOCABULARY).to_pylist()
    assert [item["status"] for item in beside] == ["no_pair"] * 3
    assert beside[0]["reason"] == "too_few_photos: fewer than two backgrounds with 6 photos in each fold"


def test_too_small_a_pool_says_so(world) -> None:
    """No pair for the pool is one row with its reason."""
    world.both("ape", "grass", (3, 3), (3, 3)).both("ape", "snow", (1, 3), (1, 3))
    (row,) = choose_pairs(world.pool, world.predictions, POOL, VOCABULARY).to_pylist()
    assert (
        row["reason"] == "too_few_photos: fewer than two backgrounds with 6 photos of classes they share in each fold"
    )


@pytest.mark.parametrize(
    ("backgrounds", "code"), [((), "no_photos"), (("grass",), "one_background"), (("grass", "snow"), "too_few_photos")]
)
def test_a_pool_without_a_pair_says_what_it_lacks(world, backgrounds: tuple[str, ...], code: str) -> None:
    """One row with a code, also before the first verdict, on one background, and where no class is on two of them."""
    for name, background in zip(("ape", "bat"), backgrounds, strict=False):
        world.both(name, background, (5, 10), (5, 10))
    (row,) = choose_pairs(world.pool, world.predictions, POOL, VOCABULARY).to_pylist()
    assert (row["class_id"], row["status"], row["reason"].split(":")[0]) == ("*", "no_pair", code)


def test_a_class_with_an_empty_group_is_kept_and_never_compared(world) -> None:
    """Bats were only seen on the counter background: their group is published, no drop and no mean has them in it."""
    world.both("ape", "grass", (10, 12), (10, 12)).both("ape", "snow", (2, 12), (2, 12))
    world.both("bat", "snow", (0, 12), (0, 12))
    pairs = choose_pairs(world.pool, world.predictions, POOL, VOCABULARY)
    splits = assign(world.pool, pairs)
    groups = group_figures(splits, world.predictions, world.pool, [POOL]).to_pylist()
    assert [(row["group"], row["n"]) for row in groups if row["class_id"] == "bat"] == [("counter", 12)] * 2
    outcomes, side = join(world.pool, world.predictions, "stand-in"), sides_of(world.pool, splits, "all")
    assert set(class_figures(outcomes, side, correlation=0.0)) == {"ape"}
    macro = overall(outcomes, side, "drop", "macro", correlation=0.0)
    assert macro is not None
    assert macro.value == pytest.approx(8 / 12)
    bats = outcomes.class_of == outcomes.classes.index("bat")
    assert overall(outcomes.where(bats), side[bats], "drop", "macro", correlation=0.0) is None
    table = pa.table({"photo_id": world.pool.column("photo_id"), "sharpness": [0.5] * len(world.pool)})
    alone = covariates(outcomes.where(bats), side[bats], world.pool.column("photo_id").filter(pa.array(bats)), table)
    assert alone == {"n": 24, "without_measures": 0, "left_out": []}


def test_the_published_drop_is_the_macro_drop_of_its_groups(world) -> None:
    """The row's figures equal those that an evaluation of the same groups gives, and the drop by class exists too."""
    world.both("ape", "grass", (9, 10), (8, 10)).both("ape", "snow", (4, 10), (5, 10))
    world.both("bat", "grass", (7, 10), (6, 10)).both("bat", "snow", (1, 10), (4, 10)).both(
        "bat", "rock", (5, 10), (5, 10)
    )
    pairs = choose_pairs(world.pool, world.predictions, POOL, VOCABULARY)
    (row,) = pairs.to_pylist()
    splits = assign(world.pool, pairs)
    outcomes = join(world.pool, world.predictions, "stand-in")
    inside = outcomes.in_fold("report")
    report, side = outcomes.where(inside), sides_of(world.pool, splits, "all")[inside]
    rho = report.correlation()
    macro = overall(report, side, "drop", "macro", correlation=rho)
    assert macro is not None
    assert (row["drop_report"], row["drop_report_low"], row["p_value"]) == (macro.value, macro.low, macro.p_value)
    by_class = class_figures(report, side, correlation=rho)
    assert [round(by_class[name].drop, 6) for name in ("ape", "bat")] == [0.3, 0.2]
    assert macro.value == pytest.approx(0.25)
