"""What can still be read of a damaged SQLite journal is copied into a new one.

Decides that a row is taken only if every value is of its column's kind: a moment that is none, or an id that is no digest,
stays behind in the damaged file, which is set aside and never deleted. What cannot be read is counted by table. Leaves listing
the stored photos again to the crawl.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from counteranimal.ids import is_photo_id
from counteranimal.workspace.durable import sync_folder
from counteranimal.workspace.events import TABLES
from counteranimal.workspace.seal import seal_of

__all__ = ["salvage", "set_aside"]

_ENDS = ("ASC", "DESC")


def set_aside(file: Path, stamp: str) -> Path:
    """Move a journal file and what belongs to it out of the way, and return where it lies now."""
    target = file.with_name(f"{file.name}.damaged-{stamp}")
    for suffix in ("-wal", "-shm", ""):
        path = file.with_name(f"{file.name}{suffix}")
        if path.exists():
            path.replace(target.with_name(f"{target.name}{suffix}"))
    seal_of(file).unlink(missing_ok=True)
    sync_folder(file.parent)
    return target


def salvage(damaged: Path, fresh: Path) -> dict[str, int]:
    """Copy every sound row into the new journal file, at its old position, and return the number of rows a table."""
    copied: dict[str, int] = {}
    with closing(sqlite3.connect(damaged)) as old, closing(sqlite3.connect(fresh, isolation_level=None)) as new:
        old.text_factory = bytes
        for name, table in TABLES.items():
            new.execute("BEGIN")
            for end in _ENDS:
                for row in _readable(old, name, end):
                    values = _sound(row, table)
                    if values is not None:
                        columns = ", ".join(f'"{column}"' for column in values)
                        marks = ", ".join("?" for _ in values)
                        insert = f'INSERT OR IGNORE INTO "{name}" ({columns}) VALUES ({marks})'  # noqa: S608 - our own names
                        copied[name] = copied.get(name, 0) + new.execute(insert, list(values.values())).rowcount
            new.execute("COMMIT")
    return copied


def _readable(old: sqlite3.Connection, name: str, end: str) -> Iterator[dict[str, Any]]:
    """Yield rows from one end of a table until the file cannot be read any further."""
    try:
        cursor = old.execute(f'SELECT * FROM "{name}" NOT INDEXED ORDER BY rowid {end}')  # noqa: S608 - our own names
        columns = [item[0] for item in cursor.description]
        for row in cursor:
            yield dict(zip(columns, row, strict=True))
    except (sqlite3.Error, OverflowError):
        return


def _sound(row: dict[str, Any], table: sa.Table) -> dict[str, Any] | None:
    """Return the row's values by column, None where one of them is not of its column's kind."""
    values = {}
    for column in table.columns:
        value = row.get(column.name)
        try:
            text = value.decode("utf-8") if isinstance(value, bytes) else value
            if text is not None:
                _require_kind(text, column)
        except (ValueError, TypeError):
            return None
        values[column.name] = text
    return values


def _require_kind(value: object, column: sa.Column[Any]) -> None:
    if column.name == "photo_id" and not (isinstance(value, str) and is_photo_id(value)):
        raise ValueError(value)
    if column.name in {"at", "seen_at", "stored_at", "answered_at", "retry_at"}:
        datetime.fromisoformat(str(value))
    elif isinstance(column.type, sa.JSON):
        json.loads(str(value))
    elif isinstance(column.type, sa.Boolean | sa.Integer):
        if not isinstance(value, int):
            raise ValueError(value)
    elif isinstance(column.type, sa.Float):
        if not isinstance(value, int | float):
            raise ValueError(value)
    elif not isinstance(value, str):
        raise ValueError(value)
