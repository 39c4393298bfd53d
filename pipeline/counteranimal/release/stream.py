"""Reads published tables a few thousand rows at a time, so that a release of any length is checked in the same memory.

Decides what one look at a table finds out without keeping it: columns, types, the order of the key, empty cells. Rows come in key
order, so two tables are joined by walking both. Leaves what the rows must say to `rows` and `crossrefs`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from counteranimal import tables
from counteranimal.errors import IntegrityError
from counteranimal.release.columns import OPTIONAL
from counteranimal.release.layout import table_file

__all__ = ["StoredTable", "joined"]

_BATCH = 4096
# Bytes of a column that are read ahead; a column whole would grow with the table.
_BUFFER = 1 << 18


def joined(
    first: Iterable[tuple[Any, ...]], second: Iterable[tuple[Any, ...]]
) -> Iterator[tuple[Any, tuple[Any, ...] | None, tuple[Any, ...] | None]]:
    """Yield every key with its row in both sequences; None where one lacks it. Keys stand first in a row and rise strictly.

    Examples
    --------
    >>> list(joined([("a", 1), ("b", 2)], [("b", 3)]))
    [('a', ('a', 1), None), ('b', ('b', 2), ('b', 3))]
    """
    ours, theirs = iter(first), iter(second)
    a, b = next(ours, None), next(theirs, None)
    while a is not None or b is not None:
        if b is None or (a is not None and a[0] < b[0]):
            yield a[0], a, None  # type: ignore[index]
            a = next(ours, None)
        elif a is None or b[0] < a[0]:
            yield b[0], None, b
            b = next(theirs, None)
        else:
            yield a[0], a, b
            a, b = next(ours, None), next(theirs, None)


@dataclass(frozen=True, slots=True)
class StoredTable:
    """A published table of a release folder that was found sound: `length` rows, with `empty` cells by required column."""

    path: Path
    name: str
    length: int
    empty: dict[str, int]

    @classmethod
    def checked(cls, folder: Path, name: str) -> StoredTable:
        """Look through a table once.

        Raises
        ------
        IntegrityError
            If it is no Parquet, has another schema, is not in key order, or repeats or lacks a key.
        """
        path = folder / table_file(name)
        required = [column.name for column in tables.schema_of(name) if column.name not in OPTIONAL[name]]
        length, empty, last = 0, Counter[str](), None
        for batch in _batches(path, None, name):
            for column in required:
                empty[column] += batch.column(column).null_count
            keys = [batch.column(column) for column in tables.KEYS[name]]
            if any(column.null_count for column in keys):
                raise IntegrityError(f"{path.name} has a row without its key; get the release again")
            for key in zip(*(column.to_pylist() for column in keys), strict=True):
                if last is not None and key <= last:
                    raise IntegrityError(f"{path.name} is not in the order of its key; get the release again")
                last = key
            length += len(batch)
        return cls(path, name, length, {column: number for column, number in empty.items() if number})

    def batches(self, *columns: str) -> Iterator[pa.RecordBatch]:
        """Yield the rows in pieces; without columns, all of them."""
        return _batches(self.path, list(columns) or None, self.name)

    def tuples(self, *columns: str) -> Iterator[tuple[Any, ...]]:
        """Yield the rows as tuples of the named columns."""
        for batch in self.batches(*columns):
            yield from zip(*(batch.column(name).to_pylist() for name in columns), strict=True)

    def records(self) -> Iterator[dict[str, Any]]:
        """Yield whole rows."""
        for batch in self.batches():
            yield from batch.to_pylist()

    def counted(self, column: str) -> dict[str, int]:
        """Return value -> number of rows."""
        found: Counter[str] = Counter()
        for batch in self.batches(column):
            for item in pc.value_counts(batch.column(0)):
                found[item["values"].as_py()] += item["counts"].as_py()
        return dict(found)

    def total(self, column: str) -> int:
        """Return the sum of a column of whole numbers; empty cells count as 0."""
        return sum(pc.sum(batch.column(0)).as_py() or 0 for batch in self.batches(column))

    def missing_values(self) -> list[str]:
        """Return one sentence for every column that must be filled in every row and is not."""
        return [f"{self.name}: column {column} is empty in {number} row(s)" for column, number in self.empty.items()]


def _batches(path: Path, columns: list[str] | None, name: str) -> Iterator[pa.RecordBatch]:
    try:
        with path.open("rb") as opened:
            file = pq.ParquetFile(opened, buffer_size=_BUFFER, pre_buffer=False)
            if not file.schema_arrow.equals(tables.schema_of(name)):
                raise IntegrityError(
                    f"{path.name} has other columns or types than {name} has in this format; get the release again"
                )
            yield from file.iter_batches(batch_size=_BATCH, columns=columns, use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise IntegrityError(f"{path.name} cannot be read as Parquet ({error}); get the release again") from error
