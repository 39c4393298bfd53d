"""Select chooses, report estimates: the per-class rule on pools small enough to reckon by hand."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counteranimal.discovery import choose_pairs
from counteranimal.errors import IntegrityError
from counteranimal.recipe import SplitRule
from counteranimal.stats import holm, newcombe, newcombe_p

VOCABULARY = ("grass", "snow", "water", "rock")


def row_of(pairs: pa.Table, class_id: str) -> dict[str, Any]:
    """Return one class's row."""
    return next(row for row in pairs.to_pylist() if row["class_id"] == class_id)


def test_select_chooses_and_report_only_estimates(world, rule) -> None:
    """The pair is the extremes of the select fold although the report fold would choose another; the drop is report's."""
    world.both("fox", "grass", (9, 10), (6, 10)).both("fox", "snow", (2, 10), (5, 10)).both(
        "fox", "water", (5, 10), (10, 10)
    )
    row = row_of(choose_pairs(world.pool, world.predictions, rule, VOCABULARY), "fox")
    assert (row["status"], row["common"], row["counter"]) == ("pair", "grass", "snow")
    assert row["drop_select"] == pytest.approx(0.7)
    assert row["drop_report"] == pytest.approx(0.1)
    assert (row["drop_report_low"], row["drop_report_high"]) == pytest.approx(newcombe(0.6, 10, 0.5, 10))
    assert [row[f"n_{group}_{fold}"] for group in ("common", "counter") for fold in ("select", "report")] == [10] * 4
    assert row["unstable"] is True


def test_a_background_needs_enough_photos_in_each_fold(world, rule) -> None:
    """A background with too few photos in the report fold cannot be chosen, however extreme it is on select."""
    world.both("fox", "grass", (9, 10), (9, 10)).both("fox", "snow", (0, 10), (0, 3)).both(
        "fox", "water", (5, 10), (5, 10)
    )
    row = row_of(choose_pairs(world.pool, world.predictions, rule, VOCABULARY), "fox")
    assert (row["common"], row["counter"]) == ("grass", "water")


def test_photos_are_counted_unweighted_for_the_minimum(world) -> None:
    """Photos that stand for many count once towards the minimum."""
    world.both("fox", "grass", (4, 4), (4, 4))
    world.cell("fox", "snow", "select", 0, 3, chance=0.1).cell("fox", "snow", "report", 0, 3, chance=0.1)
    row = row_of(choose_pairs(world.pool, world.predictions, SplitRule(name="s", n_min=4), VOCABULARY), "fox")
    assert row["status"] == "no_pair"
    assert row["reason"] == "too_few_photos: fewer than two backgrounds with 4 photos in each fold"


def test_accuracies_are_weighted_by_inclusion_probability(world, rule) -> None:
    """A background whose rare photos were sampled seldom is judged as the collection has it."""
    world.both("fox", "grass", (5, 10), (5, 10))
    for fold in ("select", "report"):
        # Unweighted 5 of 10; weighted (5 x 1) / (5 x 1 + 5 x 4) = 0.2.
        world.cell("fox", "snow", fold, 5, 5).cell("fox", "snow", fold, 0, 5, chance=0.25)
    row = row_of(choose_pairs(world.pool, world.predictions, rule, VOCABULARY), "fox")
    assert (row["common"], row["counter"]) == ("grass", "snow")
    assert row["drop_report"] == pytest.approx(0.3)


def test_ties_go_to_more_photos_and_then_to_the_vocabulary(world, rule) -> None:
    """Equal accuracies: the background with more select photos wins; with equal numbers the earlier word."""
    world.both("fox", "snow", (8, 10), (8, 10)).both("fox", "water", (16, 20), (8, 10)).both(
        "fox", "rock", (0, 5), (0, 5)
    )
    world.both("owl", "snow", (8, 10), (8, 10)).both("owl", "water", (8, 10), (8, 10)).both(
        "owl", "rock", (0, 5), (0, 5)
    )
    pairs = choose_pairs(world.pool, world.predictions, rule, VOCABULARY)
    assert row_of(pairs, "fox")["common"] == "water"
    assert row_of(pairs, "owl")["common"] == "snow"


def test_answers_outside_the_vocabulary_never_form_a_group(world, rule) -> None:
    """Mixed, other and not sure stay in the pool and out of the choice."""
    world.both("fox", "grass", (9, 10), (9, 10)).both("fox", "mixed", (0, 10), (0, 10)).both(
        "fox", "snow", (5, 10), (5, 10)
    )
    row = row_of(choose_pairs(world.pool, world.predictions, rule, VOCABULARY), "fox")
    assert (row["common"], row["counter"]) == ("grass", "snow")


