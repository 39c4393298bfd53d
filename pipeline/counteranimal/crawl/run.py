"""The two verbs of the crawl: find candidates, fetch the pending ones.

Decides the order of reading and recording: a page's candidates first, then its cursor, so that a crash repeats a page and
loses none. Expects the caller to hold the workspace's lock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from counteranimal.crawl.adopt import lost_photos
from counteranimal.crawl.candidates import Offer, changed, judge
from counteranimal.crawl.claims import Life
from counteranimal.crawl.crew import as_failure
from counteranimal.crawl.pending import closed_hosts, host_of, pending
from counteranimal.crawl.plan import ASSUMED_BYTES, Forecast, Load, forecast
from counteranimal.crawl.politeness import Clock
from counteranimal.crawl.session import Session, openings
from counteranimal.crawl.snapshot import photos_table
from counteranimal.crawl.sources import Opening, Source, open_source
from counteranimal.errors import IntegrityError
from counteranimal.progress import bar
from counteranimal.recipe import Recipe, SourceSpec
from counteranimal.settings import Settings
from counteranimal.workspace import Journal, Workspace

__all__ = ["Preview", "discover", "fetch_pending", "known_candidates", "photos_table", "preview", "record"]

# SQLite before 3.32 takes 999 values a query.
_LOOKED_UP = 500


def discover(recipe: Recipe, workspace: Workspace, *, settings: Settings, now: datetime) -> dict[str, int]:
    """Ask every source what it offers and journal what is new or changed.

    Returns
    -------
    dict
        offered, new, changed, and `unpinned_taxa`: taxa asked for by name because the recipe gives no id.

    Raises
    ------
    RecipeError, UsageError
        If a source is unknown, its options are wrong, or no contact is set for a real crawl.
    UpstreamError
        Naming source and cursor; what came before is journalled and the next run goes on there.
    """
    clock = Clock(now)
    counts: Counter[str] = Counter({"offered": 0, "new": 0, "changed": 0, "unpinned_taxa": len(recipe.unpinned)})
    with bar() as progress:
        for opening in openings(recipe, workspace.journal, settings, clock):
            task = progress.add_task(f"Asking {opening.spec.name}", total=None)
            try:
                for seen in _ask(opening, workspace.journal):
                    counts.update(seen)
                    progress.advance(task, seen["offered"])
            finally:
                opening.ledger.close()
    return dict(counts)


def _ask(opening: Opening, journal: Journal) -> Iterator[Counter[str]]:
    """Journal one source's pages behind its cursor, and yield what each of them brought."""
    source, spec, clock = open_source(opening), opening.spec, opening.clock
    cursor = _cursor(journal, spec, source)
    for page in source.pages(cursor):
        counts = record(opening, journal, page.offers)
        if page.cursor != cursor:
            cursor = page.cursor
            row = {"source": spec.name, "query": source.query, "cursor": cursor, "at": clock.now()}
            journal.append("cursors", [row])
        yield counts


def record(opening: Opening, journal: Journal, offers: Sequence[Offer]) -> Counter[str]:
    """Journal what some offers say that was not known, and return how many were offered, new and changed."""
    allowed, now = opening.recipe.licences.allow, opening.clock.now()
    rows = [judge(opening.spec.name, offer, allowed, now) for offer in offers]
    known = known_candidates(journal, [row["candidate_id"] for row in rows])
    fresh, new = [], 0
    for row in rows:
        name = row["candidate_id"]
        if changed(known.get(name), row):
            new += name not in known
            known[name] = row
            fresh.append(row)
    journal.append("candidates", fresh)
    return Counter({"offered": len(rows), "new": new, "changed": len(fresh) - new})


