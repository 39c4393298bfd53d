"""Finds all pairs of 64-bit hashes within a Hamming radius, exactly.

Decides how a search is run: few hashes are compared each with each, many by the bands that `bands` plans. Every pair is found once,
by the first band that finds it. The loops are compiled by numba; without numba the same bands are searched by numpy, with the
same result, at about twenty times the cost. Memory is bounded by the lists, one band's table and the pairs found; of those a caller
may keep only some, since photos, unlike random bits, come near each other by the million. Decides nothing about photos.
"""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from counteranimal.dedupe.bands import Band, plan_for

__all__ = [
    "Hashes",
    "Pairs",
    "Table",
    "Wanted",
    "bucketed",
    "chosen",
    "cross_pairs_within",
    "near_too",
    "ordered_pairs",
    "pairs_within",
    "searched",
]

# 256 x 16,384 differences of 8 bytes are 32 MiB: large enough that numpy's overhead vanishes.
_ROWS, _COLUMNS = 256, 16_384
# Up to so many comparisons numpy is done before numba is loaded.
_FEW = 50_000_000
_ROOM = 1 << 16
# Arrays of so many candidates stay in a cache.
_CANDIDATES = 1 << 16

Hashes = NDArray[np.uint64]
Wanted = Callable[["Pairs"], NDArray[np.bool_]]
"""Says of pairs, a portion at a time and in no order, which are kept."""
_Earlier = tuple[Hashes, Hashes]
_Found = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


class Pairs(NamedTuple):
    """Index pairs and their distances, three arrays of one length, ordered by `first`, then `second`."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    distance: NDArray[np.int64]


class Table(NamedTuple):
    """A list of hashes sorted by one band.

    `ordered` (n,) are the hashes, `places` (n,) where they stood in the list, and bucket k is `starts[k]:starts[k + 1]`, starts
    having 2**width + 1 entries.
    """

    ordered: Hashes
    places: NDArray[np.int32]
    starts: NDArray[np.int64]


def pairs_within(hashes: Hashes, radius: int, wanted: Wanted | None = None) -> Pairs:
    """Return every wanted pair first < second of `hashes` (n,) whose Hamming distance is at most `radius` bits."""
    if len(hashes) ** 2 // 2 <= _FEW:
        return _gather(_blocks(hashes, hashes, radius, triangle=True), wanted)
    return _gather(_among(hashes, radius), wanted)


def cross_pairs_within(a: Hashes, b: Hashes, radius: int, wanted: Wanted | None = None) -> Pairs:
    """Return every wanted pair (index into `a`, index into `b`) whose Hamming distance is at most `radius` bits."""
    if len(a) * len(b) <= _FEW:
        return _gather(_blocks(a, b, radius, triangle=False), wanted)
    plan = plan_for(len(a), len(b), radius, compiled=_has_numba())
    return searched(a, ((band, bucketed(b, band)) for band in plan.bands), radius, wanted)


def near_too(radius: int, first: Hashes, second: Hashes) -> Wanted:
    """Return what keeps the pairs whose other hashes, `first` and `second`, are within a radius as well."""
    return lambda pairs: np.bitwise_count(first[pairs.first] ^ second[pairs.second]) <= radius


def bucketed(hashes: Hashes, band: Band) -> Table:
    """Return the hashes sorted by the bits of a band, ready to be searched."""
    if _has_numba():
        from counteranimal.dedupe import kernels

        return Table(*kernels.bucketed(hashes, band.shift, band.width))
    keys = _keys(hashes, band)
    places = np.argsort(keys, kind="stable")
    starts = np.searchsorted(keys[places], np.arange((1 << band.width) + 1))
    return Table(hashes[places], places.astype(np.int32), starts)


def searched(probes: Hashes, tables: Iterable[tuple[Band, Table]], radius: int, wanted: Wanted | None = None) -> Pairs:
    """Return every wanted pair (index into `probes`, place in the bucketed list) within a radius that the bands were planned for."""
    found = (
        pairs
        for band, table, earlier in _with_earlier(tables)
        for pairs in _across(probes, table, (band, radius, earlier))
    )
    return _gather(found, wanted)


def _among(hashes: Hashes, radius: int) -> Iterator[Pairs]:
    """Yield the pairs of a list among itself, band by band."""
    bands = plan_for(len(hashes), None, radius, compiled=_has_numba()).bands
    for band, table, earlier in _with_earlier((band, bucketed(hashes, band)) for band in bands):
        if not _has_numba():
            yield from _plain(hashes, table, (band, radius, earlier), among=True)
            continue
        from counteranimal.dedupe import kernels

        step = functools.partial(kernels.within_band, table, band.masks(), np.uint64(radius), earlier)
        yield from _filled(step, len(table.starts) - 1)


def _across(probes: Hashes, table: Table, asked: tuple[Band, int, _Earlier]) -> Iterator[Pairs]:
    band, radius, earlier = asked
    if not _has_numba():
        yield from _plain(probes, table, asked)
        return
    from counteranimal.dedupe import kernels

    # Probes of one bucket look at the same buckets, one behind the other.
    ordered, places, _ = kernels.bucketed(probes, band.shift, band.width)
    where = (band.shift, band.masks())
    step = functools.partial(kernels.across_band, (ordered, places), table, where, np.uint64(radius), earlier)
    yield from _filled(step, len(probes))


def _with_earlier(tables: Iterable[tuple[Band, Table]]) -> Iterator[tuple[Band, Table, _Earlier]]:
    """Yield each band with the bits and flips of those before it."""
    before: list[Band] = []
    for band, table in tables:
        bits = np.array([item.bits for item in before], dtype=np.uint64)
        flips = np.array([item.flips for item in before], dtype=np.uint64)
        yield band, table, (bits, flips)
        before.append(band)


@functools.cache
def _has_numba() -> bool:
    return importlib.util.find_spec("numba") is not None


def _filled(step: Callable[[int, _Found], tuple[int, int]], end: int) -> Iterator[Pairs]:
    """Yield what `step` writes into arrays of bounded length; they grow where one bucket's pairs fill them."""
    room, begin = _ROOM, 0
    while begin < end:
        found = np.empty(room, np.int64), np.empty(room, np.int64), np.empty(room, np.int64)
        reached, count = step(begin, found)
        if reached == begin:
            room *= 4
        yield Pairs(*(array[:count].copy() for array in found))
        begin = reached


