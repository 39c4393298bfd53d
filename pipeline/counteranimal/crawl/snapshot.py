"""Tables as the journal tells them: candidates, fetches and photos.

Decides how events become rows: the last word on a candidate counts, every attempt is a row, a photo is what decodes. Pure
functions of the journal; nothing is fetched or written.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pyarrow as pa

from counteranimal import tables
from counteranimal.errors import Reason
from counteranimal.recipe import Recipe
from counteranimal.workspace import Journal

__all__ = ["candidates_table", "fetches_table", "photos_table"]

_SETTLING = timedelta(days=1)


def candidates_table(journal: Journal) -> pa.Table:
    """Return every candidate as it was last seen."""
    latest = journal.latest("candidates", "candidate_id").values()
    return tables.conform("candidates", [_without_position(row) for row in latest])


def fetches_table(journal: Journal) -> pa.Table:
    """Return every attempt to fetch."""
    return tables.conform("fetches", [_without_position(row) for row in journal.rows("fetches")])


def photos_table(recipe: Recipe, journal: Journal) -> pa.Table:
    """Return the photos of a recipe's sources and classes, one row a photo.

    `candidate_ids` stand in the order of discovery, which does not depend on which download ended first. `fold_unit` is that
    of the candidate seen first among those stored within a day of the first: so a crawl that was killed and resumed gives
    the folds of an undisturbed one, and nothing found later ever moves a photo to another fold. A photo found under two classes is rejected as `class_conflict`; one whose
    candidates have all been turned away since carries their reason. Withdrawn photos are absent.
    """
    candidates = journal.latest("candidates", "candidate_id")
    order = {name: number for number, name in enumerate(candidates)}
    sources = {spec.name for spec in recipe.sources}
    classes = {item.id for item in recipe.classes}
    withdrawn = {row["photo_id"] for row in journal.rows("withdrawals")}
    stored: dict[str, dict[str, dict[str, Any]]] = {}
    for row in journal.rows("stored"):
        candidate = candidates.get(row["candidate_id"])
        if candidate is None or candidate["source"] not in sources or row["photo_id"] in withdrawn:
            continue
        if candidate["status"] == "ok" and candidate["class_id"] not in classes:
            continue
        stored.setdefault(row["photo_id"], {}).setdefault(row["candidate_id"], row)
    rows = []
    for photo_id, found in stored.items():
        names = sorted(found, key=order.__getitem__)
        columns = _stored_columns([found[name] for name in names])
        rows.append({**_verdict([candidates[name] for name in names]), "photo_id": photo_id, **columns})
    return tables.conform("photos", rows)


def _stored_columns(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the columns of a photo that follow from its stored rows, one a candidate, in the order of discovery."""
    first = min(row["stored_at"] for row in rows)
    chosen = next(row for row in rows if row["stored_at"] <= first + _SETTLING)
    facts = {name: chosen[name] for name in ("mime", "bytes", "width", "height", "fold_unit")}
    return {**facts, "stored_at": first}


def _verdict(candidates: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the columns of a photo that follow from its candidates, in the order of discovery."""
    kept = [row for row in candidates if row["status"] == "ok"]
    names = sorted({row["class_id"] for row in kept})
    columns = {"candidate_ids": [row["candidate_id"] for row in kept or candidates]}
    if not kept:
        return {**columns, "class_id": None, "status": "rejected", "reason": candidates[0]["reason"]}
    if len(names) > 1:
        return {**columns, "class_id": None, "status": "rejected", "reason": str(Reason.CLASS_CONFLICT)}
    return {**columns, "class_id": names[0], "status": "ok", "reason": None}


def _without_position(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "position"}
