"""Which pairs of photos the hashes propose, so that pixels look at them: those of new photos, among themselves and with all others.

Decides that a pair needs both hashes, as the photos stand or one of them mirrored; of a mirrored pair the smaller photo id is taken
as it stands, so that the result does not depend on which photo came first. Leaves the search to `neighbours` and `index`, and
what a pair is to `confirm`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from counteranimal.dedupe.index import Index, Keys, keys_of, load, store
from counteranimal.dedupe.neighbours import Hashes, Pairs, Wanted, cross_pairs_within, near_too, pairs_within
from counteranimal.recipe import DedupeRules

__all__ = ["Fingerprints", "Proposal", "proposed"]

# Fewer photos are sorted anew faster than an index is read.
_INDEXED = 100_000


class Fingerprints(NamedTuple):
    """The columns of table `fingerprints` that pairs are made from, all in the order of `photo_ids`, which is sorted."""

    photo_ids: Sequence[str]
    pixel_digests: Sequence[str]
    phash: Hashes
    dhash: Hashes
    phash_mirrored: Hashes
    dhash_mirrored: Hashes
    entropy: NDArray[np.float32]

    @classmethod
    def of(cls, table: pa.Table) -> Fingerprints:
        """Return the columns of rows of table `fingerprints`; each photo's digest is its own until photos that may be equal are known."""

        def numbers(name: str) -> Hashes:
            return np.asarray(table.column(name).to_numpy(), dtype=np.uint64)

        names = table.column("photo_id").to_pylist()
        return cls(
            names,
            names,
            numbers("phash"),
            numbers("dhash"),
            numbers("phash_mirrored"),
            numbers("dhash_mirrored"),
            table.column("entropy").to_numpy(),
        )


class Proposal(NamedTuple):
    """Two photos, first < second in the order of ids, whose hashes are near: as they stand, or the second one mirrored."""

    first: int
    second: int
    kind: Literal["near", "mirror"]
    phash_distance: int
    dhash_distance: int


def proposed(
    prints: Fingerprints, new: NDArray[np.bool_], rules: DedupeRules, folder: Path | None = None
) -> list[Proposal]:
    """Return the pairs with at least one new photo, sorted.

    Parameters
    ----------
    prints : Fingerprints
        Of n photos.
    new : array of bool, (n,)
        Which photos have not been searched yet.
    rules : DedupeRules
        Its radii in bits.
    folder : Path, optional
        Where the hashes of many photos are kept sorted between runs.
    """
    fresh, known = np.flatnonzero(new), np.flatnonzero(~new)
    if not len(fresh):
        return []
    straight, flipped = prints.phash, prints.phash_mirrored
    keep = folder if len(prints.photo_ids) >= _INDEXED else None
    keys = keys_of(list(prints.photo_ids)) if keep is not None else np.empty(0, np.uint64)
    stands = _Known(known, keys, straight, keep and keep / "phash", rules.phash_radius)
    turned = _Known(known, keys, flipped, keep and keep / "phash-mirrored", rules.phash_radius)
    radius = rules.phash_radius
    too = functools.partial(near_too, rules.dhash_radius)
    dhash, dhash_flipped = prints.dhash, prints.dhash_mirrored
    by_dhash = too(dhash[fresh], dhash[fresh]), too(dhash[fresh], dhash[known])
    near = [
        _at(pairs_within(straight[fresh], radius, by_dhash[0]), fresh, fresh),
        _at(stands.search(straight[fresh], by_dhash[1]), fresh, known),
    ]
    by_dhash = too(dhash[fresh], dhash_flipped[fresh]), too(dhash[fresh], dhash_flipped[known])
    mirrored = [
        _at(cross_pairs_within(straight[fresh], flipped[fresh], radius, by_dhash[0]), fresh, fresh),
        _at(turned.search(straight[fresh], by_dhash[1]), fresh, known),
        _turned(_at(stands.search(flipped[fresh], too(dhash_flipped[fresh], dhash[known])), fresh, known)),
    ]
    for side in (stands, turned):
        side.add(fresh)
    return sorted([*_sided("near", near, prints), *_sided("mirror", mirrored, prints)])


class _Known:
    """The photos that were searched before, kept sorted where they are many."""

    def __init__(self, known: NDArray[np.int64], keys: Keys, hashes: Hashes, folder: Path | None, radius: int) -> None:
        self._keys, self._hashes, self._folder, self._radius = keys, hashes, folder, radius
        self._known = known
        self._index: Index | None = None
        if folder is not None and len(known):
            self._index = load(folder, keys[known], radius) or Index.of(keys[known], hashes[known], radius)

    def search(self, probes: Hashes, wanted: Wanted) -> Pairs:
        if self._index is not None:
            return self._index.search(probes, wanted)
        return cross_pairs_within(probes, self._hashes[self._known], self._radius, wanted)

    def add(self, fresh: NDArray[np.int64]) -> None:
        if self._folder is None:
            return
        more = self._keys[fresh], self._hashes[fresh]
        index = Index.of(*more, self._radius) if self._index is None else self._index.with_more(*more)
        store(index, self._folder, self._keys)


def _at(pairs: Pairs, rows: NDArray[np.int64], others: NDArray[np.int64]) -> Pairs:
    """Return pairs of places among some photos as pairs of places among all."""
    return Pairs(rows[pairs.first], others[pairs.second], pairs.distance)


def _turned(pairs: Pairs) -> Pairs:
    return Pairs(pairs.second, pairs.first, pairs.distance)


def _sided(kind: Literal["near", "mirror"], parts: Sequence[Pairs], prints: Fingerprints) -> Iterator[Proposal]:
    """Yield the pairs; of the two ways to mirror a pair, the one of the smaller photo id counts."""
    first, second, distance = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    if kind == "near":
        first, second = np.minimum(first, second), np.maximum(first, second)
    other = prints.dhash if kind == "near" else prints.dhash_mirrored
    bits = np.bitwise_count(prints.dhash[first] ^ other[second])
    once = first < second
    columns = (array[once].tolist() for array in (first, second, distance, bits))
    for a, b, phash_distance, dhash_distance in zip(*columns, strict=True):
        yield Proposal(a, b, kind, phash_distance, dhash_distance)
