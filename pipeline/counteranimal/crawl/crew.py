"""Runs the fetches: a few workers a host, decoding beside them, commits in groups, and a stop that loses nothing.

Decides concurrency and what happens on a signal, a full disk or a spent budget: take no new work, commit what is done, say
what is left. Leaves how one photo is got to `fetch` and the sources, and how it is kept to `intake`.
"""

from __future__ import annotations

import asyncio
import signal
import threading
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Self

from counteranimal.crawl.budget import BudgetSpent
from counteranimal.crawl.intake import GROUP_BYTES, GROUP_ITEMS, Attempt
from counteranimal.crawl.outcome import Faulty, Postponed, Unreachable, Visit
from counteranimal.crawl.pending import Pending
from counteranimal.crawl.politeness import Clock
from counteranimal.errors import EnvironmentFailure, Reason, Rejected
from counteranimal.images import ImageInfo

__all__ = ["MOST_AT_ONCE", "Crew", "Tally"]

MOST_AT_ONCE = 24
"""Photos held in memory while they are fetched and decoded; times the size cap this bounds the run's memory."""

_GRACE = 3.0
_LAST_TRUNCATED = 3


@dataclass(slots=True)
class Tally:
    """What a run did: attempts by status, hosts that did not answer, the first budget that was spent, a signal's name."""

    statuses: Counter[str] = field(default_factory=Counter)
    unreachable: Counter[str] = field(default_factory=Counter)
    postponed: dict[str, str] = field(default_factory=dict)
    spent: str = ""
    stopped: str = ""

    def __iadd__(self, other: Tally) -> Self:
        """Add what another round did."""
        self.statuses += other.statuses
        self.unreachable += other.unreachable
        self.postponed = {**other.postponed, **self.postponed}
        self.spent, self.stopped = self.spent or other.spent, self.stopped or other.stopped
        return self


@dataclass(frozen=True, slots=True)
class Hands:
    """What the crew works with: open what is pending, get bytes, look at them, commit a group; and clock, progress, signs of life.

    `open` returns the attempts that are this run's to make, `commit` those that were recorded. `sign` is called every `between_signs` seconds.
    """

    open: Callable[[list[Pending]], list[Attempt]]
    get: Callable[[Attempt, Visit], Awaitable[bytes]]
    look: Callable[[bytes], Awaitable[ImageInfo]]
    commit: Callable[[list[Attempt]], list[Attempt]]
    clock: Clock
    advance: Callable[[], None]
    sign: Callable[[], None] = lambda: None
    between_signs: float = 0.0


class _Queue:
    """What is pending for one host, opened a few at a time."""

    def __init__(
        self, waiting: deque[Pending], open_some: Callable[[list[Pending]], list[Attempt]], at_once: int
    ) -> None:
        self._waiting = waiting
        self._at_once = at_once
        self._open = open_some
        self._ready: deque[Attempt] = deque()
        self._opening = asyncio.Lock()

    def __len__(self) -> int:
        return len(self._waiting) + len(self._ready)

    async def next(self) -> Attempt | None:
        """Return the next attempt of this run, None when nothing is left."""
        async with self._opening:
            while not self._ready and self._waiting:
                some = [self._waiting.popleft() for _ in range(min(self._at_once, len(self._waiting)))]
                self._ready.extend(await asyncio.to_thread(self._open, some))
            return self._ready.popleft() if self._ready else None


