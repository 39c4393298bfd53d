"""Finds all pairs of 64-bit hashes within a Hamming radius, exactly.

Decides nothing about photos. The search compares every pair with XOR and a population count, a block at a time: quadratic in
the number of hashes (about one second of CPU for 10,000, 70 for 100,000), with memory bounded by the block, whatever the size.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

__all__ = ["Pairs", "cross_pairs_within", "pairs_within"]

# 256 x 16,384 differences of 8 bytes are 32 MiB: large enough that numpy's overhead vanishes.
_ROWS, _COLUMNS = 256, 16_384


class Pairs(NamedTuple):
    """Index pairs and their distances, three arrays of one length, ordered by `first`, then `second`."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    distance: NDArray[np.int64]


def pairs_within(hashes: NDArray[np.uint64], radius: int) -> Pairs:
    """Return every pair first < second of `hashes` (n,) whose Hamming distance is at most `radius` bits."""
    return _gather(_blocks(hashes, hashes, radius, triangle=True))


def cross_pairs_within(a: NDArray[np.uint64], b: NDArray[np.uint64], radius: int) -> Pairs:
    """Return every pair (index into `a`, index into `b`) whose Hamming distance is at most `radius` bits."""
    return _gather(_blocks(a, b, radius, triangle=False))


def _blocks(a: NDArray[np.uint64], b: NDArray[np.uint64], radius: int, *, triangle: bool) -> Iterator[Pairs]:
    for top in range(0, len(a), _ROWS):
        rows = a[top : top + _ROWS]
        for left in range(top if triangle else 0, len(b), _COLUMNS):
            distances = np.bitwise_count(rows[:, None] ^ b[None, left : left + _COLUMNS])
            near = distances <= radius
            if triangle and left <= top + _ROWS:
                near &= np.arange(left, left + near.shape[1])[None, :] > np.arange(top, top + len(rows))[:, None]
            row, column = np.nonzero(near)
            yield Pairs(row + top, column + left, distances[row, column].astype(np.int64))


def _gather(blocks: Iterator[Pairs]) -> Pairs:
    found = list(blocks)
    if not found:
        nothing = np.empty(0, np.int64)
        return Pairs(nothing, nothing, nothing)
    first, second, distance = (np.concatenate(arrays) for arrays in zip(*found, strict=True))
    order = np.lexsort((second, first))
    return Pairs(first[order], second[order], distance[order])
