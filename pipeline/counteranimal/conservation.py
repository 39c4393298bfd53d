"""The conservation count: every candidate that was ever discovered is in exactly one state, and the states add up.

Decides which state a candidate is in. Reads only tables, so that the same count can be made from a workspace, a backup or a
release. `discovered = stored + duplicate + rejected + deferred + failed + withdrawn + pending`, after every run and crash.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

import pandas as pd
import pyarrow as pa

from counteranimal.errors import IntegrityError

__all__ = ["COLUMNS", "STATES", "Conservation", "account", "states"]

COLUMNS: dict[str, list[str]] = {
    "candidates": ["candidate_id", "status", "reason"],
    "fetches": ["candidate_id", "attempt", "status", "reason", "photo_id"],
    "photos": ["photo_id", "candidate_ids", "status", "reason"],
    "clusters": ["photo_id", "kept", "reason"],
}
"""The columns that the count reads of each table."""

STATES = ("stored", "duplicate", "rejected", "deferred", "failed", "withdrawn", "pending")


@dataclass(frozen=True, slots=True)
class Conservation:
    """Counts of candidates by state; `reasons` breaks down those that carry a reason code."""

    discovered: int
    states: dict[str, int]
    reasons: dict[str, int] = field(default_factory=dict)

    def require_balance(self) -> None:
        """Raise IntegrityError if a candidate is lost or counted twice."""
        total = sum(self.states.values())
        if total != self.discovered:
            raise IntegrityError(
                f"conservation broken: {self.discovered} candidates discovered, {total} accounted for; report this as a bug"
            )

    def sentence(self) -> str:
        """Return the count as one line.

        Examples
        --------
        >>> Conservation(3, {"stored": 2, "rejected": 1}, {"rejected E_LICENSE": 1}).sentence()
        'discovered 3 = stored 2 + rejected 1 (E_LICENSE 1)'
        """
        terms = []
        for state in STATES:
            number = self.states.get(state, 0)
            if not number:
                continue
            inner = ", ".join(
                f"{key.split(' ', 1)[1]} {count}"
                for key, count in sorted(self.reasons.items())
                if key.split(" ", 1)[0] == state
            )
            terms.append(f"{state} {number}" + (f" ({inner})" if inner else ""))
        return f"discovered {self.discovered} = {' + '.join(terms) or '0'}"


def states(
    candidates: pa.Table, fetches: pa.Table, photos: pa.Table, clusters: pa.Table, withdrawn: Collection[str] = ()
) -> dict[str, tuple[str, str]]:
    """Return candidate_id -> (state, reason code or empty).

    Parameters
    ----------
    candidates, fetches, photos, clusters : pa.Table
        As in `tables.SCHEMAS`, or those of their columns that `COLUMNS` names; `photos` and `clusters` may still be empty.
    withdrawn : collection of str
        Ids of photos and candidates that a takedown removed.
    """
    found = _states(candidates, fetches, photos, clusters, withdrawn)
    return dict(zip(found.index, zip(found["state"], found["reason"], strict=True), strict=True))


def _states(
    candidates: pa.Table, fetches: pa.Table, photos: pa.Table, clusters: pa.Table, withdrawn: Collection[str]
) -> pd.DataFrame:
    """Return columns state and reason by candidate id; whole columns at a time, since there may be millions of rows."""
    rows = candidates.select(COLUMNS["candidates"]).to_pandas().set_index("candidate_id")
    tried = fetches.select(COLUMNS["fetches"]).to_pandas().sort_values("attempt", kind="stable")
    rows = rows.join(tried.drop_duplicates("candidate_id", keep="last").set_index("candidate_id"), rsuffix="_fetch")
    known = _known_photos(photos, clusters)
    rows = rows.join(known.loc[known.index.intersection(rows.index)])
    stored = rows["status_fetch"].eq("stored")
    gone = [name for name in withdrawn if name]
    # The first rule that fits decides; the last ones are the weakest.
    rules: list[tuple[pd.Series, str, str | pd.Series]] = [
        (rows["photo_id"].isin(gone) | rows.index.isin(gone), "withdrawn", ""),
        (rows["status"].eq("rejected"), "rejected", rows["reason"]),
        (rows["status_fetch"].isna(), "pending", ""),
        (~stored, "", rows["reason_fetch"]),
        (rows["photo_status"].eq("rejected"), "rejected", rows["photo_reason"]),
        (rows["later"].eq(True), "duplicate", "exact"),
        (rows["kept"].eq(False), "duplicate", rows["cluster_reason"]),
        (rows["photo_status"].eq("suspect"), "stored", rows["photo_reason"]),
    ]
    state = pd.Series("stored", index=rows.index, dtype=object)
    reason = pd.Series("", index=rows.index, dtype=object)
    for fits, name, why in reversed(rules):
        state = state.mask(fits, name or rows["status_fetch"])
        reason = reason.mask(fits, why)
    return pd.DataFrame({"state": state, "reason": reason.fillna("").astype(str)})


def _known_photos(photos: pa.Table, clusters: pa.Table) -> pd.DataFrame:
    """Return, by candidate id, what is known of its photo: turned away, of an earlier candidate, kept in its cluster."""
    table = photos.select(COLUMNS["photos"]).to_pandas().rename(columns={"photo_id": "photo"})
    table = table.merge(
        clusters.select(COLUMNS["clusters"]).to_pandas().rename(columns={"photo_id": "photo", "reason": "cluster_reason"}),
        on="photo", how="left",
    )  # fmt: skip
    table = table.explode("candidate_ids").dropna(subset=["candidate_ids"])
    table["later"] = table.duplicated("photo")
    table = table.rename(columns={"candidate_ids": "candidate_id", "status": "photo_status", "reason": "photo_reason"})
    known: pd.DataFrame = (
        table.drop(columns="photo").drop_duplicates("candidate_id", keep="last").set_index("candidate_id")
    )
    return known


def account(
    candidates: pa.Table, fetches: pa.Table, photos: pa.Table, clusters: pa.Table, withdrawn: Collection[str] = ()
) -> Conservation:
    """Return the conservation count over the given tables (see `states`)."""
    found = _states(candidates, fetches, photos, clusters, withdrawn)
    by_state = {str(state): int(number) for state, number in found["state"].value_counts().items()}
    told = found[found["reason"] != ""]
    reasons = (told["state"] + " " + told["reason"]).value_counts()
    return Conservation(len(found), by_state, {str(reason): int(number) for reason, number in reasons.items()})
