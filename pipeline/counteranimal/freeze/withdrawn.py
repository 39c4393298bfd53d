"""Writes WITHDRAWN.json beside the releases of a workspace: its versions, and the published photos that were withdrawn since.

Decides that only photos which some release names stand in the list, so that it tells nothing of photos that were never
published. Leaves the spelling to `release.withdrawn`, and which photos are withdrawn to the journal.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from counteranimal.errors import IntegrityError, PolicyError
from counteranimal.freeze.sign import load_private_key, sign
from counteranimal.release import manifest as manifests
from counteranimal.release.layout import (
    MANIFEST,
    SUMS,
    WITHDRAWN,
    WITHDRAWN_SIGNATURE,
    table_file,
    versions_in,
)
from counteranimal.release.sums import digest_of_file
from counteranimal.release.withdrawn import WithdrawnList, render
from counteranimal.workspace import write_atomically

__all__ = ["published_copies", "require_same_key", "write_withdrawn"]


def published_copies(releases: Path) -> Iterator[tuple[str, str]]:
    """Yield photo id and sha256 of the published copy of every entry of every release."""
    for release in versions_in(releases):
        for batch in _entries(release, ["photo_id", "published_sha256"]):
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _entries(release: Path, columns: list[str]) -> Iterator[pa.RecordBatch]:
    path = release / table_file("entries")
    try:
        yield from pq.ParquetFile(path).iter_batches(columns=columns)
    except (pa.ArrowException, OSError) as error:
        raise IntegrityError(
            f"{path} cannot be read ({error}); run `counteranimal verify {release}` and get the release again"
        ) from error


def require_same_key(releases: Path, private_key: Path) -> None:
    """Raise PolicyError if the newest release was signed with another key: readers would not believe the list."""
    found = versions_in(releases)
    signed_by = manifests.parse((found[-1] / MANIFEST).read_bytes()).signed_by if found else None
    if signed_by and load_private_key(private_key).public_key().public_bytes_raw().hex() != signed_by:
        raise PolicyError(
            f"release {found[-1].name} is not signed with {private_key}, so readers would not believe a list of withdrawals "
            "signed with it; name the key that signed the release with --key"
        )


def write_withdrawn(name: str, releases: Path, days: Mapping[str, str], private_key: Path) -> dict[str, int]:
    """Write the signed list, and return version -> number of its photos that are withdrawn; nothing without a release.

    Parameters
    ----------
    days : mapping of str to str
        Withdrawn photo id -> day, YYYY-MM-DD.
    """
    found = versions_in(releases)
    if not found:
        return {}
    counts, published = {}, set[str]()
    for release in found:
        its = {photo_id for batch in _entries(release, ["photo_id"]) for photo_id in batch.column(0).to_pylist()}
        counts[release.name] = len(its & days.keys())
        published |= its & days.keys()
    listed = WithdrawnList(
        name=name,
        releases={release.name: digest_of_file(release / SUMS)[0] for release in found},
        withdrawn={photo_id: days[photo_id] for photo_id in sorted(published)},
    )
    data = render(listed)
    # The signature first: with the old list it is refused, while an old signature with a new list would be, too. Either way a
    # kill in between leaves a pair that nobody believes, and the next run writes both again.
    write_atomically(releases / WITHDRAWN_SIGNATURE, sign(load_private_key(private_key), data).render())
    write_atomically(releases / WITHDRAWN, data)
    return counts
