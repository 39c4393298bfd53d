"""entries.csv: the entries for people and spreadsheets.

Decides how a row becomes text. A text cell that a spreadsheet would run as a formula is preceded by an apostrophe; lists are
joined with a bar, moments are ISO 8601 in UTC, and what is empty is empty. `entries.parquet` is what programs read.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import csv as arrow_csv

__all__ = ["cell", "csv_pieces", "entries_csv"]

# The characters by which spreadsheet programs recognise a formula, or are led to one.
_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_FORMULA_FIRST = r"^[=+\-@\t\r]"


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
    yield (",".join(f'"{name}"' for name in column_names) + "\n").encode()
    # Every cell in quotes: which ones need them is answered differently by programs (a lone carriage return).
    options = arrow_csv.WriteOptions(include_header=False, quoting_style="all_valid")
    for batch in batches:
        sink = io.BytesIO()
        arrow_csv.write_csv(pa.table([_texts(column) for column in batch.columns], batch.schema.names), sink, options)
        yield sink.getvalue()


def _texts(column: pa.Array) -> pa.Array:
    """Return what `cell` makes of each value; a million texts and numbers are worth a second way, which a test holds to the first."""
    if pa.types.is_integer(column.type):
        return pc.fill_null(column.cast(pa.string()), "")
    if not pa.types.is_string(column.type):
        return pa.array(map(cell, column.to_pylist()), pa.string())
    column = pc.fill_null(column, "")
    return pc.if_else(
        pc.match_substring_regex(column, _FORMULA_FIRST), pc.binary_join_element_wise("'", column, ""), column
    )


def entries_csv(entries: pa.Table) -> bytes:
    """Return the entries as one CSV file; see `csv_pieces`."""
    return b"".join(csv_pieces(entries.column_names, entries.to_batches(max_chunksize=4096)))
