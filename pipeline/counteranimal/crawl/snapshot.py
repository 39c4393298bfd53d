"""Tables as the journal tells them: candidates, fetches and photos.

Decides how events become rows: the last word on a candidate counts, every attempt is a row, a photo is what decodes. Pure
functions of the journal; nothing is fetched or written.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from counteranimal import tables
from counteranimal.errors import Reason
from counteranimal.recipe import Recipe
from counteranimal.workspace import Journal

__all__ = ["candidates_table", "fetches_table", "photos_table"]


def candidates_table(journal: Journal) -> pa.Table:
    """Return every candidate as it was last seen."""
    latest = journal.latest("candidates", "candidate_id").values()
    return tables.conform("candidates", [_without_position(row) for row in latest])


def fetches_table(journal: Journal) -> pa.Table:
    """Return every attempt to fetch."""
    return tables.conform("fetches", [_without_position(row) for row in journal.rows("fetches")])


def photos_table(recipe: Recipe, journal: Journal) -> pa.Table:
    """Return the photos of a recipe's sources and classes, one row a photo.

    `candidate_ids` stand in the order of discovery, which does not depend on which download ended first; `fold_unit` is the
    one fixed when the bytes were first stored. A photo found under two classes is rejected as `class_conflict`; one whose
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
        first = next(iter(found.values()))
        rows.append({**_verdict([candidates[name] for name in names]), "photo_id": photo_id, **_stored_columns(first)})
    return tables.conform("photos", rows)


def _stored_columns(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("mime", "bytes", "width", "height", "fold_unit", "stored_at")}


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