@pytest.mark.parametrize(("right", "status"), [(15, "no_pair"), (14, "pair")])
def test_the_difference_must_exceed_five_points_unrounded(world, rule, right: int, status: str) -> None:
    """16 of 20 against 15 of 20 is exactly 5 points, which is not above 5, whatever floating point makes of it."""
    world.both("fox", "grass", (16, 20), (16, 20)).both("fox", "snow", (right, 20), (right, 20))
    row = row_of(choose_pairs(world.pool, world.predictions, rule, VOCABULARY), "fox")
    assert row["status"] == status
    if status == "no_pair":
        assert row["reason"] == "small_difference: 5.0 points is not above 5"
        assert row["common"] is None
        assert row["drop_report"] is None


def test_a_class_on_one_background_has_no_pair(world, rule) -> None:
    """One background, or none, is a row that says why; also for a class of the recipe without any verified photo."""
    world.both("fox", "grass", (9, 10), (9, 10))
    pairs = choose_pairs(world.pool, world.predictions, rule, VOCABULARY, ("fox", "owl"))
    assert [row_of(pairs, name)["status"] for name in ("fox", "owl")] == ["no_pair", "no_pair"]
    assert row_of(pairs, "fox")["reason"] == "one_background: every usable photo is on grass"
    assert row_of(pairs, "owl")["reason"].startswith("no_photos: ")


@pytest.mark.parametrize("fold", ["select", "report"])
@pytest.mark.parametrize(("unit", "key"), [("class", "fox"), ("pool", "*")])
def test_photos_of_one_observer_have_no_pair(world, rule, fold: str, unit: str, key: str) -> None:
    """All photos of one observer are in one fold, so there is nothing to choose or to estimate on; the row says why."""
    world.cell("fox", "grass", fold, 9, 10, unit="only").cell("fox", "snow", fold, 1, 10, unit="only")
    changed = rule.model_copy(update={"unit": unit})
    row = row_of(choose_pairs(world.pool, world.predictions, changed, VOCABULARY), key)
    assert (row["status"], row["reason"].split(":")[0]) == ("no_pair", "one_fold_unit")


def test_the_paper_rule_pairs_one_observer_with_an_interval_that_says_little(world) -> None:
    """Without folds one observer's class has a pair; each group then counts as one photo of certain or no success."""
    world.cell("fox", "grass", "select", 10, 10, unit="only").cell("fox", "snow", "select", 0, 10, unit="only")
    paper = SplitRule(name="paper", rule="paper", n_min=4)
    row = row_of(choose_pairs(world.pool, world.predictions, paper, VOCABULARY), "fox")
    assert (row["status"], row["drop_report"]) == ("pair", 1.0)
    assert (row["drop_report_low"], row["drop_report_high"]) == pytest.approx(newcombe(1.0, 1, 0.0, 1))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"margin": float("nan")}, "E_NOT_FINITE"),
        ({"correct": None}, "E_NOT_FINITE"),
        ({"inclusion_probability": float("nan")}, "inclusion probability"),
        ({"inclusion_probability": 0.0}, "inclusion probability"),
        ({"fold": None}, "neither select nor report"),
    ],
)
def test_what_cannot_be_counted_is_refused(world, rule, change: dict[str, Any], sentence: str) -> None:
    """A missing or infinite value is an error that names the photo, never a smaller or a wrong figure."""
    world.both("fox", "grass", (9, 10), (9, 10)).both("fox", "snow", (2, 10), (2, 10))
    target = world.answers if change.keys() <= world.answers[0].keys() else world.rows
    target[3].update(change)
    with pytest.raises(
        IntegrityError, match=rf"1 photos cannot be counted, the first is {target[3]['photo_id']}.*{sentence}"
    ):
        choose_pairs(world.pool, world.predictions, rule, VOCABULARY)


def test_backgrounds_that_are_all_alike_give_no_pair(world, rule) -> None:
    """When every accuracy is equal there is no difference to publish, even where the rule asks for none."""
    world.both("fox", "grass", (5, 10), (5, 10)).both("fox", "snow", (5, 10), (5, 10))
    lenient = rule.model_copy(update={"min_difference": 0.0})
    assert row_of(choose_pairs(world.pool, world.predictions, lenient, VOCABULARY), "fox")["status"] == "no_pair"


