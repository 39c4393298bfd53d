"""What upstream said when it was asked again about stored photos: the journal's `rechecks`, read.

Decides when a photo counts as gone: after two answers 404 or 410 at least a day apart and no other answer between. A server that
is busy, broken or away says nothing about a photo, so such attempts neither count nor break the count. Leaves asking to the
crawl, and what follows for a release to the freeze.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from counteranimal.errors import Reason
from counteranimal.workspace.journal import Journal

__all__ = ["ANSWERED", "APART", "Standing", "standing"]

APART = timedelta(hours=24)
"""How far apart two answers must lie; also how long an answer stands before the photo is asked for again."""
ANSWERED = frozenset({"same", "changed", "gone", "rejected"})


@dataclass(frozen=True, slots=True)
class Standing:
    """The last answer about each photo: same, changed (other bytes), gone, or rejected; photos never answered for are absent.

    `gone` holds the candidates for removal, which are fewer than those whose last answer is gone; `reasons` the code of the
    last answer, where it has one; `licensed` the photos whose licence was stated again with it.
    """

    last: Mapping[str, str] = field(default_factory=dict)
    at: Mapping[str, datetime] = field(default_factory=dict)
    reasons: Mapping[str, str] = field(default_factory=dict)
    gone: frozenset[str] = frozenset()
    licensed: frozenset[str] = frozenset()

    @property
    def opted_out(self) -> frozenset[str]:
        """Photos whose server forbids keeping them, by its last answer."""
        return frozenset(photo_id for photo_id, reason in self.reasons.items() if reason == Reason.OPTOUT)

    def counts(self, photo_ids: Collection[str]) -> dict[str, int]:
        """Return how many of some photos have which last answer; those without one are `not_rechecked`."""
        return dict(sorted(Counter(self.last.get(photo_id, "not_rechecked") for photo_id in photo_ids).items()))

    def span(self, photo_ids: Iterable[str]) -> tuple[datetime, datetime] | None:
        """Return the moments of the first and the last answer that stand for some photos, None without any."""
        moments = sorted(self.at[photo_id] for photo_id in photo_ids if photo_id in self.at)
        return (moments[0], moments[-1]) if moments else None


def standing(journal: Journal) -> Standing:
    """Read what stands of every photo that was ever asked for again."""
    last: dict[str, dict[str, Any]] = {}
    since: dict[str, datetime] = {}
    gone: set[str] = set()
    for row in journal.rows("rechecks"):
        if row["status"] not in ANSWERED:
            continue
        photo_id = row["photo_id"]
        last[photo_id] = row
        if row["status"] != "gone":
            since.pop(photo_id, None)
            gone.discard(photo_id)
        elif row["at"] - since.setdefault(photo_id, row["at"]) >= APART:
            gone.add(photo_id)
    return Standing(
        last={photo_id: row["status"] for photo_id, row in last.items()},
        at={photo_id: row["at"] for photo_id, row in last.items()},
        reasons={photo_id: row["reason"] for photo_id, row in last.items() if row["reason"]},
        gone=frozenset(gone),
        licensed=frozenset(photo_id for photo_id, row in last.items() if row["licence"]),
    )
