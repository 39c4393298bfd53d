"""Asks upstream again about stored photos: whether each is still there, with the same bytes, under the same licence.

Decides what is asked: every photo of a list once a day at most, so that a run that was killed or put off goes on where it
stopped, and hosts that asked for a pause are left alone until it is over. Licences are asked for where a source can state named
photos again; what it states becomes the candidate's last word, as in a crawl. Asking itself is the crawl's: the same client,
budgets, robots.txt and addresses. Leaves what an answer means for a release to `workspace.upstream` and the gates.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, cast

from counteranimal.crawl.pending import closed_hosts, host_of
from counteranimal.crawl.politeness import Clock
from counteranimal.crawl.restore import Restored, Upstream, ask_each
from counteranimal.crawl.run import known_candidates, record
from counteranimal.crawl.session import openings
from counteranimal.crawl.sources import Restating, open_source
from counteranimal.crawl.sources.protocol import plugin_of
from counteranimal.errors import Reason, Rejected
from counteranimal.ids import candidate_id
from counteranimal.recipe import Recipe
from counteranimal.settings import Settings
from counteranimal.workspace import Journal
from counteranimal.workspace.upstream import APART, standing

__all__ = ["recheck"]


def recheck(
    recipe: Recipe, journal: Journal, photos: Mapping[str, str], *, settings: Settings, now: datetime
) -> dict[str, int]:
    """Ask again about photos and journal each answer as it comes.

    Parameters
    ----------
    photos : mapping of str to str
        Photo id -> the candidate that it is published as.

    Returns
    -------
    dict
        Answers of this run by status (same, changed, gone, rejected, deferred, failed), `recent`, photos that were answered for
        within a day and not asked for again, `local`, those of the publisher's own folders; `licences`, candidates stated again,
        `licences_changed`, and `unstated`, those that their source does not state any more.

    Raises
    ------
    UsageError
        If nobody's contact is set and a host of the network is to be asked.
    UpstreamError
        If an API answers badly; what was answered before is kept, and a re-run goes on.
    """
    clock, stood = Clock(now), standing(journal)
    recent = {photo_id for photo_id in photos if photo_id in stood.at and now - stood.at[photo_id] < APART}
    known = known_candidates(journal, [name for photo_id, name in photos.items() if photo_id not in recent])
    rows = [
        {**known[name], "photo_id": photo_id}
        for photo_id, name in sorted(photos.items())
        if photo_id not in recent and name in known
    ]
    network = [row for row in rows if not row["url"].startswith("file:")]
    counts: Counter[str] = Counter({"recent": len(recent), "local": len(rows) - len(network)})
    restated = _restate(recipe, journal, network, settings, clock)
    counts.update({name: len(found) for name, found in restated.items()})
    upstream = Upstream(recipe.sources, clock, settings.contact, journal, _closed(journal, now))
    sources = {spec.name for spec in recipe.sources}

    def note(item: Restored) -> None:
        told = {name: getattr(item, name) for name in ("photo_id", "status", "reason", "detail")}
        row = row_of[item.photo_id]
        licence = row["candidate_id"] in restated["licences"]
        told |= {"at": clock.now(), "url": row["url"], "retry_at": item.until, "licence": licence}
        journal.append("rechecks", [told])
        counts[item.status] += 1

    row_of = {row["photo_id"]: row for row in network if row["source"] in sources}
    if row_of:
        ask_each(list(row_of.values()), upstream, _compare, done="same", note=note)
    return dict(counts)


def _compare(data: bytes, row: Mapping[str, Any]) -> None:
    if hashlib.sha256(data).hexdigest() != row["photo_id"]:
        raise Rejected(Reason.MISMATCH, "the address gives other bytes than before")


def _restate(
    recipe: Recipe, journal: Journal, rows: Iterable[Mapping[str, Any]], settings: Settings, clock: Clock
) -> dict[str, set[str]]:
    """Ask the sources that can state photos again for what they now say, journal it, and return candidates by what came of it."""
    by_source: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for row in rows:
        by_source[row["source"]].append(row)
    found: dict[str, set[str]] = {"licences": set(), "licences_changed": set(), "unstated": set()}
    for opening in openings(recipe, journal, settings, clock) if by_source else ():
        asked = {row["candidate_id"]: row for row in by_source.get(opening.spec.name, [])}
        # Others are not opened: a list that is gone since the crawl is no obstacle here.
        if not asked or getattr(plugin_of(opening.spec), "again", None) is None:
            continue
        source = cast("Restating", open_source(opening))
        try:
            for page in source.again(list(asked.values())):
                record(opening, journal, page.offers)
                for offer in page.offers:
                    name = candidate_id(opening.spec.name, offer.native_id)
                    found["licences"].add(name)
                    if asked[name]["licence_raw"] != offer.licence_raw:
                        found["licences_changed"].add(name)
        finally:
            opening.ledger.close()
        found["unstated"] |= asked.keys() - found["licences"]
    return found


def _closed(journal: Journal, now: datetime) -> dict[str, datetime]:
    """Return hosts that asked an earlier crawl or re-check to wait, and until when."""
    closed = closed_hosts(journal, now=now)
    for row in journal.rows("rechecks", status="deferred"):
        if row["retry_at"] is not None and row["retry_at"] > now and row["reason"] == str(Reason.RATE):
            host = host_of(row["url"])
            closed[host] = max(row["retry_at"], closed.get(host, row["retry_at"]))
    return closed
