"""Agreement figures against reference libraries, and the gate."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import krippendorff
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats import inter_rater

from counteranimal.annotate.agreement import measure
from counteranimal.annotate.coefficients import (
    alpha,
    alpha_interval,
    cohen,
    cohen_interval,
    contingency,
    count_values,
    fleiss,
    fleiss_interval,
    positive_agreement,
    positive_interval,
    raw_agreement,
    raw_interval,
)
from counteranimal.recipe import AnnotateRules

units = st.lists(st.lists(st.integers(0, 4), min_size=0, max_size=4), min_size=1, max_size=40)


@pytest.mark.case("F15")
@given(units)
def test_alpha_equals_the_reference_library(votes: list[list[int]]) -> None:
    """With any pattern of missing votes, alpha equals the krippendorff package to 1e-9 wherever that defines it."""
    counts = count_values(votes)
    if not counts.size or counts.shape[1] < 2:
        assert np.isnan(alpha(counts))
        return
    assert alpha(counts) == pytest.approx(
        krippendorff.alpha(value_counts=counts, level_of_measurement="nominal"), abs=1e-9
    )


def test_raw_and_positive_agreement_of_a_known_table() -> None:
    """Eighty photos both yes, ten split, ten both no: 90 % raw, 2*80/(2*80+10) positive."""
    votes = [[True, True]] * 80 + [[True, False]] * 10 + [[False, False]] * 10
    assert raw_agreement(count_values(votes)) == pytest.approx(0.9)
    assert positive_agreement(votes) == pytest.approx(160 / 170)


def test_interval_covers_alpha_and_repeats(rng: np.random.Generator) -> None:
    """The interval holds the estimate, narrows with photos, and is the same for the same seed."""
    few = count_values([[0, 0], [1, 1], [0, 1], [2, 2]] * 10)
    many = count_values([[0, 0], [1, 1], [0, 1], [2, 2]] * 100)
    low, high = alpha_interval(few, rng=np.random.default_rng(1))
    assert low < alpha(few) < high
    assert alpha_interval(few, rng=np.random.default_rng(1)) == (low, high)
    low_many, high_many = alpha_interval(many, rng=rng)
    assert high_many - low_many < (high - low) / 2


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=60))
def test_kappas_equal_the_reference_library(pairs: list[tuple[int, int]]) -> None:
    """Cohen's and Fleiss' kappa equal statsmodels' to 1e-9 wherever those are defined."""
    table, counts = contingency(pairs), count_values([list(pair) for pair in pairs])
    if len({value for pair in pairs for value in pair}) < 2:
        assert np.isnan(cohen(table))
        assert np.isnan(fleiss(counts))
        return
    assert cohen(table) == pytest.approx(inter_rater.cohens_kappa(table, return_results=False), abs=1e-9)
    assert fleiss(counts) == pytest.approx(inter_rater.fleiss_kappa(counts), abs=1e-9)


def by_photos(units: list[list[int]], statistic: Callable[[list[list[int]]], float]) -> tuple[float, float]:
    """The plain bootstrap: photos drawn one by one."""
    rng = np.random.default_rng(5)
    drawn = [statistic([units[index] for index in rng.integers(len(units), size=len(units))]) for _ in range(1500)]
    return float(np.nanquantile(drawn, 0.025)), float(np.nanquantile(drawn, 0.975))


def test_intervals_are_those_of_drawing_photos_one_by_one(rng: np.random.Generator) -> None:
    """Drawing patterns instead of photos changes no interval by more than chance does."""
    units = [[0, 0], [1, 1], [0, 1], [2, 2], [1, 1, 2], [0, 0, 0]] * 12
    yes = [[value == 2 for value in unit] for unit in units]
    counts = count_values(units)
    two = [unit for unit in units if len(unit) == 2]
    for ours, plain in (
        (alpha_interval(counts, rng=rng, draws=4000), by_photos(units, lambda drawn: alpha(count_values(drawn)))),
        (raw_interval(counts, rng=rng, draws=4000), by_photos(units, lambda drawn: raw_agreement(count_values(drawn)))),
        (positive_interval(yes, rng=rng, draws=4000), by_photos(yes, positive_agreement)),
        (
            fleiss_interval(count_values(two), rng=rng, draws=4000),
            by_photos(two, lambda drawn: fleiss(count_values(drawn))),
        ),
        (
            cohen_interval(contingency(map(tuple, two)), rng=rng, draws=4000),
            by_photos(two, lambda drawn: cohen(contingency(map(tuple, drawn)))),
        ),
    ):
        assert ours == pytest.approx(plain, abs=0.03)


def vote(photo: int, worker: str, word: str, *, shown: bool = False, status: str = "counted") -> dict[str, object]:
    return {
        "annotation_id": f"{worker}{photo}", "round": "r", "photo_id": str(photo), "worker": worker, "class_id": "cat",
        "background": word, "usable": True, "codes": [], "seconds": 4.0, "shown": shown, "gold": status == "gold",
        "status": status, "answered_at": datetime(2026, 11, 1, tzinfo=UTC) + timedelta(seconds=photo),
    }  # fmt: skip


