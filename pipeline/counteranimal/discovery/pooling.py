"""The verified pool: every photo with a verdict, its class, the background people saw, its fold and its weight.

Decides what enters discovery. Votes were turned into verdicts before; groups are chosen after.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

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
    kept = photos.filter(pc.equal(photos.column("status"), "ok"))
    if clusters is not None:
        dropped = clusters.filter(pc.invert(pc.fill_null(clusters.column("kept"), fill_value=False)))
        gone = pc.is_in(kept.column("photo_id"), value_set=dropped.column("photo_id").combine_chunks())
        kept = kept.filter(pc.invert(gone))
    accepted = verdicts.filter(pc.equal(verdicts.column("status"), "ok"))
    place = pc.index_in(accepted.column("photo_id"), value_set=kept.column("photo_id").combine_chunks())
    accepted, found = accepted.filter(pc.is_valid(place)), kept.take(place.drop_null())
    columns: dict[str, Any] = {name: accepted.column(name) for name in ("photo_id", "background")}
    columns |= {name: found.column(name) for name in ("class_id", "fold_unit")}
    columns["inclusion_probability"] = accepted.column("inclusion_probability")
    pool = pa.table(columns)
    _refuse_unusable(pool)
    units = pool.column("fold_unit").combine_chunks().dictionary_encode()
    folds = pa.array([fold_of(seed, unit) for unit in units.dictionary.to_pylist()], pa.string())
    return tables.conform("pool", pool.append_column("fold", folds.take(units.indices)))


def _refuse_unusable(pool: pa.Table) -> None:
    chance, background, unit = (pool.column(name) for name in ("inclusion_probability", "background", "fold_unit"))
    # NaN compares as false, so it is refused too.
    usable = pc.and_(pc.greater(chance, 0.0), pc.less_equal(chance, 1.0))
    if bad := _first_unless(pool, usable):
        raise IntegrityError(
            f"photo {bad['photo_id']} has inclusion probability {bad['inclusion_probability']}, which must lie above 0 and "
            "at most 1; rebuild the verdicts"
        )
    if bad := _first_unless(pool, pc.not_equal(background, "")):
        raise IntegrityError(
            f"photo {bad['photo_id']} has an accepted verdict without a background; rebuild the verdicts"
        )
    if bad := _first_unless(pool, pc.not_equal(unit, "")):
        raise IntegrityError(f"photo {bad['photo_id']} has no fold unit; rebuild the photos table")


def _first_unless(pool: pa.Table, sound: pa.ChunkedArray) -> dict[str, Any]:
    bad = pool.filter(pc.invert(pc.fill_null(sound, fill_value=False))).slice(0, 1).to_pylist()
    return dict(bad[0]) if bad else {}
