"""entries.csv: whole columns at a time give what each cell is documented to be."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from counteranimal.release.flat import cell, entries_csv

_TEXT = st.none() | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12) | st.sampled_from(
    ["=1+1", "+1", "-1", "@a", "\tx", "\rx", 'a"b', "a\nb", "a,b", "'", "\n=1", " =1", ""]
)  # fmt: skip
_ROW = st.tuples(
    _TEXT,
    st.none() | st.integers(-(2**31), 2**31),
    st.none() | st.floats(allow_nan=False),
    st.none() | st.lists(st.integers(0, 9), max_size=3),
    st.none() | st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.just(UTC)),  # noqa: DTZ001
)
_SCHEMA = pa.schema(
    [("text", pa.string()), ("number", pa.int64()), ("share", pa.float64()), ("list", pa.list_(pa.int32())), ("when", pa.timestamp("us", "UTC"))]
)  # fmt: skip


@settings(max_examples=150)
@given(st.lists(_ROW, min_size=1, max_size=6))
def test_the_file_is_the_cells_in_quotes(rows: list[tuple[object, ...]]) -> None:
    """Byte for byte what Python's csv module writes of the documented cells, all quoted, whatever the texts hold."""
    table = pa.table(
        [pa.array(values, kind) for values, kind in zip(zip(*rows, strict=True), _SCHEMA.types, strict=True)], _SCHEMA
    )
    sink = io.StringIO(newline="")
    writer = csv.writer(sink, lineterminator="\n", quoting=csv.QUOTE_ALL)
    writer.writerow(_SCHEMA.names)
    writer.writerows([cell(value) for value in row.values()] for row in table.to_pylist())
    assert entries_csv(table) == sink.getvalue().encode()
