"""What a reduced precision changes: predictions that differ from float32's, on the same photos and labels.

Decides how many photos are compared and from where a change is warned of. float32 is the reference; nothing is corrected.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from counteranimal.errors import IntegrityError
from counteranimal.stats import wilson

__all__ = ["COMPARED", "compared", "sentences"]

COMPARED = 1_000
"""Photos held against float32: the first by id, which as digests are a random sample."""
TOLERATED_FLIPS = 0.01
TOLERATED_ACCURACY = 0.005


def compared(reduced: pa.Table, reference: pa.Table) -> list[dict[str, Any]]:
    """Return what changed, one row a protocol.

    Parameters
    ----------
    reduced, reference : pa.Table
        Table `predictions` of one model in either precision; `reference` may hold fewer photos, never others.

    Returns
    -------
    list of dict
        `protocol`, `n` photos compared, `flipped` of them (another predicted index), `rate` with its Wilson 95 % interval `low`
        and `high`, `accuracy` and `accuracy_float32` over these photos, unweighted.

    Raises
    ------
    IntegrityError
        If a photo of the reference has no prediction in reduced precision.
    """
    rows = []
    for protocol in sorted(set(reference.column("protocol").to_pylist())):
        wanted, given = (table.filter(pc.equal(table.column("protocol"), protocol)) for table in (reference, reduced))
        place = pc.index_in(wanted.column("photo_id"), value_set=given.column("photo_id").combine_chunks())
        if place.null_count:
            raise IntegrityError("a photo was judged in float32 only; delete the predictions and run again")
        given = given.take(place)
        changed, n = pc.not_equal(wanted.column("predicted"), given.column("predicted")), len(wanted)
        flipped = int(pc.sum(changed).as_py() or 0)
        low, high = wilson(flipped / n, n)
        correct = {
            name: float(np.mean(table.column("correct").to_numpy()))
            for name, table in (("accuracy", given), ("accuracy_float32", wanted))
        }
        rows.append(
            {"protocol": protocol, "n": n, "flipped": flipped, "rate": flipped / n, "low": low, "high": high} | correct
        )
    return rows


def sentences(spec: str, dtype: str, rows: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Yield one sentence a protocol on what the precision changed, with a warning where that is more than is tolerated."""
    for row in rows:
        moved = abs(row["accuracy"] - row["accuracy_float32"])
        said = (
            f"{spec} {row['protocol']}: {dtype} changes {row['flipped']} of {row['n']:,} predictions ({100 * row['rate']:.2f} %, "
            f"95 % {100 * row['low']:.2f} to {100 * row['high']:.2f}) and accuracy by {100 * moved:.2f} points"
        )
        if row["rate"] > TOLERATED_FLIPS or moved > TOLERATED_ACCURACY:
            said = (
                f"warning: {said}, more than {100 * TOLERATED_FLIPS:g} % or {100 * TOLERATED_ACCURACY:g} points; "
                "evaluate in float32"
            )
        yield said
