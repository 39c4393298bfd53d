"""entries.csv: the entries for people and spreadsheets.

Decides how a row becomes text. A text cell that a spreadsheet would run as a formula is preceded by an apostrophe; lists are
joined with a bar, moments are ISO 8601 in UTC, and what is empty is empty. `entries.parquet` is what programs read.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa

__all__ = ["cell", "csv_pieces", "entries_csv"]

# The characters by which spreadsheet programs recognise a formula, or are led to one.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def cell(value: Any) -> str:
    """Return the text of one cell.

    Examples
    --------
    >>> cell("=1+1"), cell([281, 282]), cell(None), cell(0.5)
    ("'=1+1", '281|282', '', '0.5')
    """
    if value is None:
        return ""
    if isinstance(value, list):
        value = "|".join(str(item) for item in value)
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, str):
        return f"'{value}" if value.startswith(_FORMULA) else value
    return str(value)


def csv_pieces(column_names: Sequence[str], batches: Iterable[pa.RecordBatch]) -> Iterator[bytes]:
    """Yield the entries as CSV in UTF-8 with line feeds, one line a row in the table's order, the header first."""
    yield _lines([column_names])
    for batch in batches:
        columns = [map(cell, column.to_pylist()) for column in batch.columns]
        yield _lines(zip(*columns, strict=True))


def _lines(rows: Iterable[Sequence[str]]) -> bytes:
    sink = io.StringIO(newline="")
    # Every cell in quotes: which ones need them is answered differently by versions of Python (a lone carriage return).
    csv.writer(sink, lineterminator="\n", quoting=csv.QUOTE_ALL).writerows(rows)
    return sink.getvalue().encode("utf-8")


def entries_csv(entries: pa.Table) -> bytes:
    """Return the entries as one CSV file; see `csv_pieces`."""
    return b"".join(csv_pieces(entries.column_names, entries.to_batches(max_chunksize=4096)))
