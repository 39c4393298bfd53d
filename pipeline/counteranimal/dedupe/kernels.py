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


@numba.njit(nogil=True, inline="always")
def _closest(value, ordered, start, stop):
    """Return the smallest distance to some hashes, without a branch, so that several are compared at once: few buckets hold a hit."""
    best = np.uint64(64)
    for place in range(start, stop):
        best = min(best, _ones(value ^ ordered[place]))
    return best


@numba.njit(cache=True, nogil=True)
def within_band(table, masks, radius, earlier, begin, found):
    """Write the pairs of one list that agree on a band, and return the bucket to go on with and how many were written.

    `table` is what `bucketed` returned, `earlier` bits and flips of the bands before, `begin` the first bucket, `found` arrays of
    one length for first, second and distance. A bucket whose pairs do not fit is left for the next call.
    """
    ordered, places, signed = table
    # An index that cannot be negative is not looked at before every access.
    starts, changes, one = signed.view(np.uint64), masks.view(np.uint64), np.uint64(1)
    bits, flips = earlier
    first, second, distance = found
    room, count = np.uint64(len(first)), np.uint64(0)
    for bucket in range(np.uint64(begin), np.uint64(len(starts) - 1)):
        start, end = starts[bucket], starts[bucket + one]
        kept = count
        for change in changes:
            other = bucket ^ change
            if start == end or other < bucket:
                continue
            stop = starts[other + one]
            for left in range(start, end):
                value = ordered[left]
                behind = starts[other] if change else left + one
                if _closest(value, ordered, behind, stop) > radius:
                    continue
                for right in range(behind, stop):
                    difference = value ^ ordered[right]
                    ones = _ones(difference)
                    if ones <= radius and _is_new(difference, bits, flips):
                        if count == room:
                            return bucket, kept
                        first[count] = min(places[left], places[right])
                        second[count] = max(places[left], places[right])
                        distance[count] = ones
                        count += one
    return np.uint64(len(starts) - 1), count


@numba.njit(cache=True, nogil=True)
def across_band(probes, table, band, radius, earlier, begin, found):
    """Write the pairs of probes and a bucketed list that agree on a band, and return the probe to go on with and how many there are.

    `probes` are hashes and their places, best sorted by the band's bits; `band` is its shift and its masks.
    """
    values, origins = probes
    ordered, places, signed = table
    shift, masks = band
    starts, changes, one = signed.view(np.uint64), masks.view(np.uint64), np.uint64(1)
    bits, flips = earlier
    first, second, distance = found
    room, count = np.uint64(len(first)), np.uint64(0)
    last = np.uint64(len(starts) - 2)
    for probe in range(np.uint64(begin), np.uint64(len(values))):
        value = values[probe]
        bucket = (value >> np.uint64(shift)) & last
        kept = count
        for change in changes:
            start, stop = starts[bucket ^ change], starts[(bucket ^ change) + one]
            if _closest(value, ordered, start, stop) > radius:
                continue
            for right in range(start, stop):
                difference = value ^ ordered[right]
                ones = _ones(difference)
                if ones <= radius and _is_new(difference, bits, flips):
                    if count == room:
                        return probe, kept
                    first[count] = origins[probe]
                    second[count] = places[right]
                    distance[count] = ones
                    count += one
    return np.uint64(len(values)), count
