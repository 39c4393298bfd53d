"""Published copies of photos: their digests for a release, and the files for whoever verifies or evaluates with them.

Decides what an exported photo is called. Photos are never part of a release; its entries hold both digests, and a folder
exported here is one that `release.photos` reads. Leaves how a copy loses its metadata to `published`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from counteranimal.errors import CounteranimalError, IntegrityError, Rejected
from counteranimal.freeze.entries import COPIES
from counteranimal.pool import Pool, map_shards, shards_of
from counteranimal.progress import track
from counteranimal.published import published_copy
from counteranimal.release.photos import EXTENSIONS
from counteranimal.release.sums import digest_of_bytes
from counteranimal.workspace import Blobs, Workspace, write_atomically

__all__ = ["copies_of", "export_photos"]

_HERE = Pool()
Shard = tuple[Path, Sequence[str]]
Copied = tuple[tuple[str, str, int] | None, str]


def copies_of(blobs: Blobs, photo_ids: Sequence[str], *, pool: Pool = _HERE) -> tuple[pa.Table, list[str]]:
    """Return the published copies as `entries.COPIES`, and one sentence for every photo that has none.

    Parameters
    ----------
    blobs : Blobs
        Where the originals are.
    pool : Pool
        Where they are made; the result does not depend on it.
    """
    shards = [(blobs.root, list(shard)) for shard in shards_of(sorted(photo_ids))]
    pieces, lost = [COPIES.empty_table()], []
    for shard in map_shards(_copy_shard, shards, pool=pool, title="published copies", store=blobs.root):
        made = [copy for copy, _ in shard if copy is not None]
        pieces.append(pa.table([pa.array(values) for values in zip(*made, strict=True)], COPIES) if made else pieces[0])
        lost += [problem for copy, problem in shard if copy is None]
    return pa.concat_tables(pieces), lost


def _copy_shard(shard: Shard) -> list[Copied]:
    root, photo_ids = shard
    blobs = Blobs(root)
    made: list[Copied] = []
    for photo_id in photo_ids:
        try:
            data = published_copy(blobs.read(photo_id))
        except Rejected as error:
            made.append((None, f"photo {photo_id} cannot be copied without its metadata ({error}); leave it out"))
        except CounteranimalError as error:
            made.append((None, str(error)))
        else:
            made.append(((photo_id, digest_of_bytes(data), len(data)), ""))
    return made


def export_photos(entries: pa.Table, workspace: Workspace, folder: Path) -> dict[str, int]:
    """Write the published copy of every entry as `<sha256 of the copy>.<extension>` and return counts.

    Copies that are there already are left alone, so that a killed export goes on where it stopped.

    Parameters
    ----------
    entries : pa.Table
        The entries of a release.
    folder : Path
        Made when missing.

    Raises
    ------
    IntegrityError
        If an original is missing or its copy is not the one that the release names.
    EnvironmentFailure
        If the disk is full or the folder cannot be written.
    """
    counts = {"written": 0, "present": 0}
    wanted = entries.select(["photo_id", "mime", "published_sha256"]).to_pylist()
    for entry in track(wanted, "exporting photos"):
        photo_id, digest = entry["photo_id"], entry["published_sha256"]
        target = folder / f"{digest}{EXTENSIONS.get(entry['mime'], '')}"
        if target.is_file() and digest_of_bytes(target.read_bytes()) == digest:
            counts["present"] += 1
            continue
        data = published_copy(workspace.blobs.read(photo_id))
        if digest_of_bytes(data) != digest:
            raise IntegrityError(
                f"the copy of photo {photo_id} is not the one that the release names; use the version of counteranimal "
                "that froze it"
            )
        write_atomically(target, data)
        counts["written"] += 1
    return counts
