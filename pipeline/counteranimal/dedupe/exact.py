"""Which photos may be equal pixel for pixel, and the digests that say so.

Decides who is digested. A digest needs a full decode, ten times the cost of a hash, and tells something only of a photo that could
have an equal one: another of the same upright size whose hashes are near, or, where both hashes are noise because a
photo is nearly of one tone, any other of that size. Equal pixels give equal reference hashes, and scaled ones at most a few bits
apart, so no pair of equal photos is passed over. Leaves what equal digests mean to `confirm`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from counteranimal.dedupe.fingerprint import of_stored, pixel_digest
from counteranimal.pool import shards_of
from counteranimal.progress import track
from counteranimal.workspace import Blobs, Parts

__all__ = ["digests", "may_be_equal"]

Size = tuple[int, int]

NEARLY_UNIFORM = 5.0
"""Bits of grey entropy below which hashes of equal pixels may be far apart: photos have six to eight."""

_SHARD = 128


def may_be_equal(
    pairs: Iterable[tuple[int, int]], sizes: Sequence[Size], entropies: NDArray[np.float32]
) -> NDArray[np.int64]:
    """Return the places of the photos that may be equal to another one, ascending.

    Parameters
    ----------
    pairs : iterable of (int, int)
        Places of two photos whose hashes are near.
    sizes : sequence of (int, int)
        Upright width and height of n photos in pixels.
    entropies : array of float32, (n,)
        Their grey entropy in bits.
    """
    wanted = {place for a, b in pairs if sizes[a] == sizes[b] for place in (a, b)}
    even: dict[Size, list[int]] = defaultdict(list)
    for place in np.flatnonzero(entropies < NEARLY_UNIFORM).tolist():
        even[sizes[place]].append(place)
    wanted.update(place for places in even.values() if len(places) > 1 for place in places)
    return np.array(sorted(wanted), dtype=np.int64)


def digests(photo_ids: Sequence[str], blobs: Blobs, parts: Parts) -> dict[str, str]:
    """Return photo id -> pixel digest of the given photos and of those that were digested before.

    Raises
    ------
    IntegrityError
        If a photo is missing from the store, changed or does not decode; the sentence names it.
    """
    for names in track(shards_of(parts.missing(photo_ids), _SHARD), "Comparing pixels"):
        rows = [{"photo_id": name, "pixel_digest": of_stored(blobs, name, pixel_digest)} for name in names]
        parts.write(rows)
    known = parts.view()
    return dict(zip(known["photo_id"].to_pylist(), known["pixel_digest"].to_pylist(), strict=True))
