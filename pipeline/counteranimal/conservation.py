"""The conservation count: every candidate that was ever discovered is in exactly one state, and the states add up.

Decides which state a candidate is in. Reads only tables, so that the same count can be made from a workspace, a backup or a
release. `discovered = stored + duplicate + rejected + deferred + failed + withdrawn + pending`, after every run and crash.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

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
    columns = (found[name].to_pylist() for name in ("candidate_id", "state", "reason"))
    return {name: (state, reason) for name, state, reason in zip(*columns, strict=True)}


def _states(
    candidates: pa.Table, fetches: pa.Table, photos: pa.Table, clusters: pa.Table, withdrawn: Collection[str]
) -> pa.Table:
    """Return columns candidate_id, state and reason; whole columns at a time, since there may be millions of rows."""
    names = candidates["candidate_id"]
    last = fetches.select(COLUMNS["fetches"]).sort_by([("attempt", "descending")])
    tried = last.take(pc.index_in(names, value_set=last["candidate_id"].combine_chunks()))
    known = _known_photos(photos, clusters)
    photo = known.take(pc.index_in(names, value_set=known["candidate_id"].combine_chunks()))
    gone = pa.array(sorted(name for name in withdrawn if name), pa.string())
    # The first rule that fits decides; the last ones are the weakest.
    rules: list[tuple[Any, Any, Any]] = [
        (pc.or_(pc.is_in(tried["photo_id"], value_set=gone), pc.is_in(names, value_set=gone)), "withdrawn", ""),
        (pc.equal(candidates["status"], "rejected"), "rejected", candidates["reason"]),
        (pc.is_null(tried["status"]), "pending", ""),
        (pc.not_equal(tried["status"], "stored"), tried["status"], tried["reason"]),
        (pc.equal(photo["status"], "rejected"), "rejected", photo["reason"]),
        (photo["later"], "duplicate", "exact"),
        (pc.invert(photo["kept"]), "duplicate", photo["cluster_reason"]),
        (pc.equal(photo["status"], "suspect"), "stored", photo["reason"]),
    ]
    fits = pc.make_struct(*(pc.fill_null(fit, fill_value=False) for fit, _, _ in rules))
    state = pc.case_when(fits, *(_text(state) for _, state, _ in rules), _text("stored"))
    reason = pc.case_when(fits, *(_text(reason) for _, _, reason in rules), _text(""))
    return pa.table({"candidate_id": names, "state": state, "reason": pc.fill_null(reason, "")})


def _text(value: Any) -> Any:
    return pa.scalar(value, pa.string()) if isinstance(value, str) else value


def _known_photos(photos: pa.Table, clusters: pa.Table) -> pa.Table:
    """Return, by candidate id, what is known of its photo: turned away, of an earlier candidate, kept in its cluster."""
    place = pc.index_in(photos["photo_id"], value_set=clusters["photo_id"].combine_chunks())
    lists = (
        pa.chunked_array([pa.concat_arrays(photos["candidate_ids"].chunks)]) if len(photos) else photos["candidate_ids"]
    )
    of_photo = pc.list_parent_indices(lists)
    before = pa.concat_arrays([pa.array([-1], of_photo.type), *of_photo.chunks])[: len(of_photo)]
    known = pa.table(
        {
            "candidate_id": pc.list_flatten(lists),
            "status": photos["status"].take(of_photo),
            "reason": photos["reason"].take(of_photo),
            "later": pc.equal(of_photo, pa.chunked_array([before])),
            "kept": clusters["kept"].take(place).take(of_photo),
            "cluster_reason": clusters["reason"].take(place).take(of_photo),
        }
    )
    # A candidate whose bytes changed has several photos; the last one counts.
    return known.take(pa.array(range(len(known) - 1, -1, -1), pa.int64()))


def account(
    candidates: pa.Table, fetches: pa.Table, photos: pa.Table, clusters: pa.Table, withdrawn: Collection[str] = ()
) -> Conservation:
    """Return the conservation count over the given tables (see `states`)."""
    found = _states(candidates, fetches, photos, clusters, withdrawn).select(["state", "reason"])
    counted = found.group_by(["state", "reason"]).aggregate([([], "count_all")]).to_pylist()
    by_state: Counter[str] = Counter()
    reasons: dict[str, int] = {}
    for row in counted:
        by_state[row["state"]] += row["count_all"]
        if row["reason"]:
            reasons[f"{row['state']} {row['reason']}"] = row["count_all"]
    return Conservation(len(found), dict(by_state), dict(sorted(reasons.items())))
