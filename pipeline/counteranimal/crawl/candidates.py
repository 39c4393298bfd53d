"""Turns what a source offers into a candidate row, with the reason where it may not be fetched.

Decides, once for all sources: a photo needs a class of the recipe, a licence that the recipe allows, and an author where the
licence asks for one. The photo's own licence is the only one looked at; missing means all rights reserved. Leaves reading an
upstream's fields to the sources.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from counteranimal.crawl.licences import attribution, spdx_of
from counteranimal.errors import Reason
from counteranimal.ids import candidate_id
from counteranimal.release.licences import asks_for_attribution

__all__ = ["Offer", "changed", "judge"]

_SEEN = frozenset({"position", "seen_at"})


@dataclass(frozen=True, slots=True)
class Offer:
    """One photo as a source states it; every text may be missing upstream.

    `licence_raw` is the photo's own licence, never its record's or its data set's. `licence_version` is what the source says
    its unversioned codes mean. There is no place for coordinates. Bytes that have not the stated `sha256` (hex) and `size` are
    refused when they come. `refused` says why the source itself turns the item away: a line it cannot read is an offer too, so
    that it is a row with a reason.
    """

    native_id: str
    url: str
    class_id: str | None = None
    taxon: str | None = None
    observation_id: str | None = None
    observer_id: str | None = None
    author: str | None = None
    page_url: str | None = None
    licence_raw: str | None = None
    licence_version: str | None = None
    observed_at: str | None = None
    kind: str = "photo"
    note: str | None = None
    sha256: str | None = None
    size: int | None = None
    refused: Reason | None = None


def judge(source: str, offer: Offer, allowed: tuple[str, ...], now: datetime) -> dict[str, Any]:
    """Return the candidate row of an offer: status ok, or rejected as the source says, or E_CLASS, E_LICENSE, E_ATTRIBUTION."""
    licence = spdx_of(offer.licence_raw, default_version=offer.licence_version)
    author = " ".join((offer.author or "").split()) or None
    reason = offer.refused
    if reason is not None:
        pass
    elif offer.class_id is None:
        reason = Reason.CLASS
    elif licence is None or licence not in allowed:
        reason = Reason.LICENSE
    elif author is None and asks_for_attribution(licence):
        reason = Reason.ATTRIBUTION
    return {
        "candidate_id": candidate_id(source, offer.native_id),
        "source": source,
        "native_id": offer.native_id,
        "class_id": offer.class_id,
        "taxon": offer.taxon,
        "observation_id": offer.observation_id,
        "observer_id": offer.observer_id,
        "author": author,
        "url": offer.url,
        "page_url": offer.page_url,
        "licence_raw": offer.licence_raw,
        "licence": licence,
        "attribution": attribution(licence, author)
        if licence and (author or not asks_for_attribution(licence))
        else None,
        "observed_at": offer.observed_at,
        "kind": offer.kind,
        "note": offer.note,
        "sha256": offer.sha256,
        "size": offer.size,
        "seen_at": now,
        "status": "rejected" if reason else "ok",
        "reason": str(reason) if reason else None,
    }


def changed(old: Mapping[str, Any] | None, new: Mapping[str, Any]) -> bool:
    """Say whether a candidate row says anything that its last one did not; when it was seen does not count."""
    return old is None or any(old.get(name) != value for name, value in new.items() if name not in _SEEN)
