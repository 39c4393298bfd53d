"""The verified pool: every photo with a verdict, its class, the background people saw, its fold and its weight.

Decides what enters discovery. Votes were turned into verdicts before; groups are chosen after.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from counteranimal import tables
from counteranimal.errors import IntegrityError
from counteranimal.ids import fold_of

__all__ = ["pool_table"]


def pool_table(verdicts: pa.Table, photos: pa.Table, *, seed: str, clusters: pa.Table | None = None) -> pa.Table:
    """Return the table `pool`: verdicts with status `ok` whose photo is kept.

    Parameters
    ----------
    verdicts, photos : pa.Table
        As in `tables.SCHEMAS`; photos of another status than `ok` are not kept.
    seed : str
        The recipe's; folds follow from it and the fold unit alone.
    clusters : pa.Table, optional
        Where given, photos that de-duplication dropped since the round are left out too.

    Raises
    ------
    IntegrityError
        If a verdict has no background or no usable inclusion probability, or a kept photo has no fold unit.
    """
    kept = {row["photo_id"]: row for row in photos.to_pylist() if row["status"] == "ok"}
    if clusters is not None:
        dropped = {row["photo_id"] for row in clusters.select(["photo_id", "kept"]).to_pylist() if not row["kept"]}
        kept = {photo_id: row for photo_id, row in kept.items() if photo_id not in dropped}
    rows = [
        _row(verdict, kept[verdict["photo_id"]], seed)
        for verdict in verdicts.to_pylist()
        if verdict["status"] == "ok" and verdict["photo_id"] in kept
    ]
    return tables.conform("pool", rows)


def _row(verdict: dict[str, Any], photo: dict[str, Any], seed: str) -> dict[str, Any]:
    photo_id, chance = verdict["photo_id"], verdict["inclusion_probability"]
    if chance is None or not 0.0 < chance <= 1.0:
        raise IntegrityError(
            f"photo {photo_id} has inclusion probability {chance}, which must lie above 0 and at most 1; rebuild the verdicts"
        )
    if not verdict["background"]:
        raise IntegrityError(f"photo {photo_id} has an accepted verdict without a background; rebuild the verdicts")
    if not photo["fold_unit"]:
        raise IntegrityError(f"photo {photo_id} has no fold unit; rebuild the photos table")
    return {
        "photo_id": photo_id,
        "class_id": photo["class_id"],
        "background": verdict["background"],
        "fold_unit": photo["fold_unit"],
        "fold": fold_of(seed, photo["fold_unit"]),
        "inclusion_probability": chance,
    }
