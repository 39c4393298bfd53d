"""A list of hashes kept sorted by bands on disk, so that a few new hashes are searched against a million without sorting those again.

Decides how the list grows: new hashes wait in a short tail, and are sorted in once the tail is an eighth of the list. It is a
copy of what table `fingerprints` holds: one that was stored for other photos is not used. Leaves the search to `neighbours`.
"""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from counteranimal.dedupe.bands import Band, plan_for
from counteranimal.dedupe.neighbours import (
    Hashes,
    Pairs,
    Table,
    Wanted,
    bucketed,
    cross_pairs_within,
    ordered_pairs,
    searched,
)
from counteranimal.workspace import write_atomically

__all__ = ["Index", "keys_of", "load", "store"]

Keys = NDArray[np.uint64]

_TAIL = 8
# So few probes at a time are what an index is for, and what its bands are planned for.
_PROBES = 1_000
# Plain arrays without a header, of which numpy reads thirty in the time of one with.
_PARTS: dict[str, type[np.generic]] = {"ordered": np.uint64, "places": np.int32, "starts": np.int64}


def keys_of(photo_ids: list[str]) -> Keys:
    """Return the first 64 bits of each photo id, (n,); they sort as the ids do."""
    # All four words of every id are read, and one is taken: faster than cutting a million strings.
    return np.frombuffer(bytes.fromhex("".join(photo_ids)), dtype=">u8")[::4].astype(np.uint64)


@dataclass(frozen=True, slots=True)
class Index:
    """The hashes of some photos, ready to be searched within one radius.

    `keys` (n,) of the list ascend, `tables` hold its hashes, one table a band; `tail` (m,) are the hashes that came later, and
    `tail_keys` their photos.
    """

    radius: int
    bands: tuple[Band, ...]
    tables: tuple[Table, ...]
    keys: Keys
    tail_keys: Keys
    tail: Hashes

    @classmethod
    def of(cls, keys: Keys, hashes: Hashes, radius: int) -> Index:
        """Return the index of some photos, whose `keys` ascend."""
        bands = plan_for(_PROBES, len(hashes), radius).bands
        nothing = np.empty(0, np.uint64)
        return cls(radius, bands, tuple(bucketed(hashes, band) for band in bands), keys, nothing, nothing)

    def search(self, probes: Hashes, wanted: Wanted | None = None) -> Pairs:
        """Return every wanted pair (index into `probes`, place in the ascending order of all keys) within the radius."""
        waiting_keys = np.sort(self.tail_keys)

        def placed(pairs: Pairs, keys: Keys) -> Pairs:
            found = keys[pairs.second]
            return pairs._replace(second=np.searchsorted(self.keys, found) + np.searchsorted(waiting_keys, found))

        def wanted_of(keys: Keys) -> Wanted | None:
            return None if wanted is None else lambda pairs: wanted(placed(pairs, keys))

        tables = zip(self.bands, self.tables, strict=True)
        listed = searched(probes, tables, self.radius, wanted_of(self.keys))
        waiting = cross_pairs_within(probes, self.tail, self.radius, wanted_of(self.tail_keys))
        both = placed(listed, self.keys), placed(waiting, self.tail_keys)
        return ordered_pairs(Pairs(*(np.concatenate(arrays) for arrays in zip(*both, strict=True))))

    def with_more(self, keys: Keys, hashes: Hashes) -> Index:
        """Return the index with more photos."""
        tail_keys, tail = np.concatenate([self.tail_keys, keys]), np.concatenate([self.tail, hashes])
        if _TAIL * len(tail) <= len(self.keys):
            return replace(self, tail_keys=tail_keys, tail=tail)
        listed = np.empty(len(self.keys), np.uint64)
        listed[self.tables[0].places] = self.tables[0].ordered
        every = np.concatenate([self.keys, tail_keys])
        order = np.argsort(every)
        return Index.of(every[order], np.concatenate([listed, tail])[order], self.radius)


def load(folder: Path, keys: Keys, radius: int) -> Index | None:
    """Return the index that was stored for exactly these photos, in the order of their keys; None where there is none."""
    try:
        told = json.loads((folder / "index.json").read_text(encoding="utf-8"))
        if (told["radius"], told["holds"]) != (radius, _digest(keys)):
            return None
        bands = tuple(Band(**band) for band in told["bands"])
        listed, tail_keys, tail = (np.fromfile(folder / name, np.uint64) for name in ("keys", "tail-keys", "tail"))
        tables = tuple(_mapped(folder, number, (band, len(listed))) for number, band in enumerate(bands))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Index(radius, bands, tables, listed, tail_keys, tail)


def _mapped(folder: Path, number: int, holds: tuple[Band, int]) -> Table:
    """Return the table of one band as it lies on disk; raises ValueError where a file has another length than it should."""
    band, hashes = holds
    lengths = {"ordered": hashes, "places": hashes, "starts": 2**band.width + 1}
    parts = {part: np.memmap(folder / f"{number}-{part}", kind, mode="c") for part, kind in _PARTS.items()}
    for part, length in lengths.items():
        if len(parts[part]) != length:
            raise ValueError(f"{part} of band {number} is torn")
    return Table(**parts)


def store(index: Index, folder: Path, keys: Keys) -> None:
    """Store an index of the photos `keys`, ascending; of one that was loaded from there, only what has changed.

    The description is written last, so that a half-written index fits no photos.
    """
    described = folder / "index.json"
    described.unlink(missing_ok=True)
    if not isinstance(index.tables[0].ordered, np.memmap):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        index.keys.tofile(folder / "keys")
        for number, table in enumerate(index.tables):
            for part in _PARTS:
                getattr(table, part).tofile(folder / f"{number}-{part}")
    index.tail_keys.tofile(folder / "tail-keys")
    index.tail.tofile(folder / "tail")
    told = {"radius": index.radius, "holds": _digest(keys), "bands": [asdict(band) for band in index.bands]}
    write_atomically(described, json.dumps(told).encode())


def _digest(keys: Keys) -> str:
    return hashlib.sha256(keys.tobytes()).hexdigest()
