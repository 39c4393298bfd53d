"""The journal: what happened outside and cannot be recomputed, append-only, in SQL.

Decides how events are appended (all of a step or none) and how the last word on a thing reads. SQLite in the workspace by
default, PostgreSQL by URL when several machines share one. Nothing here is ever updated or deleted; a later row with the same
id supersedes an earlier one in a snapshot, and both stay. Leaves the tables to `events` and what an event means to the stage
that appends it.

`position` grows with every row of a table; a release records the positions it was made from.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError

from counteranimal.errors import (
    CounteranimalError,
    EnvironmentFailure,
    IntegrityError,
    MissingDependency,
    UsageError,
)
from counteranimal.workspace import seal
from counteranimal.workspace.events import REQUESTS_IN_ROW, TABLES, prepare

__all__ = ["Journal"]

_BATCH = 10_000
# Every column that a row is appended with, empty.
_COLUMNS: Mapping[str, dict[str, Any]] = {
    name: {column.name: None for column in table.columns if column.name != "position"} for name, table in TABLES.items()
}


class Journal:
    """Append-only events behind one SQLAlchemy URL."""

    def __init__(self, url: str) -> None:
        self.url = url
        try:
            address = sa.make_url(url)
            self._engine = sa.create_engine(address)
        except ArgumentError as error:
            raise UsageError(
                "the journal's address is no database URL; give one such as postgresql+psycopg://host/name in journal_url"
            ) from error
        except ImportError as error:
            raise MissingDependency(f"the journal's database driver {error.name} is missing; install it") from error
        is_file = self._engine.dialect.name == "sqlite" and address.database
        self.file = Path(str(address.database)) if is_file else None
        """The SQLite file of the journal, None for a database server."""
        try:
            if self._engine.dialect.name == "sqlite":
                event.listen(self._engine, "connect", _durable_sqlite)
            prepare(self._engine)
        except SQLAlchemyError as error:
            raise _as_failure(error, url) from error

    def append(self, table: str, rows: Iterable[Mapping[str, Any]]) -> int:
        """Append rows in one transaction and return how many; an unknown column is a bug and raises.

        Raises
        ------
        EnvironmentFailure
            If the database is locked, full or away; none of the rows was written.
        """
        return self.append_all({table: rows})

    def append_all(self, rows: Mapping[str, Iterable[Mapping[str, Any]]]) -> int:
        """Append rows to several tables in one transaction, all or none, and return how many.

        Raises
        ------
        EnvironmentFailure
            If the database is locked, full or away; none of the rows was written.
        """
        complete = {name: _complete(name, listed) for name, listed in rows.items()}
        if not any(complete.values()):
            return 0
        if self.file is not None:
            seal.break_seal(self.file)
        try:
            with self._engine.begin() as connection:
                for name, listed in complete.items():
                    if listed:
                        connection.execute(TABLES[name].insert(), listed)
        except DBAPIError as error:
            raise _as_failure(error, self.url) from error
        return sum(map(len, complete.values()))

    def append_new(self, table: str, rows: Sequence[Mapping[str, Any]], key: str) -> set[Any]:
        """Append those rows that break no unique key, whoever else appends at the same moment; return `key` of those appended."""
        if not rows:
            return set()
        if self.file is not None:
            seal.break_seal(self.file)
        chosen = TABLES[table]
        insert = _insert_of(self._engine.dialect.name)(chosen).on_conflict_do_nothing().returning(chosen.c[key])
        try:
            with self._engine.begin() as connection:
                return set(connection.execute(insert, _complete(table, rows)).scalars())
        except DBAPIError as error:
            raise _as_failure(error, self.url) from error

    @contextmanager
    def exclusively(self, what: str) -> Iterator[sa.Connection]:
        """Yield a connection inside a transaction that no other `exclusively` of the same `what` overlaps, in any process.

        For what has to be looked at and then appended without anybody between; keep it short.

        Raises
        ------
        EnvironmentFailure
            If the database is locked, full or away; nothing was written.
        """
        if self.file is not None:
            seal.break_seal(self.file)
        try:
            with self._engine.connect() as connection:
                if self.file is not None:
                    connection.exec_driver_sql("BEGIN IMMEDIATE")
                else:
                    connection.execute(sa.select(sa.func.pg_advisory_xact_lock(zlib.crc32(what.encode()))))
                yield connection
                connection.commit()
        except DBAPIError as error:
            raise _as_failure(error, self.url) from error

    def rows(self, table: str, **equal: object) -> list[dict[str, Any]]:
        """Return the rows of a journal table whose columns equal the given values, in the order they were appended."""
        chosen = TABLES[table]
        query = sa.select(chosen).order_by(chosen.c.position)
        for name, value in equal.items():
            query = query.where(chosen.c[name] == value)
        return self.records(query)

    def latest(self, table: str, key: str) -> dict[str, dict[str, Any]]:
        """Return the last row of every `key`, for example the candidate as it was last seen, in the order of the first rows."""
        return {row[key]: row for row in self.records(self.last_rows(table, key))}

    def last_of(self, table: str, key: str, values: Sequence[object]) -> dict[Any, dict[str, Any]]:
        """Return the last row of each of some values of `key`; a few thousand values at a time."""
        chosen = TABLES[table]
        query = sa.select(chosen).where(chosen.c[key].in_(values)).order_by(chosen.c.position)
        return {row[key]: row for row in self.records(query)}

    def last_rows(self, table: str, key: str, columns: Sequence[str] = ()) -> sa.Select[Any]:
        """Return the query of the last row of every `key`, in the order of the first rows; `columns` narrows it."""
        chosen, spans = TABLES[table], self.spans(table, key)
        wanted = [chosen.c[name] for name in columns] or list(chosen.columns)
        return sa.select(*wanted).join(spans, chosen.c.position == spans.c.last).order_by(spans.c.first)

    def spans(self, table: str, key: str) -> sa.Subquery:
        """Return the sub-query of `key` with the positions of its first and last row, read from the index alone."""
        chosen = TABLES[table]
        position = chosen.c.position
        query = sa.select(chosen.c[key], sa.func.min(position).label("first"), sa.func.max(position).label("last"))
        return query.group_by(chosen.c[key]).subquery(f"{table}_spans")

    def each(self, query: sa.Select[Any]) -> Iterator[Any]:
        """Yield the rows of a query, as tuples with names."""
        for batch in self.batches(query):
            yield from batch

    def records(self, query: sa.Select[Any]) -> list[dict[str, Any]]:
        """Return the rows of a query as dicts."""
        names = [column.name for column in query.selected_columns]
        return [dict(zip(names, row, strict=True)) for row in self.each(query)]

    def batches(self, query: sa.Select[Any]) -> Iterator[Sequence[Any]]:
        """Yield the rows of a query in batches, so that a table of any length is read in the memory of one batch."""
        try:
            with self._engine.connect() as connection:
                streaming = connection.execution_options(yield_per=_BATCH)
                yield from streaming.execute(query).partitions()
        except DBAPIError as error:
            raise _as_failure(error, self.url) from error

    def position(self, table: str) -> int:
        """Return the position of the table's last row, 0 when it is empty."""
        return int(self._one(sa.select(sa.func.max(TABLES[table].c.position)))[0] or 0)

    def positions(self) -> dict[str, int]:
        """Return the position of every table: what a release records as its origin."""
        return {name: self.position(name) for name in TABLES}

    def withdrawn(self) -> set[str]:
        """Return the ids of all withdrawn photos and candidates; the two are never spelled alike."""
        return {row[name] for row in self.rows("withdrawals") for name in ("photo_id", "candidate_id") if row[name]}

    def budget_used(self, source: str, since: datetime) -> tuple[int, int]:
        """Return (requests, bytes) spent on a source since a moment; rows of kind `bytes` add bytes to requests counted before."""
        chosen = TABLES["requests"]
        query = sa.select(
            sa.func.coalesce(sa.func.sum(REQUESTS_IN_ROW), 0), sa.func.coalesce(sa.func.sum(chosen.c.bytes), 0)
        ).where(chosen.c.source == source, chosen.c.at > since)
        requests, received = self._one(query)
        return int(requests), int(received)

    def stored_bytes(self) -> int:
        """Return the bytes of all photos that were ever stored, each counted once."""
        stored = TABLES["stored"]
        each = sa.select(sa.func.max(stored.c.bytes).label("bytes")).group_by(stored.c.photo_id).subquery()
        return int(self._one(sa.select(sa.func.sum(each.c.bytes)))[0] or 0)

    def mean_bytes(self, source: str) -> float:
        """Return the mean size of the photos stored from a source, 0 where there are none."""
        stored = TABLES["stored"]
        # Candidate ids begin with their source: a range of the text, so that no table is joined.
        mine = sa.and_(stored.c.candidate_id >= f"{source}:", stored.c.candidate_id < f"{source};")
        return float(self._one(sa.select(sa.func.avg(stored.c.bytes)).where(mine))[0] or 0)

    def _one(self, query: sa.Select[Any]) -> Any:
        return next(self.each(query))

    def close(self, *, sealed: bool = False) -> None:
        """Give back the connections; `sealed` notes the digest of a SQLite file, by which damage is found at the next start."""
        self._engine.dispose()
        if sealed and self.file is not None:
            seal.put_seal(self.file)


