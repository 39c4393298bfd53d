"""The two verbs of the crawl: find candidates, fetch the pending ones.

Decides the order of reading and recording: a page's candidates first, then its cursor, so that a crash repeats a page and
loses none. Expects the caller to hold the workspace's lock.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import Collection, Iterator, Mapping
from datetime import datetime
from typing import Any

from counteranimal.crawl.budget import Ledger
from counteranimal.crawl.candidates import changed, judge
from counteranimal.crawl.crew import Crew, Hands, Tally, as_failure
from counteranimal.crawl.fetch import Limits, PhotoClient
from counteranimal.crawl.intake import Attempt, Store, look_at
from counteranimal.crawl.outcome import Visit
from counteranimal.crawl.pending import closed_hosts, host_of, pending
from counteranimal.crawl.politeness import Clock, user_agent
from counteranimal.crawl.snapshot import photos_table
from counteranimal.crawl.sources import LocalSource, Opening, Source, open_source
from counteranimal.images import DecoderPool
from counteranimal.progress import bar
from counteranimal.recipe import Recipe, SourceSpec
from counteranimal.settings import Settings
from counteranimal.workspace import Journal, Workspace

__all__ = ["discover", "fetch_pending", "photos_table"]


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
    known = workspace.journal.latest("candidates", "candidate_id")
    counts: Counter[str] = Counter({"offered": 0, "new": 0, "changed": 0, "unpinned_taxa": 0})
    with bar() as progress:
        for opening in _openings(recipe, workspace.journal, settings, clock):
            task = progress.add_task(f"Asking {opening.spec.name}", total=None)
            try:
                for seen in _ask(opening, workspace.journal, known):
                    counts.update(seen)
                    progress.advance(task, seen["offered"])
            finally:
                opening.ledger.write_bytes()
    return dict(counts)


def _ask(opening: Opening, journal: Journal, known: dict[str, dict[str, Any]]) -> Iterator[Counter[str]]:
    """Journal one source's pages behind its cursor, and yield what each of them brought."""
    source, spec, clock = open_source(opening), opening.spec, opening.clock
    yield Counter({"offered": 0, "unpinned_taxa": len(getattr(source, "unpinned", ()))})
    cursor = _cursor(journal, spec, source)
    for page in source.pages(cursor):
        rows = [judge(spec.name, offer, opening.recipe.licences.allow, clock.now()) for offer in page.offers]
        fresh = [row for row in rows if changed(known.get(row["candidate_id"]), row)]
        new = sum(row["candidate_id"] not in known for row in fresh)
        journal.append("candidates", fresh)
        known.update({row["candidate_id"]: row for row in fresh})
        if page.cursor != cursor:
            cursor = page.cursor
            row = {"source": spec.name, "query": source.query, "cursor": cursor, "at": clock.now()}
            journal.append("cursors", [row])
        yield Counter({"offered": len(rows), "new": new, "changed": len(fresh) - new})


def _openings(recipe: Recipe, journal: Journal, settings: Settings, clock: Clock) -> list[Opening]:
    agent = user_agent(settings.contact, recipe.sources)
    return [Opening(spec, recipe, Ledger(journal, spec, clock), clock, agent) for spec in recipe.sources]


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
    """Fetch, look at, store and record the candidates that are pending.

    Parameters
    ----------
    limit : int, optional
        Make at most so many attempts.
    retry : collection of str
        Statuses to try again beside the pending ones, see `pending`.

    Returns
    -------
    dict
        Attempts by status (stored, rejected, failed, deferred) and `pending`, those left for another run.

    Raises
    ------
    EnvironmentFailure
        On SIGINT or SIGTERM, a full disk, a spent budget, or when no host answered. What was stored stays; a re-run finishes.
    """
    clock = Clock(now)
    workspace.require_free_space(settings.free_space_floor_mb)
    chosen = pending(recipe, workspace.journal, now=now, retry=retry)[:limit]
    attempts = [Attempt(item.candidate, item.attempt, item.order, now) for item in chosen]
    tally = Tally()
    if attempts:
        withdrawn = {row["photo_id"] for row in workspace.journal.rows("withdrawals")}
        run = _Run(recipe, workspace, settings=settings, clock=clock, store=Store(workspace, withdrawn))
        tally = asyncio.run(run.fetch(attempts))
    left = len(attempts) - tally.statuses.total()
    failure = as_failure(tally, tally.statuses["stored"], left)
    if failure is not None:
        raise failure
    names = ("stored", "rejected", "failed", "deferred")
    return {**{name: tally.statuses[name] for name in names}, "pending": left}


class _Run:
    """One run of `fetch_pending`: the sources opened, the queues made, the crew at work."""

    def __init__(self, recipe: Recipe, workspace: Workspace, *, settings: Settings, clock: Clock, store: Store) -> None:
        self._recipe = recipe
        self._workspace = workspace
        self._settings = settings
        self._clock = clock
        self._store = store
        self._openings = _openings(recipe, workspace.journal, settings, clock)
        self._local: dict[str, LocalSource] = {}

    async def fetch(self, attempts: list[Attempt]) -> Tally:
        """Return what happened to the attempts."""
        self._open_local(attempts)
        queues: dict[str, deque[Attempt]] = {}
        for attempt in attempts:
            queues.setdefault(self._queue_of(attempt), deque()).append(attempt)
        ledgers = {opening.spec.name: opening.ledger for opening in self._openings}
        client = PhotoClient(
            self._recipe.sources, ledgers, clock=self._clock, agent=self._openings[0].agent, limits=Limits()
        )
        closed = closed_hosts(self._workspace.journal, now=self._clock.now())
        with bar() as progress, DecoderPool(self._settings.workers) as pool:
            task = progress.add_task("Fetching photos", total=len(attempts))
            async with client:
                client.close_lanes(closed)
                hands = Hands(
                    get=lambda attempt, visit: self._get(client, attempt, visit),
                    look=lambda data: look_at(data, pool),
                    commit=lambda group: self._commit(group, ledgers),
                    clock=self._clock,
                    advance=lambda: progress.advance(task),
                )
                crew = Crew(hands, workers=self._settings.workers)
                return await crew.work(queues, {host: self._at_once(host, queue) for host, queue in queues.items()})

    def _open_local(self, attempts: list[Attempt]) -> None:
        asked = {attempt.candidate["source"] for attempt in attempts}
        for opening in self._openings:
            if opening.spec.name in asked:
                source = open_source(opening)
                if isinstance(source, LocalSource):
                    self._local[opening.spec.name] = source

    def _queue_of(self, attempt: Attempt) -> str:
        source = str(attempt.candidate["source"])
        return f"{source}/" if source in self._local else host_of(attempt.candidate["url"])

    def _at_once(self, host: str, queue: deque[Attempt]) -> int:
        if host.endswith("/"):
            return self._settings.workers + 1
        names = {attempt.candidate["source"] for attempt in queue}
        return max(spec.in_flight for spec in self._recipe.sources if spec.name in names)

    async def _get(self, client: PhotoClient, attempt: Attempt, visit: Visit) -> bytes:
        source = self._local.get(visit.source)
        if source is None:
            return await client.get(attempt.candidate["url"], visit)
        return await asyncio.to_thread(source.read, attempt.candidate["native_id"], most=client.limits.most_bytes)

    def _commit(self, group: list[Attempt], ledgers: Mapping[str, Ledger]) -> None:
        for ledger in ledgers.values():
            ledger.write_bytes()
        self._store.commit(group)
