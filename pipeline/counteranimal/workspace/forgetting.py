"""Removes photos from everything a workspace keeps on disk: bytes, side records, copies, thumbnails, crops, rows of parts and views.

Decides what a trace of a photo is: a file named by one of its digests, and a row of a computed table that names it. The
journal and its snapshots `candidates` and `fetches` stay, since they say what happened; so do releases, which are never
written again, and evaluations, which hold numbers. Leaves which photos go to the caller.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from counteranimal import tables
from counteranimal.workspace import Workspace, write_atomically
from counteranimal.workspace.durable import as_failure, sync_folder

__all__ = ["crops_of", "forget"]

_STATED = 24
"""Digits of a digest that a file's name begins with; report thumbnails have no more."""
_COLUMNS = ("photo_id", "photo_a", "photo_b")
_OF_THE_JOURNAL = frozenset({"candidates.parquet", "fetches.parquet"})


def crops_of(workspace: Workspace) -> Path:
    """Return where a workspace keeps the squares that evaluated models saw; a cache that may go at any time."""
    return workspace.home / "crops"


def forget(
    workspace: Workspace, gone: Collection[str], copies: Collection[str] = (), beside: Sequence[Path] = ()
) -> dict[str, int]:
    """Remove photos and return `files` removed, `bytes` freed, and `rows` taken out of tables; twice is as good as once.

    Parameters
    ----------
    gone : collection of str
        Photo ids.
    copies : collection of str
        The sha256 of their published copies.
    beside : sequence of Path
        More folders to look through: exported photos, galleries, reports outside the workspace.

    Raises
    ------
    EnvironmentFailure
        If a file cannot be removed; a re-run goes on.
    """
    counts = {"files": 0, "bytes": 0, "rows": 0}
    if not gone:
        return counts
    names = {digest[:_STATED] for digest in (*gone, *copies)}
    folders: set[Path] = set()
    try:
        for path in _named(names, (workspace.home, workspace.blobs.root, *beside)):
            counts["files"] += 1
            counts["bytes"] += path.lstat().st_size
            path.unlink()
            folders.add(path.parent)
        for folder in sorted(folders):
            sync_folder(folder)
        if (crops := crops_of(workspace)).is_dir():
            shutil.rmtree(crops)  # a file holds the pixels of a whole release; the next evaluation makes it anew
        counts["rows"] = sum(_without_rows(path, gone) for path in _tables(workspace))
        if counts["rows"]:
            # Sorted copies of hashes, which the next search makes anew.
            for index in sorted((workspace.home / "tables").glob("*/*/index")):
                shutil.rmtree(index)
    except OSError as error:
        raise as_failure(error, workspace.home) from error
    return counts


def _named(names: Collection[str], folders: Sequence[Path]) -> Iterator[Path]:
    seen: set[Path] = set()
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.name.lstrip(".")[:_STATED] in names and path not in seen and not path.is_dir():
                seen.add(path)
                yield path


def _tables(workspace: Workspace) -> Iterator[Path]:
    for path in sorted((workspace.home / "tables").rglob("*.parquet")):
        if path.name not in _OF_THE_JOURNAL:
            yield path


def _without_rows(path: Path, gone: Collection[str]) -> int:
    """Rewrite one table without the rows that name a photo and return their number; what cannot be read is removed whole."""
    try:
        columns = [name for name in pq.read_schema(path).names if name in _COLUMNS]
        named = _naming(pq.read_table(path, columns=columns), gone) if columns else None
        if named is None or not (number := int(pc.sum(named).as_py() or 0)):
            return 0
        left = pq.read_table(path).filter(pc.invert(named))
    except pa.ArrowException:
        # A computed table in pieces may hold the photo and serves no reader; its stage makes it again.
        path.unlink()
        return 1
    if len(left) or not path.name.startswith("part-"):
        write_atomically(path, tables.parquet_bytes(left))
    else:
        path.unlink()
    return number


def _naming(table: pa.Table, gone: Collection[str]) -> pa.ChunkedArray:
    ids = pa.array(sorted(gone), pa.string())
    found = pc.is_in(table.column(0), value_set=ids)
    for column in table.columns[1:]:
        found = pc.or_(found, pc.is_in(column, value_set=ids))
    return found
