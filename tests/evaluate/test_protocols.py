"""An answer is judged alone: any right index counts, ties go to the lower index, candidates limit what may be said."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from counteranimal.errors import IntegrityError, UsageError
from counteranimal.evaluate.protocols import judge


def logits(**values: float) -> np.ndarray:
    """Return one row of logits, 0 but at the named indices (`i207=3.0`)."""
    row = np.zeros((1, 1000), np.float32)
    for name, value in values.items():
        row[0, int(name[1:])] = value
    return row


def test_any_right_index_counts() -> None:
    """A class of several ImageNet indices is right when one of them wins; rank is that of the best of them."""
    judged = judge(logits(i207=3.0, i5=2.0), right=[151, 207, 268])
    assert (judged.predicted[0], judged.rank[0], judged.correct[0]) == (207, 1, True)
    assert judged.margin[0] == pytest.approx(1.0)


def test_rank_counts_the_wrong_ones_ahead() -> None:
    """Two wrong classes ahead of the best right one make rank 3 and a negative margin."""
    judged = judge(logits(i1=5.0, i2=4.0, i207=3.0, i151=2.0), right=[151, 207])
    assert (judged.predicted[0], judged.rank[0], judged.correct[0]) == (1, 3, False)
    assert judged.margin[0] == pytest.approx(-2.0)


@pytest.mark.parametrize(("right", "correct", "rank"), [([134], True, 1), ([517], False, 2)])
def test_ties_go_to_the_lower_index_and_are_flagged(right: list[int], correct: bool, rank: int) -> None:
    """Both cranes score the same: index 134 is predicted whichever is right, and the row says that the rule decided."""
    judged = judge(logits(i134=1.0, i517=1.0), right=right)
    assert (judged.predicted[0], judged.correct[0], judged.rank[0], judged.tied[0]) == (134, correct, rank, True)


def test_a_tie_among_right_indices_needs_no_rule() -> None:
    """Two right indices that score the same are right either way, so nothing is flagged."""
    judged = judge(logits(i134=1.0, i517=1.0), right=[134, 517])
    assert (judged.correct[0], judged.tied[0]) == (True, False)


def test_candidates_limit_the_answer() -> None:
    """1 vs 20 ignores a class that is no candidate; the order in which candidates are listed means nothing."""
    row = logits(i1=9.0, i50=3.0, i207=2.0)
    for candidates in ([50, 207, 900], [900, 207, 50]):
        judged = judge(row, [207], candidates)
        assert (judged.predicted[0], judged.rank[0]) == (50, 2)


def test_a_list_without_the_truth_is_wrong_without_a_rank() -> None:
    """The paper does not force the truth into its lists: then there is a prediction, no rank and no margin."""
    judged = judge(logits(i50=3.0), [207], [50, 60])
    assert (judged.predicted[0], judged.rank[0], judged.correct[0]) == (50, 0, False)
    assert np.isnan(judged.margin[0])


@pytest.mark.case("I05")
@given(arrays(np.float32, (7, 1000), elements=st.sampled_from([0.0, 0.5, 1.0])), st.integers(1, 6))
def test_batches_never_change_an_answer(values: np.ndarray, cut: int) -> None:
    """Judging in two parts equals judging at once, with ties everywhere."""
    whole = judge(values, [3, 500], [3, *range(0, 1000, 50)])
    parts = [judge(part, [3, 500], [3, *range(0, 1000, 50)]) for part in (values[:cut], values[cut:])]
    for name in whole._fields:
        joined = np.concatenate([getattr(part, name) for part in parts])
        np.testing.assert_array_equal(getattr(whole, name), joined)


@given(
    arrays(np.float32, (5, 1000), elements=st.floats(-2, 2, width=16)),
    st.sets(st.integers(0, 999), min_size=1, max_size=9),
)
def test_right_means_rank_one_means_predicted_right(values: np.ndarray, right: set[int]) -> None:
    """The columns never contradict each other."""
    judged = judge(values, sorted(right))
    np.testing.assert_array_equal(judged.correct, judged.rank == 1)
    np.testing.assert_array_equal(judged.correct, np.isin(judged.predicted, list(right)))
    np.testing.assert_array_equal(judged.tied, judged.margin == 0)


def test_what_is_no_number_is_refused() -> None:
    """A NaN logit would never win and count as wrong in silence."""
    with pytest.raises(IntegrityError, match="not finite"):
        judge(logits(i3=float("nan")), [3])


@pytest.mark.parametrize("right", [[], [3, 3], [1000], [-1]])
def test_impossible_indices_are_refused(right: list[int]) -> None:
    """No index, one twice, or one outside 0 to 999 is an error."""
    with pytest.raises(UsageError):
        judge(logits(), right)


def test_no_photos_give_no_rows() -> None:
    """An empty batch is judged to empty arrays."""
    assert judge(np.zeros((0, 1000), np.float32), [3]).correct.shape == (0,)
