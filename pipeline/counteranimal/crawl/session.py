"""One run's fetching: the sources opened, the queues made, the crew at work; in rounds where other runs share the journal.

Decides what a queue is (one a host, one a local source), how many photos of it are asked for at once, and when another run is
waited for. Leaves the workers to `crew`, the right to an attempt to `claims`, and what a network answer means to `fetch`.
"""

from __future__ import annotations

import asyncio
import gc
import time
from collections import deque
from collections.abc import Sequence

from counteranimal.crawl.adopt import Reconciled, adopt
from counteranimal.crawl.budget import Ledger
from counteranimal.crawl.claims import Claims, Life
from counteranimal.crawl.crew import Crew, Hands, Tally
from counteranimal.crawl.fetch import Limits, PhotoClient
from counteranimal.crawl.intake import Attempt, Store, look_at, looked_at, require_stated
from counteranimal.crawl.outcome import Visit
from counteranimal.crawl.pending import Pending, closed_hosts, host_of, load
from counteranimal.crawl.politeness import Clock, user_agent
from counteranimal.crawl.sources import LocalSource, Opening, open_source
from counteranimal.images import DecoderPool
from counteranimal.progress import bar
from counteranimal.recipe import Recipe
from counteranimal.settings import Settings
from counteranimal.workspace import Journal, Workspace

__all__ = ["Session", "event_loop", "openings"]

# Attempts that are read from the journal at once; few where runs share it, since they are claimed and runs share a host's photos.
_OPENED_AT_ONCE, _SHARED_AT_ONCE = 128, 16


def openings(recipe: Recipe, journal: Journal, settings: Settings, clock: Clock) -> list[Opening]:
    """Return what each source of a recipe is opened with."""
    agent = user_agent(settings.contact, recipe.sources)
    return [Opening(spec, recipe, Ledger(journal, spec, clock), clock, agent) for spec in recipe.sources]


def event_loop() -> asyncio.AbstractEventLoop:
    """Return a new event loop: uvloop's, which takes less CPU, where it is installed."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop()
    return uvloop.new_event_loop()


class Session:
    """Fetches rounds of pending candidates and keeps the tally over all of them.

    Parameters
    ----------
    recipe, workspace, settings, clock
        Of the run.
    life : Life
        This run among others.
    """

    def __init__(self, recipe: Recipe, workspace: Workspace, *, settings: Settings, clock: Clock, life: Life) -> None:
        self._recipe = recipe
        self._workspace = workspace
        self._settings = settings
        self._clock = clock
        self._life = life
        workspace.blobs.writer = life.run
        self._claims = Claims(workspace.journal, life, clock.now())
        withdrawn = {row["photo_id"] for row in workspace.journal.rows("withdrawals")}
        self._store = Store(workspace, withdrawn, self._claims.storing)
        self._openings = openings(recipe, workspace.journal, settings, clock)
        self._local: dict[str, LocalSource] = {}
        self._tally = Tally()

    @property
    def elsewhere(self) -> set[str]:
        """Candidates that were asked of this run, and that another run holds or has made."""
        return set(self._claims.elsewhere)

    def reconcile(self) -> Reconciled:
        """Finish and record what dead runs left in the store."""
        with DecoderPool(self._settings.workers) as pool:
            living = self._life.living()
            return adopt(self._workspace, now=self._clock.now(), look=lambda data: look_at(data, pool), living=living)

    def fetch(self, chosen: Sequence[Pending]) -> Tally:
        """Fetch what is this run's to fetch and return what happened so far."""
        self._claims.elsewhere.clear()
        if chosen:
            self._life.sign()
            # What was imported stays: the collector need not walk through it again every few thousand photos.
            gc.freeze()
            try:
                with asyncio.Runner(loop_factory=event_loop) as runner:
                    self._tally += runner.run(self._fetch(chosen))
            finally:
                gc.unfreeze()
                for opening in self._openings:
                    opening.ledger.close()
        return self._tally

    def wait_for_silent_runs(self) -> None:
        """Wait until runs that show no sign of life count as dead; at most the lease, counted from this run's beginning."""
        while left := self._life.patience_left():
            time.sleep(min(left, self._life.between_signs))
            self._life.sign()
            self._life.look()
        self._life.judge()

    async def _fetch(self, chosen: Sequence[Pending]) -> Tally:
        self._open_local(chosen)
        queues: dict[str, deque[Pending]] = {}
        for item in chosen:
            queues.setdefault(self._queue_of(item), deque()).append(item)
        ledgers = {opening.spec.name: opening.ledger for opening in self._openings}
        client = PhotoClient(
            self._recipe.sources, ledgers, clock=self._clock, agent=self._openings[0].agent, limits=Limits()
        )
        closed = closed_hosts(self._workspace.journal, now=self._clock.now())
        with bar() as progress, DecoderPool(self._settings.workers) as pool:
            task = progress.add_task("Fetching photos", total=len(chosen))
            async with client:
                client.close_lanes(closed)
                hands = Hands(
                    open=self._open,
                    get=lambda attempt, visit: self._get(client, attempt, visit),
                    look=lambda data: looked_at(data, pool),
                    commit=self._store.commit,
                    clock=self._clock,
                    advance=lambda: progress.advance(task),
                    sign=self._life.sign,
                    between_signs=self._life.between_signs if self._life.shared else 0.0,
                )
                crew = Crew(hands, opened_at_once=_SHARED_AT_ONCE if self._life.shared else _OPENED_AT_ONCE)
                return await crew.work(queues, {host: self._at_once(host, queue) for host, queue in queues.items()})

    def _open(self, items: list[Pending]) -> list[Attempt]:
        """Claim some attempts and read their candidates."""
        ours = self._claims.take(items)
        rows = load(self._workspace.journal, ours)
        return [Attempt(rows[item.candidate_id], item.attempt, item.order, self._clock.now()) for item in ours]

    def _open_local(self, chosen: Sequence[Pending]) -> None:
        asked = {item.source for item in chosen}
        for opening in self._openings:
            if opening.spec.name in asked:
                source = open_source(opening)
                if isinstance(source, LocalSource):
                    self._local[opening.spec.name] = source

    def _queue_of(self, item: Pending) -> str:
        return f"{item.source}/" if item.source in self._local else host_of(item.url)

    def _at_once(self, host: str, queue: deque[Pending]) -> int:
        if host.endswith("/"):
            return self._settings.workers + 1
        names = {item.source for item in queue}
        return max(spec.in_flight for spec in self._recipe.sources if spec.name in names)

    async def _get(self, client: PhotoClient, attempt: Attempt, visit: Visit) -> bytes:
        source = self._local.get(visit.source)
        if source is None:
            data = await client.get(attempt.candidate["url"], visit)
        else:
            data = await asyncio.to_thread(source.read, attempt.candidate["native_id"], most=client.limits.most_bytes)
        require_stated(attempt.candidate, data)
        return data
