"""Who and what gets into a round."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from counteranimal.annotate.sampling import assign, blind_or_shown, fitting, sample
from counteranimal.errors import UsageError

STRATA = {f"{cls}{bg}{index:03}": (cls, bg) for cls in "ab" for bg in "xyz" for index in range(10 if bg == "x" else 40)}


def test_everything_enters_with_certainty_when_no_number_is_given(rng: np.random.Generator) -> None:
    """Without photos_per_cell each photo is in, with probability one."""
    assert sample(STRATA, photos_per_cell=None, random_share=0.2, rng=rng) == dict.fromkeys(STRATA, 1.0)


def test_stored_probability_is_the_union_of_both_strata(rng: np.random.Generator) -> None:
    """A photo of a cell of 40 drawn at 20 has 1-(1-20/40)(1-p_random); a small cell enters whole."""
    drawn = sample(STRATA, photos_per_cell=20, random_share=0.25, rng=rng)
    extra = np.ceil(0.25 * (20 + 80)) / len(STRATA)
    assert drawn[next(name for name in drawn if STRATA[name][1] == "y")] == pytest.approx(1 - 0.5 * (1 - extra))
    assert {name for name in drawn if STRATA[name][1] == "x"} == {name for name in STRATA if STRATA[name][1] == "x"}


def test_photos_enter_as_often_as_stored() -> None:
    """Over many draws a photo enters at the rate of its stored probability, so weights by its inverse are right."""
    draws = [
        sample(STRATA, photos_per_cell=20, random_share=0.25, rng=np.random.default_rng(seed)) for seed in range(400)
    ]
    name = "ay000"
    rate = np.mean([name in drawn for drawn in draws])
    chance = next(drawn[name] for drawn in draws if name in drawn)
    assert abs(rate - chance) < 4 * np.sqrt(chance * (1 - chance) / len(draws))


@pytest.mark.case("F10")
def test_every_photo_gets_its_votes_from_different_people(rng: np.random.Generator) -> None:
    """Three votes on 200 photos by four people: each photo has three different ones, loads differ by at most one."""
    photos = [f"p{index}" for index in range(200)]
    dealt = assign(photos, ["a", "b", "c", "d"], votes_per_photo=3, rng=rng)
    assert Counter(name for own in dealt.values() for name in own) == dict.fromkeys(photos, 3)
    assert all(len(own) == len(set(own)) for own in dealt.values())
    assert max(map(len, dealt.values())) - min(map(len, dealt.values())) <= 1
    pairs = Counter(tuple(worker for worker in dealt if name not in dealt[worker]) for name in photos)
    assert len(pairs) == 4


def test_too_few_people_are_refused(rng: np.random.Generator) -> None:
    """Two votes a photo cannot come from one person, nor from one named twice."""
    with pytest.raises(UsageError, match="name more workers"):
        assign(["p"], ["a"], votes_per_photo=2, rng=rng)
    with pytest.raises(UsageError, match="named twice"):
        assign(["p"], ["a", "a"], votes_per_photo=2, rng=rng)


def test_blindness_is_a_coin_a_vote_with_one_blind_vote_kept(rng: np.random.Generator) -> None:
    """Only allowed photos are ever shown a proposal, and each keeps a blind vote."""
    photos = [f"p{index}" for index in range(400)]
    dealt = assign(photos, ["a", "b"], votes_per_photo=2, rng=rng)
    shown = blind_or_shown(dealt, may_show=photos[:200], rng=rng)
    assert not any(flag for (_, name), flag in shown.items() if name in photos[200:])
    for name in photos:
        assert not (shown["a", name] and shown["b", name])
    # Two coins, and one turned back where both fell on shown: three in eight votes are shown, 150 of 400.
    assert 105 <= sum(shown.values()) <= 195


def test_hours_cut_every_stratum_alike() -> None:
    """The largest number a stratum that fits, the random part counted; nothing above what the recipe asks for."""
    assert fitting(STRATA, None, random_share=0.25, photos=1000) == 40
    assert fitting(STRATA, 20, random_share=0.25, photos=1000) == 20
    # Six strata, two of them of ten: 15 a stratum are 2 * 10 + 4 * 15 = 80, with a quarter 100.
    assert fitting(STRATA, None, random_share=0.25, photos=100) == 15
    with pytest.raises(UsageError, match="6 classes and backgrounds"):
        fitting(STRATA, None, random_share=0.0, photos=5)
