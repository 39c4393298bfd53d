"""How often a host is asked and what it may answer to stop us: pacing, Retry-After, opt-outs, our name.

Decides waits and refusals from answers; sends nothing itself. `robots` decides paths, `budget` the sums that hold across
restarts. A `Lane` paces one host for all sources of a run.
"""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TypeVar

from counteranimal import __version__
from counteranimal.crawl.outcome import Postponed, Unreachable
from counteranimal.errors import Reason, UsageError
from counteranimal.recipe import SourceSpec

__all__ = ["AGENT", "LONGEST_WAIT", "Clock", "Lane", "backoff", "opted_out", "retry_after", "user_agent"]

Permit = TypeVar("Permit")

AGENT = "counteranimal"
LONGEST_WAIT = 600.0
"""Seconds a run waits for a host; a longer Retry-After puts the photo off to a later run."""

_FAULTS = 5
_MARGIN = 0.02
_CENTURY = timedelta(days=36500)
_OPT_OUT = frozenset({"noai", "noimageai", "noindex", "noimageindex", "none"})
# Directives that carry a value, and so have a colon that names no crawler.
_VALUED = frozenset({"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"})


class Clock:
    """The moment of the run: a given start plus the time that has passed, so that a jumping wall clock does not matter."""

    def __init__(self, start: datetime) -> None:
        self._start = start.astimezone(UTC)
        self._since = time.monotonic()

    def now(self) -> datetime:
        """Return the current moment, aware, in UTC."""
        return self._start + timedelta(seconds=time.monotonic() - self._since)


def user_agent(contact: str, specs: Iterable[SourceSpec]) -> str:
    """Return the User-Agent: project, version and how to reach whoever runs the crawl.

    Raises
    ------
    UsageError
        If a source asks hosts of other people and no contact is set.
    """
    contact = " ".join(contact.split())
    if not contact.isascii() or any(sign in contact for sign in "()<>"):
        raise UsageError("setting contact: use a plain e-mail address or page in ASCII; mend COUNTERANIMAL_CONTACT")
    if not contact and any(spec.hosts for spec in specs):
        raise UsageError(
            "a crawl of other people's servers says who runs it; set COUNTERANIMAL_CONTACT to an e-mail address or page"
        )
    return f"{AGENT}/{__version__} ({contact or 'loopback only'})"


def retry_after(value: str | None, now: datetime) -> float | None:
    """Return the seconds that a Retry-After header asks for, or None where it is missing, negative or no such thing.

    Examples
    --------
    >>> moment = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
    >>> retry_after("3", moment), retry_after("Sun, 01 Nov 2026 12:00:30 GMT", moment)
    (3.0, 30.0)
    >>> retry_after("-3", moment) is retry_after("abc", moment) is retry_after(None, moment) is None
    True
    """
    text = (value or "").strip()
    if re.fullmatch(r"[0-9]{1,18}", text):
        return min(float(text), _CENTURY.total_seconds())
    try:
        moment = parsedate_to_datetime(text)
    except (TypeError, ValueError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    seconds = (moment - now).total_seconds()
    return seconds if seconds >= 0 else None


def backoff(attempt: int, rng: random.Random, *, base: float = 1.0, cap: float = 60.0) -> float:
    """Return the seconds to wait after the `attempt`-th try (1, 2, ...): uniform between 0 and a doubling bound (full jitter)."""
    return rng.uniform(0, min(cap, base * 2.0 ** (attempt - 1)))


def opted_out(values: Iterable[str], agent: str = AGENT) -> bool:
    """Say whether X-Robots-Tag headers forbid keeping this photo for a data set.

    A directive binds when it names no crawler or this one. `noindex` counts: who wants not to be listed does not want to be
    in a published benchmark either.

    Examples
    --------
    >>> opted_out(["NoAI"]), opted_out(["otherbot: noindex, nofollow"]), opted_out(["counteranimal: noimageai"])
    (True, False, True)
    """
    for value in values:
        binds = True
        for part in value.casefold().split(","):
            name, colon, rest = (piece.strip() for piece in part.partition(":"))
            if colon and name not in _VALUED:
                binds = name in {agent, "*"}
                name = rest
            if binds and name in _OPT_OUT:
                return True
    return False


class Lane:
    """One host's turn: at most `in_flight` requests at a time, departures at least `interval` seconds apart.

    A lane that was told to wait (Retry-After) holds everything; one whose host fails five times in a row is given up for the
    run. Times inside are of the event loop.
    """

    def __init__(self, host: str, *, interval: float, in_flight: int) -> None:
        self.host = host
        self.interval = interval
        self.closed_until: datetime | None = None
        self._slots = asyncio.Semaphore(in_flight)
        self._departure = asyncio.Lock()
        self._next = 0.0
        self._faults = 0
        self._out = 0
        self._back = asyncio.Event()

    @asynccontextmanager
    async def turn(self, permit: Callable[[], Awaitable[Permit]]) -> AsyncIterator[Permit]:
        """Hold one of the lane's places and yield the permit; the body sends its request at once.

        `permit` is awaited inside the departure, so that nothing delays the request after its moment was fixed.

        Raises
        ------
        Postponed
            If the host asked for a longer wait than a run makes.
        Unreachable
            If the host has been given up.
        """
        async with self._slots:
            async with self._departure:
                await self._until_next()
                permitted = await permit()
                self._refuse_when_shut()
                if self.interval:
                    self._next = asyncio.get_running_loop().time() + self.interval + _MARGIN
                self._out += 1
            try:
                yield permitted
            finally:
                self._out -= 1
                self._back.set()

    async def _until_next(self) -> None:
        self._refuse_when_shut()
        loop = asyncio.get_running_loop()
        while (wait := self._next - loop.time()) > 0:  # noqa: ASYNC110 - the moment may move while this sleeps
            await asyncio.sleep(wait)
        # A host that has failed is not asked more often than it may fail: those under way are waited for.
        while 0 < self._faults < _FAULTS <= self._faults + self._out:
            self._back.clear()
            await self._back.wait()
        self._refuse_when_shut()

    def _refuse_when_shut(self) -> None:
        if self.closed_until is not None:
            raise Postponed(Reason.RATE, self.closed_until, f"{self.host} asked to wait")
        if self._faults >= _FAULTS:
            raise Unreachable(self.host)

    def pause(self, seconds: float) -> None:
        """Let nothing depart for so long; a pause never shortens another."""
        self._next = max(self._next, asyncio.get_running_loop().time() + seconds)

    def close(self, until: datetime) -> None:
        """Let nothing depart for the rest of the run."""
        self.closed_until = max(until, self.closed_until or until)

    def slow_down(self, interval: float) -> None:
        """Widen the interval, as robots.txt may ask."""
        self.interval = max(self.interval, interval)

    def note(self, *, fault: bool) -> None:
        """Count a failure to connect or answer; an answer of any status forgives the earlier ones."""
        self._faults = self._faults + 1 if fault else 0
