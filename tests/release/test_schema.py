"""The schema documents say what the code does, and the CSV is safe to open."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from counteranimal import tables
from counteranimal.release.columns import DESCRIPTIONS, OPTIONAL
from counteranimal.release.flat import entries_csv
from counteranimal.release.layout import PUBLISHED_TABLES
from counteranimal.release.schema import schema_documents

SCHEMA = Path(__file__).resolve().parents[2] / "data_manifest" / "schema"


def test_schema_documents_are_current() -> None:
    """data_manifest/schema holds what `python -m counteranimal.release.schema data_manifest/schema` writes."""
    assert {path.name: path.read_bytes() for path in SCHEMA.glob("*.json")} == schema_documents()


def test_every_published_column_is_described() -> None:
    """Each column of each published table has a description, and no description is left over."""
    for name in PUBLISHED_TABLES:
        assert list(DESCRIPTIONS[name]) == tables.schema_of(name).names
        assert set(tables.schema_of(name).names) >= OPTIONAL[name] - set(tables.KEYS[name])


@pytest.mark.case("S04")
def test_csv_cells_are_no_formulas() -> None:
    """Cells that begin like a formula are neutralised and the rest is kept."""
    texts = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "plain", "a\nb", 'quo"te', "名前"]
    entries = tables.conform("entries", [{"photo_id": f"{i:064}", "author": text} for i, text in enumerate(texts)])
    rows = list(csv.DictReader(io.StringIO(entries_csv(entries).decode(), newline="")))
    assert [row["author"] for row in rows] == [f"'{text}" for text in texts[:6]] + texts[6:]
