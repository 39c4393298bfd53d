"""The journal's tables: one a kind of event, append-only.

Decides names, columns and indexes, and gives a journal that an earlier version made the columns it lacks. Leaves reading and
appending to `journal`.
"""

from __future__ import annotations

from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from counteranimal import tables
from counteranimal.workspace.seal import resealing

__all__ = ["REQUESTS_IN_ROW", "TABLES", "prepare"]

metadata = sa.MetaData()


class _When(sa.TypeDecorator[datetime]):
    """A UTC moment; SQLite forgets time zones, so every value is made aware again on the way out."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        del dialect
        return value.astimezone(UTC) if value is not None else None

    def process_result_value(self, value: datetime | None, dialect: sa.Dialect) -> datetime | None:
        del dialect
        return value.replace(tzinfo=UTC) if value is not None and value.tzinfo is None else value


def _position() -> sa.Column[int]:
    return sa.Column(
        "position", sa.BigInteger().with_variant(sa.Integer, "sqlite"), primary_key=True, autoincrement=True
    )


def _of_schema(name: str, *, without: tuple[str, ...] = ()) -> list[sa.Column[Any]]:
    """Return SQL columns for the columns of a Parquet table; lists are JSON."""
    columns: list[sa.Column[Any]] = []
    for item in tables.schema_of(name):
        if item.name in without:
            continue
        kind: Any = sa.Text
        if pa.types.is_timestamp(item.type):
            kind = _When
        elif pa.types.is_boolean(item.type):
            kind = sa.Boolean
        elif pa.types.is_integer(item.type):
            kind = sa.BigInteger
        elif pa.types.is_floating(item.type):
            kind = sa.Float
        elif pa.types.is_list(item.type):
            kind = sa.JSON
        columns.append(sa.Column(item.name, kind))
    return columns


TABLES: dict[str, sa.Table] = {
    "candidates": sa.Table("candidates", metadata, _position(), *_of_schema("candidates"), sa.Index("candidates_id", "candidate_id")),
    "fetches": sa.Table("fetches", metadata, _position(), *_of_schema("fetches"), sa.Index("fetches_id", "candidate_id")),
    # One row each time a candidate's bytes were stored: a photo found under two candidates has two rows. `store` names the
    # blob folder; a later row of the same photo, candidate and store with status `lost` says that the bytes are gone from it.
    # `suspect` says that the bytes look damaged, though nothing proves it.
    "stored": sa.Table(
        "stored", metadata, _position(),
        sa.Column("photo_id", sa.Text), sa.Column("candidate_id", sa.Text), sa.Column("mime", sa.Text),
        sa.Column("bytes", sa.BigInteger), sa.Column("width", sa.Integer), sa.Column("height", sa.Integer),
        sa.Column("fold_unit", sa.Text), sa.Column("stored_at", _When), sa.Column("store", sa.Text),
        sa.Column("status", sa.Text), sa.Column("suspect", sa.Boolean), sa.Index("stored_id", "photo_id"),
    ),
    # The life of a run: begun, beat (a sign of life), ended. A run that neither ended nor beats is dead.
    "runs": sa.Table(
        "runs", metadata, _position(),
        sa.Column("run", sa.Text), sa.Column("home", sa.Text), sa.Column("store", sa.Text), sa.Column("kind", sa.Text),
        sa.Column("at", _When), sa.Index("runs_id", "run"),
    ),
    # Who fetches what where several processes share this journal. The unique key lets one of them have an attempt; kind
    # `storing` says that its bytes may have reached the run's store.
    "claims": sa.Table(
        "claims", metadata, _position(),
        sa.Column("candidate_id", sa.Text), sa.Column("attempt", sa.Integer), sa.Column("generation", sa.Integer),
        sa.Column("kind", sa.Text), sa.Column("run", sa.Text), sa.Column("at", _When),
        sa.UniqueConstraint("candidate_id", "attempt", "generation", "kind", name="claims_once"),
    ),
    "cursors": sa.Table(
        "cursors", metadata, _position(),
        sa.Column("source", sa.Text), sa.Column("query", sa.Text), sa.Column("cursor", sa.Text), sa.Column("at", _When),
    ),
    # Requests made under a budget, `number` a row, with the bytes reserved for them; kind `bytes` takes back what did not
    # come. Budgets hold across restarts and processes because they are counted here.
    "requests": sa.Table(
        "requests", metadata, _position(),
        sa.Column("source", sa.Text), sa.Column("host", sa.Text), sa.Column("at", _When), sa.Column("bytes", sa.BigInteger),
        sa.Column("kind", sa.Text), sa.Column("number", sa.Integer), sa.Index("requests_when", "source", "at"),
    ),
    "rounds": sa.Table(
        "rounds", metadata, _position(),
        sa.Column("round", sa.Text), sa.Column("at", _When), sa.Column("event", sa.Text), sa.Column("content", sa.JSON),
    ),
    "tasks": sa.Table(
        "tasks", metadata, _position(),
        sa.Column("round", sa.Text), sa.Column("worker", sa.Text), sa.Column("photo_id", sa.Text),
        sa.Column("project_id", sa.Integer), sa.Column("task_id", sa.Integer), sa.Column("shown", sa.Boolean),
        sa.Column("gold", sa.Boolean), sa.Column("at", _When),
    ),
    "votes": sa.Table("votes", metadata, _position(), *_of_schema("votes"), sa.Index("votes_id", "annotation_id")),
    # What upstream said when it was asked again about a stored photo: same, changed, gone, rejected, or deferred, failed, which
    # say nothing about it. `licence` says whether its source stated the licence again.
    "rechecks": sa.Table(
        "rechecks", metadata, _position(),
        sa.Column("photo_id", sa.Text), sa.Column("at", _When), sa.Column("status", sa.Text), sa.Column("reason", sa.Text),
        sa.Column("detail", sa.Text), sa.Column("url", sa.Text), sa.Column("retry_at", _When),
        sa.Column("licence", sa.Boolean), sa.Index("rechecks_id", "photo_id"),
    ),
    # Photos that a curator left out of releases by a list.
    "left_out": sa.Table(
        "left_out", metadata, _position(), sa.Column("photo_id", sa.Text), sa.Column("at", _When), sa.Column("why", sa.Text),
    ),
    # What a takedown removed: photos, candidates that were never fetched, or neither: then `asked` alone (`author:`, `url:`)
    # keeps out what is offered later. `mark` holds the photo's hashes, by which a copy is known when the bytes are gone.
    "withdrawals": sa.Table(
        "withdrawals", metadata, _position(),
        sa.Column("photo_id", sa.Text), sa.Column("candidate_id", sa.Text), sa.Column("why", sa.Text), sa.Column("at", _When),
        sa.Column("asked", sa.Text), sa.Column("mark", sa.Text),
    ),
}  # fmt: skip


REQUESTS_IN_ROW = sa.case(
    (TABLES["requests"].c.kind == "bytes", 0), else_=sa.func.coalesce(TABLES["requests"].c.number, 1)
)
"""How many requests a row of `requests` counts; an earlier version left the number out and counted one a row."""


def prepare(engine: sa.Engine) -> None:
    """Create what is missing: tables, and columns of tables that an earlier version made; safe when two processes begin at once.

    Raises
    ------
    sqlalchemy.exc.SQLAlchemyError
        If the database cannot be used.
    """
    for left in (2, 1, 0):
        try:
            metadata.create_all(engine)
            _add_missing_columns(engine)
        except DBAPIError as error:
            # Another process made the same table between our look and our order.
            if not left or not any(word in str(error.orig) for word in ("already exists", "duplicate")):
                raise
        else:
            return


def _add_missing_columns(engine: sa.Engine) -> None:
    present = sa.inspect(engine).get_multi_columns(filter_names=list(TABLES))
    lacking = [
        (name, column)
        for (_, name), columns in present.items()
        for column in TABLES[name].columns
        if column.name not in {known["name"] for known in columns}
    ]
    if not lacking:
        return
    file = engine.url.database if engine.dialect.name == "sqlite" else None
    quoted = engine.dialect.identifier_preparer.quote
    with resealing(Path(file)) if file else nullcontext():
        for name, column in lacking:
            kind = column.type.compile(engine.dialect)
            with engine.begin() as connection:
                connection.exec_driver_sql(f"ALTER TABLE {quoted(name)} ADD COLUMN {quoted(column.name)} {kind}")