@pytest.mark.case("F15")
@pytest.mark.parametrize(("split", "gate"), [(0, "pass"), (13, "warn"), (20, "block")])
def test_gate_follows_alpha_of_blind_votes(split: int, gate: str, rng: np.random.Generator) -> None:
    """Alpha 1, 0.74 and 0.6 pass, warn and block."""
    votes = [vote(index, "a", ("grass", "sand")[index % 2]) for index in range(100)]
    votes += [vote(index, "b", ("grass", "sand")[(index + (index < split)) % 2]) for index in range(100)]
    assert measure(votes, AnnotateRules(), rng=rng)["gate"] == gate


def test_votes_that_saw_the_proposal_do_not_enter_the_gate(rng: np.random.Generator) -> None:
    """Agreement by looking at the same proposal is no agreement of people."""
    votes = [vote(index, who, ("grass", "sand")[index % 2], shown=True) for index in range(20) for who in "ab"]
    figures = measure(votes, AnnotateRules(), rng=rng)
    assert figures["background"]["n_photos"] == 0
    assert figures["gate"] == "block"


def test_one_answer_throughout_shows_nothing(rng: np.random.Generator) -> None:
    """Where everyone always says grass, alpha is undefined and the gate says why it blocks."""
    figures = measure([vote(index, who, "grass") for index in range(9) for who in "ab"], AnnotateRules(), rng=rng)
    assert figures["background"]["alpha"] is None
    assert figures["gate"] == "block"
    assert "undefined" in figures["why"]


def test_a_photo_asked_again_has_one_vote_a_person_and_the_first_decides_blindness(rng: np.random.Generator) -> None:
    """A second round's vote of the same person does not count twice, nor is it blind when the first was not."""
    votes = [vote(index, who, ("grass", "sand")[index % 2]) for index in range(10) for who in "ab"]
    again = [{**vote(index, "a", "snow"), "round": "r2", "annotation_id": f"again{index}"} for index in range(10)]
    for row in again:
        row["answered_at"] = datetime(2026, 12, 1, tzinfo=UTC)
    assert measure(votes + again, AnnotateRules(), rng=rng)["background"]["n_votes"] == 20
    seen = [{**row, "shown": row["worker"] == "a"} for row in votes]
    assert measure(seen + again, AnnotateRules(), rng=rng)["background"]["n_photos"] == 0


def test_annotators_are_told_by_speed_sameness_gold_and_shared_errors(rng: np.random.Generator) -> None:
    """Ben always says sand; he and cleo make the same mistakes on gold, anna makes none; anna and ben share nothing."""
    words = [("grass", "sand")[index % 2] for index in range(20)]
    votes = [vote(index, "anna", word) for index, word in enumerate(words)]
    votes += [vote(index, "ben", "sand") for index in range(20)]
    votes += [vote(index, "cleo", word) for index, word in enumerate(words)]
    truth = {str(100 + index): "grass" for index in range(10)}
    for who in ("anna", "ben", "cleo"):
        votes += [
            vote(100 + i, who, "sand" if who == "ben" or (who == "cleo" and i < 5) else "grass", status="gold")
            for i in range(10)
        ]
    figures = measure(votes, AnnotateRules(), rng=rng, truth=truth)
    ben = figures["workers"]["ben"]
    assert ben["most_common"] == {"background": "sand", "share": 1.0}
    assert (ben["longest_run"], ben["seconds"], ben["gold"]) == (30, 4.0, {"right": 0, "answered": 10})
    assert figures["workers"]["anna"]["raw"] == pytest.approx((20 + 10) / 40)
    pairs = {tuple(row["workers"]): row for row in figures["pairs"]}
    assert pairs["ben", "cleo"]["errors"] == {"n": 10, "both_wrong": 5, "same_wrong": 5, "expected": 5.0}
    assert pairs["anna", "ben"]["errors"]["both_wrong"] == 0
    assert pairs["anna", "cleo"]["kappa"] == 1.0
    assert pairs["anna", "ben"]["n"] == 20


def test_rare_marks_show_positive_agreement_beside_alpha(rng: np.random.Generator) -> None:
    """One code met on 3 of 100 photos and missed by one person on 2: raw 98 %, positive 6/8, with an interval."""
    votes = [vote(index, who, "grass") for index in range(100) for who in "ab"]
    for row in votes:
        if int(str(row["photo_id"])) < (5 if row["worker"] == "a" else 3):
            row["codes"] = ["text_or_watermark"]
    found = measure(votes, AnnotateRules(), rng=rng)["codes"]["text_or_watermark"]
    assert (found["positive"], found["raw"], found["n_yes"], found["n_photos"]) == (0.75, 0.98, 8, 100)
    assert found["low"] < found["positive"] < found["high"]
    assert measure(votes, AnnotateRules(), rng=rng)["fleiss"]["votes_each"] == 2