class Crew:
    """Works off queues of attempts, one queue a host; used once.

    Parameters
    ----------
    hands : Hands
        See there.
    opened_at_once : int
        Attempts of a queue that are claimed and read from the journal together.
    """

    def __init__(self, hands: Hands, *, opened_at_once: int) -> None:
        self._hands = hands
        self._opened_at_once = opened_at_once
        self._room = asyncio.Semaphore(MOST_AT_ONCE)
        self._done: asyncio.Queue[Attempt | None] = asyncio.Queue(MOST_AT_ONCE)
        self._stop = asyncio.Event()
        self.tally = Tally()

    async def work(self, queues: Mapping[str, deque[Pending]], at_once: Mapping[str, int]) -> Tally:
        """Fetch everything in the queues, `at_once[host]` at a time of a host, and return what happened.

        Raises
        ------
        EnvironmentFailure
            If photos cannot be stored or recorded; groups committed before stay.
        """
        with self._signals():
            committer = asyncio.create_task(self._commit_groups())
            crew = []
            for host, waiting in queues.items():
                queue = _Queue(waiting, self._hands.open, self._opened_at_once)
                crew += [asyncio.create_task(self._serve(queue)) for _ in range(min(at_once[host], len(queue)))]
            alive = asyncio.create_task(self._show_life())
            try:
                await self._until_done([*crew], committer, alive)
            finally:
                for task in (*crew, alive):
                    task.cancel()
                outcomes = await asyncio.gather(*crew, return_exceptions=True)
                outcomes += await asyncio.gather(alive, return_exceptions=True)
                # The committer may die with its queue full, so that nobody would ever take the end from it.
                end = asyncio.create_task(self._done.put(None))
                await asyncio.wait([committer, end], return_when=asyncio.FIRST_COMPLETED)
                await asyncio.wait([committer])
                end.cancel()
            committer.result()
            for outcome in outcomes:
                if isinstance(outcome, Exception):
                    raise outcome
        return self.tally

    async def _show_life(self) -> None:
        while self._hands.between_signs:
            await asyncio.sleep(self._hands.between_signs)
            await asyncio.to_thread(self._hands.sign)

    async def _until_done(
        self, crew: list[asyncio.Task[None]], committer: asyncio.Task[None], alive: asyncio.Task[None]
    ) -> None:
        """Wait for the crew; after a stop only for a moment, and not at all once nothing can be committed or one died."""
        stop = asyncio.create_task(self._stop.wait())
        waiting: set[asyncio.Task[None]] = set(crew)
        try:
            while waiting and not self._stop.is_set() and not committer.done():
                done, _ = await asyncio.wait([*waiting, stop, committer], return_when=asyncio.FIRST_COMPLETED)
                waiting -= done
                if any(task in done and task.exception() is not None for task in crew) or _failed(alive):
                    return
            if waiting and not committer.done():
                await asyncio.wait(waiting, timeout=_GRACE)
        finally:
            stop.cancel()

    async def _serve(self, queue: _Queue) -> None:
        # Only `next` knows when a queue has ended: while its last attempts are being opened, it holds none.
        while not self._stop.is_set():
            async with self._room:
                attempt = await queue.next()
                if attempt is None or self._stop.is_set():
                    return
                if await self._attempt(attempt):
                    await self._done.put(attempt)
                self._hands.advance()

    async def _attempt(self, attempt: Attempt) -> bool:
        """Fill in how the attempt ended; False when it was not made after all and the candidate stays pending."""
        visit = Visit(attempt.candidate["source"])
        try:
            attempt.data = await self._hands.get(attempt, visit)
            attempt.info = await self._hands.look(attempt.data)
            attempt.status = "stored"
        except Rejected as error:
            attempt.status, attempt.reason = "rejected", str(error.reason)
            # A cut body may be whole next time; one that was cut three times is taken for what it is.
            if error.reason is Reason.TRUNCATED and visit.http_status and attempt.number < _LAST_TRUNCATED:
                attempt.status = "failed"
        except Postponed as error:
            attempt.status, attempt.reason, attempt.retry_at = "deferred", str(error.reason), error.until
            self.tally.postponed.setdefault(str(error), error.until.isoformat(timespec="seconds"))
        except Faulty as error:
            attempt.status, attempt.reason = "failed", str(error.reason)
        except Unreachable as error:
            self.tally.unreachable[error.host] += 1
            return False
        except BudgetSpent as error:
            self.tally.spent = self.tally.spent or str(error)
            return False
        if attempt.status != "stored":
            attempt.data = b""
        attempt.http_status = visit.http_status
        attempt.at = self._hands.clock.now()
        return True

    async def _commit_groups(self) -> None:
        """Commit what is done: at once while nothing else is ready, else in groups that share their syncs."""
        while (first := await self._done.get()) is not None:
            group, size, last = [first], len(first.data), False
            # While a group is written, the next gathers; so groups grow with the pressure and no photo waits for others.
            while len(group) < GROUP_ITEMS and size < GROUP_BYTES and not self._done.empty():
                following = self._done.get_nowait()
                if following is None:
                    last = True
                    break
                group.append(following)
                size += len(following.data)
            recorded = await asyncio.to_thread(self._hands.commit, group)
            self.tally.statuses.update(attempt.status for attempt in recorded)
            for attempt in group:
                attempt.data = b""
            if last:
                return

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Let SIGINT and SIGTERM stop the crew; only the main thread may listen to signals."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        heard = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.getsignal(number) for number in heard}
        for number in heard:
            loop.add_signal_handler(number, self._stop_for, number.name)
        try:
            yield
        finally:
            for number in heard:
                loop.remove_signal_handler(number)
                signal.signal(number, before[number])

    def _stop_for(self, name: str) -> None:
        self.tally.stopped = name
        self._stop.set()


def _failed(task: asyncio.Task[None]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is not None


def as_failure(tally: Tally, stored: int, left: int) -> EnvironmentFailure | None:
    """Return the failure that a run ends with although it kept what it did, or None."""
    if tally.stopped:
        return EnvironmentFailure(
            f"stopped by {tally.stopped}: {stored} photos stored, {left} left; run the same command again to finish"
        )
    if tally.spent:
        return EnvironmentFailure(tally.spent)
    if tally.unreachable and not stored:
        host, number = tally.unreachable.most_common(1)[0]
        return EnvironmentFailure(
            f"host {host} does not answer, {number} photos wait for it; check the network and run again"
        )
    return None
