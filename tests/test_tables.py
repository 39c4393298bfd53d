"""Tables have one schema, one order and unique keys, and the same rows are the same bytes."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from counteranimal import tables
from counteranimal.errors import EnvironmentFailure, IntegrityError


def rows(n: int = 20) -> list[dict[str, Any]]:
    """Return rows of `clusters` in order."""
    return [{"photo_id": f"{i:064x}", "cluster": f"{i:064x}", "kept": True, "reason": "unique"} for i in range(n)]


def test_every_table_has_a_key_of_its_own_columns() -> None:
    """A table without a key could not be ordered."""
    assert tables.SCHEMAS.keys() == tables.KEYS.keys()
    for name, key in tables.KEYS.items():
        assert set(key) <= set(tables.schema_of(name).names)


@pytest.mark.case("E04")
def test_the_same_rows_are_the_same_bytes_in_any_order() -> None:
    """Twenty orders of arrival write one file."""
    shuffled, written = rows(), set()
    for seed in range(20):
        random.Random(seed).shuffle(shuffled)
        written.add(tables.parquet_bytes(tables.conform("clusters", shuffled)))
    assert len(written) == 1


def test_missing_columns_are_null_and_types_are_the_schemas() -> None:
    """A stage writes what it knows; the rest is null, never absent."""
    table = tables.conform("clusters", rows(1))
    assert table.schema.equals(tables.schema_of("clusters"))
    assert table.column("partner").to_pylist() == [None]
    assert tables.empty("clusters").num_rows == 0


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"photo_id": "a", "colour": "red"}, "no column 'colour'"),
        ({"photo_id": "a", "phash_distance": "far"}, "table clusters"),
        ({"photo_id": "a", "phash_distance": 2**70}, "table clusters"),
    ],
)
def test_rows_that_do_not_fit_are_refused(row: dict[str, Any], message: str) -> None:
    """Unknown columns and wrong values name the table."""
    with pytest.raises(IntegrityError, match=message):
        tables.conform("clusters", [row])


def test_an_arrow_table_of_other_types_is_refused() -> None:
    """The same holds for tables as for rows."""
    with pytest.raises(IntegrityError, match="table clusters, column phash_distance"):
        tables.conform("clusters", pa.table({"photo_id": ["a"], "phash_distance": ["far"]}))
    with pytest.raises(IntegrityError, match="no column 'colour'"):
        tables.conform("clusters", pa.table({"photo_id": ["a"], "colour": ["red"]}))


def test_a_key_given_twice_is_refused_and_named() -> None:
    """Two rows of one photo would be two truths."""
    with pytest.raises(IntegrityError, match=r"holds the key \('0+3',\) twice"):
        tables.conform("clusters", [*rows(), rows()[3]])


def test_a_written_table_is_read_back_as_it_was(tmp_path: Path) -> None:
    """Moments keep their zone and lists their order."""
    when = datetime(2026, 11, 1, 12, 0, 0, 123456, tzinfo=UTC)
    table = tables.conform("photos", [{"photo_id": "a", "candidate_ids": ["s:2", "s:1"], "stored_at": when}])
    tables.write(tmp_path / "deep" / "photos.parquet", table)
    assert tables.read(tmp_path / "deep" / "photos.parquet", "photos").equals(table)
    assert not list(tmp_path.rglob("*.tmp"))


def test_a_file_that_is_no_such_table_is_refused(tmp_path: Path) -> None:
    """Missing, torn, foreign and outdated files each say what to do."""
    path = tmp_path / "clusters.parquet"
    with pytest.raises(IntegrityError, match=r"missing at .*; run the stage"):
        tables.read(path, "clusters")
    path.write_bytes(tables.parquet_bytes(tables.conform("clusters", rows()))[:-20])
    with pytest.raises(IntegrityError, match="cannot be read"):
        tables.read(path, "clusters")
    pq.write_table(pa.table({"photo_id": ["a"]}), path)
    with pytest.raises(IntegrityError, match="other columns"):
        tables.read(path, "clusters")
    wrong = {name: pa.array(["x"]) for name in tables.schema_of("clusters").names}
    pq.write_table(pa.table(wrong), path)
    with pytest.raises(IntegrityError, match="other types"):
        tables.read(path, "clusters")


@pytest.mark.case("B06")
def test_a_table_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    """A file where the folder should be is the machine's fault, in one sentence."""
    (tmp_path / "tables").write_bytes(b"")
    with pytest.raises(EnvironmentFailure, match="cannot be written"):
        tables.write(tmp_path / "tables" / "clusters.parquet", tables.empty("clusters"))


def test_stored_numbers_have_no_dictionary_and_older_parts_are_read(tmp_path: Path) -> None:
    """A model's numbers lie as split bytes, texts by dictionary; a part in the layout of before is the same table."""
    rows = [{"photo_id": f"{i:064x}", "model": "m", "view": "whole", "embedding": [i / 7, -i / 3]} for i in range(50)]
    table = tables.conform("embeddings", rows)
    tables.write(tmp_path / "now.parquet", table)
    pq.write_table(table, tmp_path / "before.parquet", compression="zstd", version="2.6", store_schema=True)
    for name in ("now", "before"):
        assert tables.read(tmp_path / f"{name}.parquet", "embeddings").equals(table)
    group = pq.ParquetFile(tmp_path / "now.parquet").metadata.row_group(0)
    encodings = {group.column(i).path_in_schema: set(group.column(i).encodings) for i in range(group.num_columns)}
    assert "BYTE_STREAM_SPLIT" in encodings["embedding.list.element"]
    assert not any("DICTIONARY" in kind for kind in encodings["embedding.list.element"])
    assert any("DICTIONARY" in kind for kind in encodings["model"])