def _plain(probes: Hashes, table: Table, asked: tuple[Band, int, _Earlier], *, among: bool = False) -> Iterator[Pairs]:
    """Do what the compiled loops do: for each mask, compare each probe with the bucket that the mask leads to.

    `among` says that the probes are the list itself: then each two buckets meet once, and a pair is yielded once.
    """
    band, radius, earlier = asked
    buckets = _keys(probes, band)
    for mask in band.masks():
        low, high = table.starts[buckets ^ mask], table.starts[(buckets ^ mask) + 1]
        sizes = np.where((buckets ^ mask) >= buckets, high - low, 0) if among else high - low
        for rows in _portions(sizes):
            number = sizes[rows]
            first = np.repeat(np.arange(rows.start, rows.stop), number)
            # The next candidate of a row stands one place further; a row begins at its bucket.
            found = np.arange(len(first)) + np.repeat(low[rows] + number - np.cumsum(number), number)
            difference = probes[first] ^ table.ordered[found]
            near = np.flatnonzero(np.bitwise_count(difference) <= radius)
            difference = difference[near]
            for bits, flips in zip(*earlier, strict=True):
                unseen = np.bitwise_count(difference & bits) > flips
                near, difference = near[unseen], difference[unseen]
            one, other = first[near], table.places[found[near]].astype(np.int64)
            pairs = Pairs(one, other, np.bitwise_count(difference).astype(np.int64))
            if among:
                pairs = Pairs(np.minimum(one, other), np.maximum(one, other), pairs.distance)
                # Hashes of one bucket have met from both sides, and each itself.
                pairs = chosen(pairs, one < other) if mask == 0 else pairs
            yield pairs


def _keys(hashes: Hashes, band: Band) -> NDArray[np.int64]:
    return ((hashes >> np.uint64(band.shift)) & np.uint64((1 << band.width) - 1)).astype(np.int64)


def _portions(sizes: NDArray[Any]) -> Iterator[slice]:
    """Yield slices of rows whose candidates together are about `_CANDIDATES`, at least one row each."""
    ends = np.cumsum(sizes)
    start = 0
    while start < len(sizes):
        done = ends[start - 1] if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, done + _CANDIDATES, side="right")))
        yield slice(start, stop)
        start = stop


def _blocks(a: Hashes, b: Hashes, radius: int, *, triangle: bool) -> Iterator[Pairs]:
    for top in range(0, len(a), _ROWS):
        rows = a[top : top + _ROWS]
        for left in range(top if triangle else 0, len(b), _COLUMNS):
            distances = np.bitwise_count(rows[:, None] ^ b[None, left : left + _COLUMNS])
            near = distances <= radius
            if triangle and left <= top + _ROWS:
                near &= np.arange(left, left + near.shape[1])[None, :] > np.arange(top, top + len(rows))[:, None]
            row, column = np.nonzero(near)
            yield Pairs(row + top, column + left, distances[row, column].astype(np.int64))


def _gather(blocks: Iterator[Pairs], wanted: Wanted | None) -> Pairs:
    found = [pairs if wanted is None else chosen(pairs, wanted(pairs)) for pairs in blocks]
    if not found:
        nothing = np.empty(0, np.int64)
        return Pairs(nothing, nothing, nothing)
    return ordered_pairs(Pairs(*(np.concatenate(arrays) for arrays in zip(*found, strict=True))))


def chosen(pairs: Pairs, which: NDArray[np.bool_]) -> Pairs:
    """Return some of the pairs."""
    return Pairs(*(array[which] for array in pairs))


def ordered_pairs(pairs: Pairs) -> Pairs:
    """Return the pairs ordered by `first`, then `second`."""
    order = np.lexsort((pairs.second, pairs.first))
    return Pairs(*(array[order] for array in pairs))
