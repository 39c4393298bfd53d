"""The journal: what happened outside and cannot be recomputed, append-only, in SQL.

Decides the tables of events and how a snapshot of them reads. SQLite in the workspace by default, PostgreSQL by URL when
several machines share one. Nothing here is ever updated or deleted; a later row with the same id supersedes an earlier one
in a snapshot, and both stay. Leaves what an event means to the stage that appends it.

`position` grows with every row of a table; a release records the positions it was made from.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from counteranimal import tables
from counteranimal.errors import EnvironmentFailure, MissingDependency, UsageError

__all__ = ["Journal"]

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


_TABLES: dict[str, sa.Table] = {
    "candidates": sa.Table("candidates", metadata, _position(), *_of_schema("candidates"), sa.Index("candidates_id", "candidate_id")),
    "fetches": sa.Table("fetches", metadata, _position(), *_of_schema("fetches"), sa.Index("fetches_id", "candidate_id")),
    # One row each time a candidate's bytes were stored: a photo found under two candidates has two rows.
    "stored": sa.Table(
        "stored", metadata, _position(),
        sa.Column("photo_id", sa.Text), sa.Column("candidate_id", sa.Text), sa.Column("mime", sa.Text),
        sa.Column("bytes", sa.BigInteger), sa.Column("width", sa.Integer), sa.Column("height", sa.Integer),
        sa.Column("fold_unit", sa.Text), sa.Column("stored_at", _When), sa.Index("stored_id", "photo_id"),
    ),
    "cursors": sa.Table(
        "cursors", metadata, _position(),
        sa.Column("source", sa.Text), sa.Column("query", sa.Text), sa.Column("cursor", sa.Text), sa.Column("at", _When),
    ),
    # Every request made under a budget: budgets hold across restarts and processes because they are counted here.
    "requests": sa.Table(
        "requests", metadata, _position(),
        sa.Column("source", sa.Text), sa.Column("host", sa.Text), sa.Column("at", _When), sa.Column("bytes", sa.BigInteger),
        sa.Column("kind", sa.Text), sa.Index("requests_when", "source", "at"),
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
    "withdrawals": sa.Table(
        "withdrawals", metadata, _position(),
        sa.Column("photo_id", sa.Text), sa.Column("candidate_id", sa.Text), sa.Column("why", sa.Text), sa.Column("at", _When),
    ),
}  # fmt: skip


class Journal:
    """Append-only events behind one SQLAlchemy URL."""

    def __init__(self, url: str) -> None:
        self.url = url
        try:
            self._engine = sa.create_engine(sa.make_url(url))
        except ArgumentError as error:
            raise UsageError(
                "the journal's address is no database URL; give one such as postgresql+psycopg://host/name in journal_url"
            ) from error
        except ImportError as error:
            raise MissingDependency(f"the journal's database driver {error.name} is missing; install it") from error
        try:
            if self._engine.dialect.name == "sqlite":
                event.listen(self._engine, "connect", _durable_sqlite)
            metadata.create_all(self._engine)
        except SQLAlchemyError as error:
            raise _as_failure(error, url) from error

    def append(self, table: str, rows: Iterable[Mapping[str, Any]]) -> int:
        """Append rows in one transaction and return how many; an unknown column is a bug and raises.

        Raises
        ------
        EnvironmentFailure
            If the database is locked, full or away; none of the rows was written.
        """
        listed = [dict(row) for row in rows]
        if not listed:
            return 0
        columns = [column.name for column in _TABLES[table].columns if column.name != "position"]
        complete = [{name: row.pop(name, None) for name in columns} for row in listed]
        leftover = sorted({name for row in listed for name in row})
        if leftover:
            raise KeyError(f"journal table {table} has no column {leftover[0]!r}")
        try:
            with self._engine.begin() as connection:
                connection.execute(_TABLES[table].insert(), complete)
        except DBAPIError as error:
            raise _as_failure(error, self.url) from error
        return len(complete)

    def rows(self, table: str, **equal: object) -> list[dict[str, Any]]:
        """Return the rows of a journal table whose columns equal the given values, in the order they were appended."""
        chosen = _TABLES[table]
        query = sa.select(chosen).order_by(chosen.c.position)
        for name, value in equal.items():
            query = query.where(chosen.c[name] == value)
        return self._fetch(query)

    def latest(self, table: str, key: str) -> dict[str, dict[str, Any]]:
        """Return the last row of every `key`, for example the candidate as it was last seen."""
        return {row[key]: row for row in self.rows(table)}

    def position(self, table: str) -> int:
        """Return the position of the table's last row, 0 when it is empty."""
        chosen = _TABLES[table]
        return int(self._fetch(sa.select(sa.func.max(chosen.c.position).label("last")))[0]["last"] or 0)

    def positions(self) -> dict[str, int]:
        """Return the position of every table: what a release records as its origin."""
        return {name: self.position(name) for name in _TABLES}

    def budget_used(self, source: str, since: datetime) -> tuple[int, int]:
        """Return (requests, bytes) spent on a source since a moment; rows of kind `bytes` add bytes to requests counted before."""
        chosen = _TABLES["requests"]
        query = sa.select(
            sa.func.count().filter(chosen.c.kind != "bytes").label("n"),
            sa.func.coalesce(sa.func.sum(chosen.c.bytes), 0).label("bytes"),
        ).where(chosen.c.source == source, chosen.c.at > since)
        row = self._fetch(query)[0]
        return int(row["n"]), int(row["bytes"])

    def _fetch(self, query: sa.Select[Any]) -> list[dict[str, Any]]:
        try:
            with self._engine.connect() as connection:
                return [dict(row) for row in connection.execute(query).mappings()]
        except DBAPIError as error:
            raise _as_failure(error, self.url) from error


def _durable_sqlite(connection: Any, record: object) -> None:
    """Make SQLite sync every commit, and wait for another writer instead of failing at once."""
    del record
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=60000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _as_failure(error: SQLAlchemyError, url: str) -> EnvironmentFailure:
    where = sa.make_url(url).render_as_string(hide_password=True)
    cause = str(getattr(error, "orig", None) or error).splitlines()[0]
    if "disk is full" in cause or "disk I/O" in cause:
        return EnvironmentFailure(
            f"disk full or broken while writing the journal {where}; free some space and run again"
        )
    return EnvironmentFailure(f"journal {where} cannot be used ({cause}); start or mend the database and run again")
