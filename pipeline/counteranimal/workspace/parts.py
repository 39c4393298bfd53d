"""Append-only Parquet parts of a per-photo table, so that a stage computes only what is missing.

Decides file names and how parts become a view. A part is named by the ids it holds, so a re-run after a kill writes the same
file again; the key of the folder (function version and settings) makes changed code or settings start afresh.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from counteranimal import tables
from counteranimal.errors import IntegrityError
from counteranimal.ids import digest_of

__all__ = ["Parts"]


class Parts:
    """The parts of one table under one key."""

    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.name = name

    def _paths(self) -> list[Path]:
        return sorted(self.folder.glob("part-*.parquet"))

    def ids(self) -> set[str]:
        """Return the photo ids that some part holds."""
        return {photo_id for path in self._paths() for photo_id in _read_column(path, "photo_id")}

    def missing(self, wanted: Iterable[str]) -> list[str]:
        """Return the wanted photo ids that no part holds, sorted."""
        return sorted(set(wanted) - self.ids())

    def write(self, rows: pa.Table | Iterable[Mapping[str, Any]]) -> Path:
        """Write one part; its name follows from the photo ids, so writing it twice leaves one file."""
        ordered = tables.conform(self.name, rows)
        name = digest_of(*ordered.column("photo_id").to_pylist())[:16]
        path = self.folder / f"part-{name}.parquet"
        tables.write(path, ordered)
        return path

    def forget(self, gone: Collection[str], columns: Sequence[str] = ("photo_id",)) -> None:
        """Rewrite the parts that name one of the photos in a column, without those rows."""
        names = pa.array(sorted(gone), pa.string())
        for path in self._paths() if gone else ():
            part = tables.read(path, self.name)
            naming = functools.reduce(pc.or_, (pc.is_in(part.column(column), value_set=names) for column in columns))
            left = part.filter(pc.invert(naming))
            if not len(left):
                path.unlink()
            elif len(left) < len(part):
                tables.write(path, left)

    def view(self, wanted: Sequence[str] | None = None) -> pa.Table:
        """Return all parts as one sorted table, restricted to the wanted photo ids when given."""
        parts = [tables.read(path, self.name) for path in self._paths()]
        whole = pa.concat_tables(parts) if parts else tables.empty(self.name)
        if wanted is not None:
            chosen = pa.array(sorted(set(wanted)), pa.string())
            whole = whole.filter(pc.is_in(whole.column("photo_id"), value_set=chosen))
        return tables.conform(self.name, whole)


def _read_column(path: Path, column: str) -> list[str]:
    try:
        return list(pq.read_table(path, columns=[column]).column(column).to_pylist())
    except (pa.ArrowException, OSError) as error:
        raise IntegrityError(f"{path} cannot be read ({error}); delete it and run its stage again") from error