def _complete(table: str, rows: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows with every column of the table, and text that every database can keep."""
    columns = _COLUMNS[table]
    listed = list(rows)
    for row in listed:
        if not row.keys() <= columns.keys():
            raise KeyError(f"journal table {table} has no column {min(row.keys() - columns.keys())!r}")
    return [{**columns, **{name: _storable(value) for name, value in row.items()}} for row in listed]


def _storable(value: object) -> object:
    """Return text without NUL and lone surrogates, which PostgreSQL or UTF-8 cannot hold; they become a replacement sign."""
    if not isinstance(value, str) or (value.isascii() and "\x00" not in value):
        return value
    return value.replace("\x00", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _insert_of(dialect: str) -> Any:
    """Return the `insert` that knows how to leave out rows which break a unique key."""
    if dialect == "sqlite":
        from sqlalchemy.dialects.sqlite import insert as of_sqlite

        return of_sqlite
    from sqlalchemy.dialects.postgresql import insert as of_postgresql

    return of_postgresql


def _durable_sqlite(connection: Any, record: object) -> None:
    """Make SQLite sync every commit, and wait for another writer instead of failing at once."""
    del record
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "busy_timeout=60000"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _as_failure(error: SQLAlchemyError, url: str) -> CounteranimalError:
    where = sa.make_url(url).render_as_string(hide_password=True)
    cause = str(getattr(error, "orig", None) or error).splitlines()[0]
    if any(word in cause for word in ("malformed", "not a database", "corrupt")):
        return IntegrityError(
            f"the journal {where} is damaged ({cause}); restore it from a backup, or run `counteranimal recover`"
        )
    if any(word in cause for word in ("disk is full", "disk I/O", "No space left")):
        return EnvironmentFailure(
            f"disk full or broken while writing the journal {where}; free some space and run again"
        )
    return EnvironmentFailure(f"journal {where} cannot be used ({cause}); start or mend the database and run again")
