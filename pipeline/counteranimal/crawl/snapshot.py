"""Tables as the journal tells them: candidates, fetches and photos.

Decides how events become rows: the last word on a candidate counts, every attempt is a row, a photo is what decodes. Pure
functions of the journal; nothing is fetched or written.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa
import sqlalchemy as sa

from counteranimal import tables
from counteranimal.crawl.intake import LOST
from counteranimal.errors import Reason
from counteranimal.recipe import Recipe
from counteranimal.workspace import Journal
from counteranimal.workspace.events import TABLES

__all__ = ["candidates_table", "fetches_table", "photos_table"]

_SETTLING = timedelta(days=1)
_CANDIDATES, _STORED, _FETCHES = TABLES["candidates"], TABLES["stored"], TABLES["fetches"]


def candidates_table(journal: Journal) -> pa.Table:
    """Return every candidate as it was last seen."""
    names = tables.schema_of("candidates").names
    return _table(journal, "candidates", journal.last_rows("candidates", "candidate_id", names))


def fetches_table(journal: Journal) -> pa.Table:
    """Return every attempt to fetch."""
    names = tables.schema_of("fetches").names
    return _table(journal, "fetches", sa.select(*(_FETCHES.c[name] for name in names)).order_by(_FETCHES.c.position))


def _table(journal: Journal, name: str, query: sa.Select[Any]) -> pa.Table:
    """Return the rows of a query whose columns are those of a table, column by column: no row ever is a dict."""
    schema = tables.schema_of(name)
    pieces = [
        pa.table([pa.array(values, field.type) for values, field in zip(_columns(batch), schema, strict=True)], schema)
        for batch in journal.batches(query)
    ]
    return tables.conform(name, pa.concat_tables(pieces) if pieces else schema.empty_table())


def _columns(rows: Sequence[Any]) -> Iterator[tuple[Any, ...]]:
    return zip(*rows, strict=True)


def photos_table(recipe: Recipe, journal: Journal) -> pa.Table:
    """Return the photos of a recipe's sources and classes, one row a photo.

    `candidate_ids` stand in the order of discovery, which does not depend on which download ended first. `fold_unit` is that
    of the candidate seen first among those stored within a day of the first: so a crawl that was killed and resumed gives
    the folds of an undisturbed one, and nothing found later ever moves a photo to another fold. A photo found under two
    classes is rejected as `class_conflict`; one whose candidates have all been turned away since carries their reason. One whose
    bytes look damaged is `suspect`.
    Withdrawn photos, and photos that no store holds any more, are absent.
    """
    sources = {spec.name for spec in recipe.sources}
    classes = {item.id for item in recipe.classes}
    withdrawn = {row["photo_id"] for row in journal.rows("withdrawals")}
    stored: dict[str, dict[str, _Found]] = {}
    there: dict[str, set[tuple[str, str | None]]] = {}
    for row in journal.each(_stored_query(journal)):
        if row.photo_id in withdrawn or row.source not in sources:
            continue
        if row.verdict == "ok" and row.class_id not in classes:
            continue
        places = there.setdefault(row.photo_id, set())
        if row.status == LOST:
            places.discard((row.candidate_id, row.store))
        else:
            places.add((row.candidate_id, row.store))
            stored.setdefault(row.photo_id, {}).setdefault(row.candidate_id, row)
    rows = [_photo(photo_id, found) for photo_id, found in stored.items() if there[photo_id]]
    return tables.conform("photos", rows)


_Found = Any  # a row of `_stored_query`


def _stored_query(journal: Journal) -> sa.Select[Any]:
    """Return the query of every stored row with what its candidate was last seen as."""
    seen = journal.spans("candidates", "candidate_id")
    columns = [column for column in _STORED.columns if column.name != "position"]
    verdict = [
        _CANDIDATES.c.source,
        _CANDIDATES.c.class_id,
        _CANDIDATES.c.status.label("verdict"),
        _CANDIDATES.c.reason,
    ]
    return (
        sa.select(*columns, *verdict, seen.c.first)
        .join(seen, seen.c.candidate_id == _STORED.c.candidate_id)
        .join(_CANDIDATES, _CANDIDATES.c.position == seen.c.last)
        .order_by(_STORED.c.position)
    )


def _photo(photo_id: str, found: dict[str, _Found]) -> dict[str, Any]:
    """Return the row of a photo from its first stored row under each candidate."""
    rows = sorted(found.values(), key=lambda row: row.first)
    first: datetime = min(row.stored_at for row in rows)
    chosen = next(row for row in rows if row.stored_at <= first + _SETTLING)
    facts = {name: getattr(chosen, name) for name in ("mime", "bytes", "width", "height", "fold_unit")}
    verdict = _verdict(rows)
    if verdict["status"] == "ok" and chosen.suspect:
        verdict |= {"status": "suspect", "reason": str(Reason.SUSPECT)}
    return {"photo_id": photo_id, **facts, "stored_at": first, **verdict}


def _verdict(rows: Sequence[_Found]) -> dict[str, Any]:
    """Return the columns of a photo that follow from its candidates, in the order of discovery."""
    kept = [row for row in rows if row.verdict == "ok"]
    names = sorted({row.class_id for row in kept})
    columns = {"candidate_ids": [row.candidate_id for row in kept or rows]}
    if not kept:
        return {**columns, "class_id": None, "status": "rejected", "reason": rows[0].reason}
    if len(names) > 1:
        return {**columns, "class_id": None, "status": "rejected", "reason": str(Reason.CLASS_CONFLICT)}
    return {**columns, "class_id": names[0], "status": "ok", "reason": None}
