"""The inner loops of the pair search, compiled by numba: one band at a time, pairs written into arrays that the caller gives.

Decides nothing: which bands are searched is for `bands`, what a full array means for `neighbours`. Every function has a twin in
plain numpy there, for machines without numba. A pair is written by the first of the plan's bands that finds it, and by no other.
"""

# ruff: noqa: ANN001, ANN201, ANN202, PLR0913, PLR0917, SIM110 - numba infers the types, and knows no structs worth their cost here
# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-any-unimported, misc"

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba import types
from numba.extending import intrinsic

__all__ = ["across_band", "bucketed", "within_band"]


def _count_ones(typing_context, word):
    """Count the ones of a 64-bit word by the processor's own instruction."""
    del typing_context, word

    def generate(context, builder, signature, arguments):
        del context, signature
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), generate


_ones: Any = intrinsic(_count_ones)


@numba.njit(cache=True, nogil=True)
def bucketed(hashes, shift, width):
    """Return hashes (n,) sorted by the bits of a band, their places before (n,), and where each bucket starts (2**width + 1,)."""
    last = np.uint64((1 << width) - 1)
    starts = np.zeros((1 << width) + 1, dtype=np.int64)
    for value in hashes:
        starts[((value >> np.uint64(shift)) & last) + np.uint64(1)] += 1
    for bucket in range(1 << width):
        starts[bucket + 1] += starts[bucket]
    free = starts[:-1].copy()
    ordered = np.empty_like(hashes)
    places = np.empty(len(hashes), dtype=np.int32)
    for place in range(len(hashes)):
        bucket = (hashes[place] >> np.uint64(shift)) & last
        ordered[free[bucket]] = hashes[place]
        places[free[bucket]] = place
        free[bucket] += 1
    return ordered, places, starts


@numba.njit(nogil=True, inline="always")
def _is_new(difference, bits, flips):
    """Say whether no earlier band, given by its bits and flips, finds a pair with this difference."""
    for band in range(len(bits)):
        if _ones(difference & bits[band]) <= flips[band]:
            return False
    return True


@numba.njit(cache=True, nogil=True)
def within_band(table, masks, radius, earlier, begin, found):
    """Write the pairs of one list that agree on a band, and return the bucket to go on with and how many were written.

    `table` is what `bucketed` returned, `earlier` bits and flips of the bands before, `begin` the first bucket, `found` arrays of
    one length for first, second and distance. A bucket whose pairs do not fit is left for the next call.
    """
    ordered, places, starts = table
    bits, flips = earlier
    first, second, distance = found
    room, count = len(first), 0
    for bucket in range(begin, len(starts) - 1):
        start, end = starts[bucket], starts[bucket + 1]
        if start == end:
            continue
        kept = count
        for mask in masks:
            other = bucket ^ mask
            if other < bucket:
                continue
            stop = starts[other + 1]
            for left in range(start, end):
                value = ordered[left]
                for right in range(left + 1 if mask == 0 else starts[other], stop):
                    difference = value ^ ordered[right]
                    ones = _ones(difference)
                    if ones <= radius and _is_new(difference, bits, flips):
                        if count == room:
                            return bucket, kept
                        first[count] = min(places[left], places[right])
                        second[count] = max(places[left], places[right])
                        distance[count] = ones
                        count += 1
    return len(starts) - 1, count


@numba.njit(cache=True, nogil=True)
def across_band(probes, table, band, radius, earlier, begin, found):
    """Write the pairs of probes and a bucketed list that agree on a band, and return the probe to go on with and how many there are.

    `probes` are hashes and their places, best sorted by the band's bits; `band` is its shift and its masks.
    """
    values, origins = probes
    ordered, places, starts = table
    shift, masks = band
    bits, flips = earlier
    first, second, distance = found
    room, count = len(first), 0
    last = np.uint64(len(starts) - 2)
    for probe in range(begin, len(values)):
        value = values[probe]
        bucket = np.int64((value >> np.uint64(shift)) & last)
        kept = count
        for mask in masks:
            other = bucket ^ mask
            for right in range(starts[other], starts[other + 1]):
                difference = value ^ ordered[right]
                ones = _ones(difference)
                if ones <= radius and _is_new(difference, bits, flips):
                    if count == room:
                        return probe, kept
                    first[count] = origins[probe]
                    second[count] = places[right]
                    distance[count] = ones
                    count += 1
    return len(values), count