def known_candidates(journal: Journal, names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the last rows of some candidates, so that a list of any length is discovered in the memory of one page."""
    known: dict[str, dict[str, Any]] = {}
    for start in range(0, len(names), _LOOKED_UP):
        known |= journal.last_of("candidates", "candidate_id", names[start : start + _LOOKED_UP])
    return known


def _cursor(journal: Journal, spec: SourceSpec, source: Source) -> str:
    rows = journal.rows("cursors", source=spec.name, query=source.query)
    return str(rows[-1]["cursor"]) if rows else ""


def fetch_pending(  # noqa: PLR0913 - the stage's interface, agreed with `steps`
    recipe: Recipe,
    workspace: Workspace,
    *,
    settings: Settings,
    now: datetime,
    limit: int | None = None,
    retry: Collection[str] = (),
) -> dict[str, int]:
    """Record what an earlier run left, then fetch, look at, store and record the candidates that are pending.

    Parameters
    ----------
    limit : int, optional
        Make at most so many attempts.
    retry : collection of str
        Statuses to try again beside the pending ones, see `pending`.

    Returns
    -------
    dict
        Attempts by status (stored, rejected, failed, deferred), `pending`, those left for another run, and what was found in
        the store unrecorded; `elsewhere`, those that another run holds or has made, where the journal is shared.

    Raises
    ------
    EnvironmentFailure
        On SIGINT or SIGTERM, a full disk, a spent budget, or when no host answered. What was stored stays; a re-run finishes.
    IntegrityError
        If photos that the journal lists are gone from the store.
    """
    clock = Clock(now)
    workspace.require_free_space(settings.free_space_floor_mb)
    life = Life(workspace, lease=settings.claim_seconds, now=now)
    session = Session(recipe, workspace, settings=settings, clock=clock, life=life)
    life.begin()
    found = session.reconcile()
    _require_nothing_lost(workspace)
    life.close_earlier()
    chosen = list(islice(pending(recipe, workspace.journal, now=now, retry=retry), limit))
    tally = session.fetch(chosen)
    if session.elsewhere and not (tally.stopped or tally.spent):
        session.wait_for_silent_runs()
        found += session.reconcile()
        again = pending(recipe, workspace.journal, now=now, retry=retry)
        tally = session.fetch([item for item in again if item.candidate_id in session.elsewhere])
    life.sign("ended")
    left = len(chosen) - tally.statuses.total() - len(session.elsewhere)
    failure = as_failure(tally, tally.statuses["stored"], left)
    if failure is not None:
        raise failure
    names = ("stored", "rejected", "failed", "deferred")
    counts = {**{name: tally.statuses[name] for name in names}, "pending": left}
    if workspace.shared:
        counts["elsewhere"] = len(session.elsewhere)
    return {**counts, **{name: number for name, number in found.counts().items() if number}}


def preview(recipe: Recipe, journal: Journal, *, now: datetime, limit: int | None, retry: Collection[str]) -> Preview:
    """Return what `fetch_pending` would fetch now, from which hosts, and how long that takes; nobody is asked for anything."""
    hosts: dict[str, Counter[str]] = {spec.name: Counter() for spec in recipe.sources}
    for item in islice(pending(recipe, journal, now=now, retry=retry), limit):
        hosts[item.source][host_of(item.url)] += 1
    forecasts = []
    for spec in recipe.sources:
        requests, received = journal.budget_used(spec.name, now - timedelta(days=1))
        mean = journal.mean_bytes(spec.name) or ASSUMED_BYTES
        forecasts.append(forecast(spec, Load(hosts[spec.name], mean, requests, received)))
    together: Counter[str] = sum(hosts.values(), Counter())
    return Preview(dict(together.most_common()), forecasts, closed_hosts(journal, now=now))


@dataclass(frozen=True, slots=True)
class Preview:
    """What would be fetched: photos by host, how long each source takes, and hosts that asked to be left alone until when."""

    hosts: dict[str, int]
    forecasts: list[Forecast]
    closed: dict[str, datetime]


def _require_nothing_lost(workspace: Workspace) -> None:
    lost = lost_photos(workspace)
    if lost:
        raise IntegrityError(
            f"{len(lost)} photos that the journal lists are not in {workspace.blobs.root} (the first: {lost[0]}); restore them "
            "from a backup, or run `counteranimal recover` to have the next crawl fetch them again"
        )
