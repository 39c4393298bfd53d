"""Holds a release's photos against hash lists, for an evaluator who has the release, its photos and no workspace.

Decides how those photos are hashed: from originals or published copies, whose pixels are the same, while equal bytes always mean the
original's. Leaves the rule to `reference`, and what the finds change in a model's figures to `evaluate`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from counteranimal import tables
from counteranimal.dedupe.fingerprint import hashes_in
from counteranimal.dedupe.hash_list import HashList, read_hash_list
from counteranimal.dedupe.proposals import Fingerprints
from counteranimal.dedupe.reference import checks, overlaps
from counteranimal.errors import IntegrityError, Rejected, UsageError
from counteranimal.pool import Pool, map_shards, shards_of
from counteranimal.recipe import DedupeRules
from counteranimal.release.photos import PhotoFolder

__all__ = ["held_against", "read_lists"]

_SHARD = 128


def read_lists(paths: Sequence[Path]) -> list[HashList]:
    """Read hash lists, by name; the same list twice counts once.

    Raises
    ------
    UsageError, IntegrityError
        As `read_hash_list`; a UsageError also where two lists have one name.
    """
    found: dict[str, HashList] = {}
    for path in paths:
        item = read_hash_list(path)
        if found.setdefault(item.name, item).sha256 != item.sha256:
            raise UsageError(f"two hash lists have the name {item.name}; rename {path}")
    return [found[name] for name in sorted(found)]


def held_against(
    entries: pa.Table, photos: PhotoFolder, lists: Sequence[HashList], *, workers: int
) -> tuple[pa.Table, pa.Table]:
    """Return the tables `references` and `reference_overlaps` of a release's photos.

    Parameters
    ----------
    entries : pa.Table
        Of the release.
    photos : PhotoFolder
        Where its photos are.
    lists : sequence of HashList
        As `read_lists` returns them.
    workers : int
        Processes that hash.

    Raises
    ------
    IntegrityError
        If a photo is missing, changed or does not decode.
    """
    rows = entries.select(["photo_id", "bytes", "published_sha256", "published_bytes"]).to_pylist()
    shards = [(photos.folder, part) for part in shards_of(rows, _SHARD)]
    hashed = [row for part in map_shards(_hash_shard, shards, pool=Pool(workers), title="fingerprint") for row in part]
    prints = Fingerprints.of(tables.conform("fingerprints", hashed))
    # A release has no rules of its own for this; the radii only bound what is told as unsure.
    found = overlaps(prints, lists, DedupeRules())
    struck = {overlap.photo_id: overlap.entry for overlap in reversed(found) if overlap.sure}
    return (
        tables.conform("references", checks(lists, found, struck)),
        tables.conform("reference_overlaps", [overlap.row() for overlap in found]),
    )


def _hash_shard(shard: tuple[Path, Sequence[dict[str, Any]]]) -> list[dict[str, Any]]:
    folder, entries = shard
    photos = PhotoFolder(folder)
    hashed = []
    for entry in entries:
        try:
            hashed.append({"photo_id": entry["photo_id"], **asdict(hashes_in(photos.read(entry)))})
        except Rejected as rejected:
            raise IntegrityError(
                f"photo {entry['photo_id']} does not decode ({rejected}); make a release without it"
            ) from rejected
    return hashed
