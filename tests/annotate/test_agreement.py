"""Agreement figures against reference libraries, and the gate."""

from __future__ import annotations

import krippendorff
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from counteranimal.annotate.agreement import measure
from counteranimal.annotate.alpha import alpha, alpha_interval, count_values, positive_agreement, raw_agreement
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


def vote(photo: int, worker: str, word: str, *, shown: bool = False) -> dict[str, object]:
    return {
        "round": "r", "photo_id": str(photo), "worker": worker, "class_id": "cat", "background": word, "usable": True,
        "codes": [], "seconds": 4.0, "shown": shown,
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
