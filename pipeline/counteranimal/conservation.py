"""The conservation count: every candidate that was ever discovered is in exactly one state, and the states add up.

Decides which state a candidate is in. Reads only tables, so that the same count can be made from a workspace, a backup or a
release. `discovered = stored + duplicate + rejected + deferred + failed + withdrawn + pending`, after every run and crash.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

import pyarrow as pa

from counteranimal.errors import IntegrityError

__all__ = ["STATES", "Conservation", "account", "states"]

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
        As in `tables.SCHEMAS`; `photos` and `clusters` may still be empty.
    withdrawn : collection of str
        Photo ids that a takedown removed.
    """
    last_fetch = {row["candidate_id"]: row for row in fetches.sort_by("attempt").to_pylist()}
    photo_of = {candidate: row for row in photos.to_pylist() for candidate in row["candidate_ids"]}
    cluster_of = {row["photo_id"]: row for row in clusters.to_pylist()}
    found: dict[str, tuple[str, str]] = {}
    for row in candidates.to_pylist():
        candidate = row["candidate_id"]
        fetch = last_fetch.get(candidate)
        if fetch is not None and fetch["photo_id"] in withdrawn:
            found[candidate] = ("withdrawn", "")
        elif row["status"] == "rejected":
            found[candidate] = ("rejected", row["reason"] or "")
        elif fetch is None:
            found[candidate] = ("pending", "")
        elif fetch["status"] == "stored":
            found[candidate] = _state_of_stored(candidate, photo_of, cluster_of)
        else:
            found[candidate] = (fetch["status"], fetch["reason"] or "")
    return found


def _state_of_stored(
    candidate: str, photo_of: dict[str, dict[str, object]], cluster_of: dict[str, dict[str, object]]
) -> tuple[str, str]:
    photo = photo_of.get(candidate)
    if photo is None:
        return ("stored", "")
    if photo["status"] == "rejected":
        return ("rejected", str(photo["reason"] or ""))
    same = photo["candidate_ids"]
    if isinstance(same, list) and candidate != same[0]:
        return ("duplicate", "exact")
    cluster = cluster_of.get(str(photo["photo_id"]))
    if cluster is not None and not cluster["kept"]:
        return ("duplicate", str(cluster["reason"]))
    return ("stored", "")


def account(
    candidates: pa.Table, fetches: pa.Table, photos: pa.Table, clusters: pa.Table, withdrawn: Collection[str] = ()
) -> Conservation:
    """Return the conservation count over the given tables (see `states`)."""
    found = states(candidates, fetches, photos, clusters, withdrawn)
    by_state = Counter(state for state, _ in found.values())
    reasons = Counter(f"{state} {reason}" for state, reason in found.values() if reason)
    return Conservation(len(found), dict(by_state), dict(reasons))