def test_confirmed_is_holm_over_the_classes_with_a_pair(world, rule) -> None:
    """The stamp follows Holm's adjusted Newcombe p on report; a pair without it is published all the same."""
    right = {"ape": 4, "bat": 12, "cat": 14}
    for name, k in right.items():
        world.both(name, "grass", (20, 20), (17, 20)).both(name, "snow", (0, 20), (k, 20))
    world.both("dog", "grass", (9, 10), (9, 10))
    pairs = choose_pairs(world.pool, world.predictions, rule, VOCABULARY)
    p_values = [newcombe_p(0.85, 20, k / 20, 20) for k in right.values()]
    assert [row_of(pairs, name)["p_value"] for name in right] == pytest.approx(p_values)
    assert [row_of(pairs, name)["confirmed"] for name in right] == [p <= 0.05 for p in holm(p_values)]
    assert [row_of(pairs, name)["confirmed"] for name in right] == [True, False, False]
    assert row_of(pairs, "dog")["confirmed"] is False


def test_photos_of_one_observer_count_for_less(world, rule) -> None:
    """The same right answers give a wider interval when they come from a few observers who are always right or wrong."""
    for name, shared in (("ape", False), ("bat", True)):
        for fold in ("select", "report"):
            for observer, right in enumerate((4, 4, 4, 0)):
                unit = f"{name}{fold}{observer}" if shared else None
                world.cell(name, "grass", fold, right, 4, unit=unit)
                world.cell(name, "snow", fold, 4 - right, 4, unit=unit and unit + "snow")
    pairs = choose_pairs(world.pool, world.predictions, rule, VOCABULARY)
    width = {n: row_of(pairs, n)["drop_report_high"] - row_of(pairs, n)["drop_report_low"] for n in ("ape", "bat")}
    assert width["bat"] > 1.2 * width["ape"]


def test_the_paper_rule_uses_all_photos_and_confirms_nothing(world) -> None:
    """Without roles the pair is chosen and estimated on the same, unweighted photos, and says nothing about significance."""
    world.both("fox", "grass", (2, 2), (1, 3)).both("fox", "snow", (0, 3), (0, 2))
    world.cell("fox", "grass", "select", 0, 1, chance=0.1)
    rule = SplitRule(name="paper", rule="paper", n_min=5)
    row = row_of(choose_pairs(world.pool, world.predictions, rule, VOCABULARY), "fox")
    assert (row["common"], row["counter"], row["n_common_report"]) == ("grass", "snow", 6)
    assert row["drop_report"] == pytest.approx(0.5)
    assert (row["p_value"], row["confirmed"], row["unstable"], row["drop_select"]) == (None, False, None, None)


def test_only_the_selector_decides(world, rule) -> None:
    """Predictions of other models and protocols change nothing."""
    world.both("fox", "grass", (9, 10), (9, 10)).both("fox", "snow", (2, 10), (2, 10))
    alone = choose_pairs(world.pool, world.predictions, rule, VOCABULARY)
    others = [dict(row, model="other", correct=not row["correct"]) for row in world.answers]
    others += [dict(row, protocol="1v20", correct=not row["correct"]) for row in world.answers]
    world.answers += others
    assert choose_pairs(world.pool, world.predictions, rule, VOCABULARY).equals(alone)


def test_a_photo_without_a_prediction_is_an_error(world, rule) -> None:
    """A missing prediction never makes a group smaller in silence."""
    world.both("fox", "grass", (9, 10), (9, 10))
    world.answers.pop()
    with pytest.raises(IntegrityError, match="1 verified photos have no 1v1000 prediction of stand-in"):
        choose_pairs(world.pool, world.predictions, rule, VOCABULARY)


def test_an_empty_pool_gives_no_rows_but_the_recipe_s(world, rule) -> None:
    """Before the first verdict every class is a `no_pair` row."""
    pairs = choose_pairs(world.pool, world.predictions, rule, VOCABULARY, ("fox",))
    assert pairs.column("status").to_pylist() == ["no_pair"]


@settings(max_examples=25, deadline=None)
@given(right=st.lists(st.integers(0, 6), min_size=16, max_size=16))
def test_report_answers_never_change_the_choice(make_world, right: list[int]) -> None:
    """Whatever the selector answers on report photos, each class keeps its pair: report decides nothing but n_min."""
    plain, other = make_world(), make_world()
    for place, (name, background) in enumerate((n, b) for n in ("ape", "bat") for b in VOCABULARY):
        plain.both(name, background, (right[place], 6), (3, 6))
        other.both(name, background, (right[place], 6), (right[place + 8], 6))
    rule = SplitRule(name="s", n_min=4)
    chosen = [
        choose_pairs(item.pool, item.predictions, rule, VOCABULARY).select(
            ["status", "common", "counter", "drop_select"]
        )
        for item in (plain, other)
    ]
    assert chosen[0].equals(chosen[1])
