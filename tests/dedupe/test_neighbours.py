"""The pair search is exact."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from counteranimal.dedupe.neighbours import cross_pairs_within, pairs_within

few_bits = st.integers(0, 63).map(lambda bit: 1 << bit) | st.just(0)
hashes = st.lists(
    st.integers(0, 2**64 - 1) | st.builds(lambda a, b, c: a ^ b ^ c, few_bits, few_bits, few_bits), max_size=40
)


def near(a: list[int], b: list[int], radius: int) -> list[tuple[int, int, int]]:
    """Return all (i, j, distance) within the radius, by trying every pair."""
    return [
        (i, j, (first ^ second).bit_count())
        for i, first in enumerate(a)
        for j, second in enumerate(b)
        if (first ^ second).bit_count() <= radius
    ]


@given(hashes, st.integers(0, 20))
@settings(max_examples=60, deadline=None)
def test_all_pairs_within_a_radius_are_found_once(values, radius):
    """The result equals trying every pair, in order, each pair once."""
    found = pairs_within(np.array(values, dtype=np.uint64), radius)
    rows = [tuple(int(value) for value in row) for row in zip(*found, strict=True)]
    assert rows == [row for row in near(values, values, radius) if row[0] < row[1]]


@given(hashes, hashes, st.integers(0, 20))
@settings(max_examples=60, deadline=None)
def test_all_cross_pairs_within_a_radius_are_found(first, second, radius):
    """The result over two lists equals trying every pair."""
    found = cross_pairs_within(np.array(first, dtype=np.uint64), np.array(second, dtype=np.uint64), radius)
    assert [tuple(int(value) for value in row) for row in zip(*found, strict=True)] == near(first, second, radius)


def test_pairs_are_found_across_the_borders_of_blocks():
    """A pair whose halves lie in different blocks, or on a block's edge, is not lost."""
    values = np.random.default_rng(7).integers(0, 2**64, 17_000, dtype=np.uint64)
    planted = [(0, 16_999), (255, 256), (256, 16_384), (16_383, 16_385)]
    for a, b in planted:
        values[b] = values[a] ^ np.uint64(0b111)
    found = pairs_within(values, 3)
    assert set(planted) <= set(zip(found.first.tolist(), found.second.tolist(), strict=True))
