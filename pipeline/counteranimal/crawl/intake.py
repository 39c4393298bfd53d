"""From bytes to a stored photo: looked at, decoded in a process of its own, stored durably, and only then recorded.

Decides the order of those steps and how many photos are committed at once. Leaves what bytes
may be to `images` and where they lie to `workspace`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from counteranimal.errors import Reason, Rejected
from counteranimal.ids import fold_unit, photo_id_of
from counteranimal.images import DecoderPool, ImageInfo, sniff
from counteranimal.workspace import Blob, Workspace
from counteranimal.workspace.blobs import Side

__all__ = [
    "GROUP_BYTES",
    "GROUP_ITEMS",
    "LOST",
    "Attempt",
    "Store",
    "look_at",
    "looked_at",
    "require_stated",
    "stored_row",
]

LOST = "lost"
"""Status of a `stored` row that takes an earlier one back: the bytes are gone from that store."""

GROUP_ITEMS = 64
GROUP_BYTES = 32 * 1024 * 1024

_NOT_IN_SIDE = frozenset({"position", "seen_at", "status", "reason"})


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


async def looked_at(data: bytes, pool: DecoderPool) -> ImageInfo:
    """Do what `look_at` does without blocking the event loop."""
    sniff(data)
    return await pool.inspected(data)


def require_stated(candidate: Mapping[str, Any], data: bytes) -> None:
    """Raise Rejected (E_MISMATCH) for bytes that have not the size or the digest which the source stated."""
    if candidate["size"] is not None and candidate["size"] != len(data):
        raise Rejected(Reason.MISMATCH, f"{len(data)} bytes came, the source states {candidate['size']}")
    if candidate["sha256"] and candidate["sha256"] != photo_id_of(data):
        raise Rejected(Reason.MISMATCH, "the bytes have not the digest that the source states")


class Store:
    """Commits groups of attempts to a workspace; one thread at a time.

    Parameters
    ----------
    workspace : Workspace
        Locked by this process.
    withdrawn : collection of str
        Photo ids that are not to be stored again.
    still_ours : callable
        Told of a group that is about to be stored; returns the attempts that may be, see `Claims.storing`.
    """

    def __init__(
        self,
        workspace: Workspace,
        withdrawn: Collection[str],
        still_ours: Callable[[Sequence[Attempt]], list[Attempt]] = list,
    ) -> None:
        self._workspace = workspace
        self._withdrawn = withdrawn
        self._still_ours = still_ours
        self._store = workspace.blobs.identity()

    def commit(self, group: Sequence[Attempt]) -> list[Attempt]:
        """Store the bytes, then record them in one transaction, and return what was recorded.

        Killed in between, the next run records what was stored.

        Raises
        ------
        EnvironmentFailure
            If the disk is full or the journal is away; nothing of the group is recorded then.
        """
        ordered = sorted(self._still_ours(group), key=lambda attempt: attempt.order)
        kept, blobs = [], []
        for attempt in ordered:
            if attempt.status == "stored":
                blob = Blob(attempt.data, self._side(attempt))
                attempt.photo_id = blob.photo_id
                if attempt.photo_id in self._withdrawn:
                    attempt.status, attempt.reason = "rejected", str(Reason.OPTOUT)
                else:
                    kept.append(attempt)
                    blobs.append(blob)
        self._workspace.blobs.put_many(blobs)
        self._workspace.journal.append_all(
            {
                "stored": [self._stored_row(attempt) for attempt in kept],
                "fetches": [attempt.row() for attempt in ordered],
            }
        )
        return ordered

    def _stored_row(self, attempt: Attempt) -> dict[str, Any]:
        facts = {
            "photo_id": attempt.photo_id,
            "bytes": len(attempt.data),
            "stored_at": attempt.at,
            "store": self._store,
        }
        return stored_row(attempt.candidate, _info_of(attempt), facts)

    def _side(self, attempt: Attempt) -> Side:
        """Return everything that the journal will say of the photo, so that it can be listed without the journal."""
        info = _info_of(attempt)
        told: dict[str, Any] = {name: value for name, value in attempt.candidate.items() if name not in _NOT_IN_SIDE}
        return {
            **told,
            "attempt": attempt.number,
            "http_status": attempt.http_status,
            "retrieved_at": attempt.at.isoformat(),
            "mime": info.mime,
            "width": info.width,
            "height": info.height,
            "suspect": info.suspect,
            "run": self._workspace.blobs.writer,
        }


def stored_row(candidate: Mapping[str, Any], info: ImageInfo, facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the row of `stored`; `facts` are photo_id, bytes, stored_at and store."""
    return {
        **facts,
        "candidate_id": candidate["candidate_id"],
        "mime": info.mime,
        "width": info.width,
        "height": info.height,
        "suspect": info.suspect,
        "fold_unit": fold_unit(
            candidate["source"],
            observer_id=candidate["observer_id"],
            observation_id=candidate["observation_id"],
            photo_id=facts["photo_id"],
        ),
    }


def _info_of(attempt: Attempt) -> ImageInfo:
    if attempt.info is None:
        raise Rejected(Reason.DECODE, "a photo reached the store without being looked at")
    return attempt.info
