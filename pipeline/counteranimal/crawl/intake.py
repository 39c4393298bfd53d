"""From bytes to a stored photo: looked at, decoded in a process of its own, stored durably, and only then recorded.

Decides the order of those steps and how many photos are committed at once. Leaves what bytes
may be to `images` and where they lie to `workspace`.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from counteranimal.errors import Reason, Rejected
from counteranimal.ids import fold_unit, photo_id_of
from counteranimal.images import DecoderPool, ImageInfo, sniff
from counteranimal.workspace import Blob, Workspace

__all__ = ["GROUP_BYTES", "GROUP_ITEMS", "Attempt", "Store", "look_at"]

GROUP_ITEMS = 64
GROUP_BYTES = 32 * 1024 * 1024


@dataclass(slots=True)
class Attempt:
    """One attempt at one candidate and how it ended; `data` and `info` only while status is stored."""

    candidate: dict[str, Any]
    number: int
    order: int
    at: datetime
    status: str = ""
    reason: str | None = None
    http_status: int | None = None
    retry_at: datetime | None = None
    data: bytes = b""
    info: ImageInfo | None = None
    photo_id: str | None = None

    def row(self) -> dict[str, Any]:
        """Return the row of `fetches`."""
        return {
            "candidate_id": self.candidate["candidate_id"],
            "attempt": self.number,
            "at": self.at,
            "status": self.status,
            "reason": self.reason,
            "http_status": self.http_status,
            "bytes": len(self.data) if self.status == "stored" else None,
            "photo_id": self.photo_id,
            "retry_at": self.retry_at,
        }


def look_at(data: bytes, pool: DecoderPool) -> ImageInfo:
    """Return what the bytes are; blocks until a decoder process has read all of them.

    Raises
    ------
    Rejected
        E_EMPTY and E_TYPE by the first bytes, anything else by a full decode.
    """
    sniff(data)
    return pool.inspect(data)


class Store:
    """Commits groups of attempts to a workspace; one thread at a time."""

    def __init__(self, workspace: Workspace, withdrawn: Collection[str]) -> None:
        self._workspace = workspace
        self._withdrawn = withdrawn

    def commit(self, group: Sequence[Attempt]) -> None:
        """Store the bytes, then record them; after a crash in between the photos are fetched again, never lost.

        Raises
        ------
        EnvironmentFailure
            If the disk is full or the journal is away; nothing of the group is recorded then.
        """
        ordered = sorted(group, key=lambda attempt: attempt.order)
        for attempt in ordered:
            if attempt.status == "stored":
                attempt.photo_id = photo_id_of(attempt.data)
                if attempt.photo_id in self._withdrawn:
                    attempt.status, attempt.reason = "rejected", str(Reason.OPTOUT)
        kept = [attempt for attempt in ordered if attempt.status == "stored"]
        self._workspace.blobs.put_many([Blob(attempt.data, _side(attempt)) for attempt in kept])
        self._workspace.journal.append("stored", [self._stored_row(attempt) for attempt in kept])
        self._workspace.journal.append("fetches", [attempt.row() for attempt in ordered])

    def _stored_row(self, attempt: Attempt) -> dict[str, Any]:
        candidate, info, photo_id = attempt.candidate, attempt.info, attempt.photo_id
        if info is None or photo_id is None:
            raise Rejected(Reason.DECODE, "a photo reached the store without being looked at")
        return {
            "photo_id": photo_id,
            "candidate_id": candidate["candidate_id"],
            "mime": info.mime,
            "bytes": len(attempt.data),
            "width": info.width,
            "height": info.height,
            "fold_unit": fold_unit(
                candidate["source"],
                observer_id=candidate["observer_id"],
                observation_id=candidate["observation_id"],
                photo_id=photo_id,
            ),
            "stored_at": attempt.at,
        }


def _side(attempt: Attempt) -> dict[str, str | None]:
    candidate = attempt.candidate
    names = ("candidate_id", "source", "url", "page_url", "licence", "licence_raw", "author", "attribution")
    return {**{name: candidate[name] for name in names}, "retrieved_at": attempt.at.isoformat()}
