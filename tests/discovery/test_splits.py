"""Every verified photo is in the release; its group follows from its class's pair."""

from __future__ import annotations

from collections import Counter

import pyarrow as pa
import pytest

from counteranimal import tables
from counteranimal.discovery import assign, choose_pairs, group_figures, pool_table
from counteranimal.errors import IntegrityError
from counteranimal.ids import fold_of
from counteranimal.recipe import SplitRule
from counteranimal.stats import wilson

VOCABULARY = ("grass", "snow", "water", "rock")


def small(world) -> None:
    world.both("ape", "grass", (9, 10), (8, 10)).both("ape", "snow", (2, 10), (3, 10)).both(
        "ape", "rock", (5, 10), (5, 10)
    )
    world.both("bat", "grass", (5, 10), (5, 10)).both("bat", "mixed", (5, 6), (5, 6))


def test_every_photo_has_a_group_in_every_split(world, rule) -> None:
    """Photos of the pair are common and counter, all others other, in each named split, with their own fold."""
    small(world)
    second = rule.model_copy(update={"name": "t", "min_difference": 90.0})
    pairs = pa.concat_tables([choose_pairs(world.pool, world.predictions, r, VOCABULARY) for r in (rule, second)])
    splits = assign(world.pool, pairs)
    assert len(splits) == 2 * len(world.pool)
    groups = Counter((row["split"], row["class_id"], row["group"]) for row in splits.to_pylist())
    assert groups == {
        ("s", "ape", "common"): 20,
        ("s", "ape", "counter"): 20,
        ("s", "ape", "other"): 20,
        ("s", "bat", "other"): 32,
        ("t", "ape", "other"): 60,
        ("t", "bat", "other"): 32,
    }
    folds = dict(zip(world.pool["photo_id"].to_pylist(), world.pool["fold"].to_pylist(), strict=True))
    assert all(row["fold"] == folds[row["photo_id"]] for row in splits.to_pylist())


def test_group_figures_cover_every_background_in_both_folds(world, rule) -> None:
    """Each class and background has n, right answers, accuracy and Wilson's interval, for each fold."""
    small(world)
    pairs = choose_pairs(world.pool, world.predictions, rule, VOCABULARY)
    groups = group_figures(assign(world.pool, pairs), world.predictions, world.pool, [rule]).to_pylist()
    assert len(groups) == 2 * 5
    assert sum(row["n"] for row in groups) == len(world.pool)
    row = next(r for r in groups if (r["class_id"], r["background"], r["fold"]) == ("ape", "grass", "report"))
    assert (row["group"], row["n"], row["correct"], row["accuracy"], row["n_effective"]) == ("common", 10, 8, 0.8, 10.0)
    assert (row["low"], row["high"]) == pytest.approx(wilson(0.8, 10))


def test_the_paper_rule_has_one_fold(world) -> None:
    """Without roles a group's figures are over all photos, each counted once."""
    small(world)
    rule = SplitRule(name="p", rule="paper", n_min=4)
    pairs = choose_pairs(world.pool, world.predictions, rule, VOCABULARY)
    groups = group_figures(assign(world.pool, pairs), world.predictions, world.pool, [rule]).to_pylist()
    assert {row["fold"] for row in groups} == {"all"}
    assert sorted(row["n"] for row in groups) == [12, 20, 20, 20, 20]


def test_a_split_without_its_rule_is_refused(world, rule) -> None:
    """Figures whose weighting is unknown are not published."""
    small(world)
    splits = assign(world.pool, choose_pairs(world.pool, world.predictions, rule, VOCABULARY))
    with pytest.raises(IntegrityError, match="has no rule"):
        group_figures(splits, world.predictions, world.pool, [])


def photo(photo_id: str, **over: object) -> dict[str, object]:
    return {"photo_id": photo_id, "class_id": "fox", "fold_unit": f"src:observer:{photo_id}", "status": "ok"} | over


def verdict(photo_id: str, **over: object) -> dict[str, object]:
    return {"photo_id": photo_id, "background": "grass", "status": "ok", "inclusion_probability": 0.5} | over


def test_the_pool_holds_accepted_verdicts_of_kept_photos() -> None:
    """Rejected verdicts, rejected photos and duplicates stay out; the fold follows from seed and unit."""
    photos = tables.conform("photos", [photo(p) for p in "abc"] + [photo("d", status="rejected")])
    verdicts = tables.conform("verdicts", [verdict("a"), verdict("b", status="rejected"), verdict("c"), verdict("d")])
    clusters = tables.conform("clusters", [{"photo_id": p, "kept": p != "c"} for p in "abcd"])
    assert pool_table(verdicts, photos, seed="s")["photo_id"].to_pylist() == ["a", "c"]
    (row,) = pool_table(verdicts, photos, seed="s", clusters=clusters).to_pylist()
    assert row == {
        "photo_id": "a",
        "class_id": "fox",
        "background": "grass",
        "fold_unit": "src:observer:a",
        "fold": fold_of("s", "src:observer:a"),
        "inclusion_probability": 0.5,
    }


@pytest.mark.parametrize("chance", [None, 0.0, 1.5])
def test_an_impossible_inclusion_probability_is_refused(chance: float | None) -> None:
    """A photo without a usable weight would distort every figure."""
    photos = tables.conform("photos", [photo("a")])
    verdicts = tables.conform("verdicts", [verdict("a", inclusion_probability=chance)])
    with pytest.raises(IntegrityError, match="inclusion probability"):
        pool_table(verdicts, photos, seed="s")
