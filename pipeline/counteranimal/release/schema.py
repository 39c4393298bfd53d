"""The schema documents in data_manifest/schema: one JSON document a published table, and the JSON Schema of release.json.

Decides how a schema reads for people and programs that do not run this code. Generated, never edited: a test holds the files
against what this module makes, and `python -m counteranimal.release.schema FOLDER` writes them.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from counteranimal import tables
from counteranimal.release.columns import DESCRIPTIONS, OPTIONAL
from counteranimal.release.layout import FORMAT, PUBLISHED_TABLES
from counteranimal.release.manifest import Manifest

__all__ = ["schema_documents", "write_schema_documents"]


def schema_documents() -> dict[str, bytes]:
    """Return file name -> document."""
    documents = {f"{name}.json": _table_document(name) for name in PUBLISHED_TABLES}
    documents["release.json"] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Manifest.model_json_schema(),
    }
    return {
        name: (json.dumps(document, ensure_ascii=False, indent=2) + "\n").encode()
        for name, document in documents.items()
    }


def write_schema_documents(folder: Path) -> None:
    """Write the documents into a folder."""
    for name, data in schema_documents().items():
        (folder / name).write_bytes(data)


def _table_document(name: str) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "table": name,
        "files": [f"{name}.parquet", *(["entries.csv"] if name == "entries" else [])],
        "key": list(tables.KEYS[name]),
        "order": "ascending by key",
        "columns": [
            {
                "name": column.name,
                "type": str(column.type),
                "required": column.name not in OPTIONAL[name],
                "description": DESCRIPTIONS[name][column.name],
            }
            for column in tables.schema_of(name)
        ],
    }


if __name__ == "__main__":
    write_schema_documents(Path(sys.argv[1]))
