"""Gets one photo's bytes from the network, or says why not.

Decides what an answer means: which statuses are final, which are tried again, when a body is too large, too slow or cut
short. Redirects are followed by hand, each through the same checks as the first address. Where sockets may lead is decided by
`address`, paths by `robots`, pace by `politeness`, sums by `budget`; what the bytes are is decided at intake.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import TracebackType
from typing import Self, TypeVar

import aiohttp
from yarl import URL

from counteranimal.crawl.address import Asked, Reach, asking, guarded_socket
from counteranimal.crawl.budget import BudgetSpent, Grant, Ledger
from counteranimal.crawl.outcome import Faulty, Postponed, Unreachable, Visit
from counteranimal.crawl.politeness import LONGEST_WAIT, Clock, Lane, backoff, opted_out, retry_after
from counteranimal.crawl.robots import LARGEST, LIFETIME, Robots
from counteranimal.errors import Reason, Rejected
from counteranimal.recipe import SourceSpec

__all__ = ["Limits", "PhotoClient"]

Result = TypeVar("Result")

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_STEP = 1 << 16
_ROBOTS_LATER = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Limits:
    """What one photo may cost: bytes after decompression, seconds, requests."""

    most_bytes: int = 25 * 1024 * 1024
    deadline: float = 60.0
    connect: float = 10.0
    slow_seconds: float = 10.0
    slow_bytes: int = 10 * 1024
    redirects: int = 5
    tries: int = 3
    backoff_base: float = 1.0


class _Again(Exception):  # noqa: N818 - one try out of several, not an error of the run
    """The try failed and may be repeated; `pause` is the host's own word on when."""

    def __init__(self, reason: Reason, detail: str, *, busy: bool = False, pause: float | None = None) -> None:
        super().__init__(detail)
        self.reason = reason
        self.busy = busy
        self.pause = pause


@dataclass(slots=True)
class _Intake:
    """What one request may bring, by its budget, and what it brought."""

    grant: Grant
    source: str
    received: int = 0
    pieces: list[bytes] = field(default_factory=list)

    def add(self, piece: bytes, most: int) -> None:
        """Take a piece in; raises Rejected for a body over `most`, BudgetSpent for one that the budget's end cuts off."""
        self.pieces.append(piece)
        self.received += len(piece)
        if self.received > most:
            raise Rejected(Reason.TOO_LARGE, f"the body has more than {most} bytes")
        # One more piece may be under way already.
        if self.received > self.grant.most_bytes - _STEP:
            raise BudgetSpent.within(self.source)

    def body(self) -> bytes:
        """Return what was taken in."""
        return b"".join(self.pieces)


class PhotoClient:
    """One HTTP session for all photos of a run; use it as an async context manager.

    Parameters
    ----------
    specs : iterable of SourceSpec
        The sources whose photos are asked for; a host shared by two gets the stricter pace.
    ledgers : mapping of str to Ledger
        The budget of each source by name.
    clock, agent
        The run's clock and the User-Agent.
    limits, rng
        Bounds for one photo, and the randomness of waits.
    """

    def __init__(  # noqa: PLR0913 - a session is configured once
        self,
        specs: Iterable[SourceSpec],
        ledgers: Mapping[str, Ledger],
        *,
        clock: Clock,
        agent: str,
        limits: Limits | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._specs = {spec.name: spec for spec in specs}
        self._reach = {name: Reach.of(spec) for name, spec in self._specs.items()}
        self._ledgers = ledgers
        self._clock = clock
        self._agent = agent
        self.limits = limits or Limits()
        self._rng = rng or random.Random()  # noqa: S311 - jitter, no secret
        self._lanes: dict[str, Lane] = {}
        self._robots: dict[tuple[str, str], tuple[float, asyncio.Task[Robots]]] = {}

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, socket_factory=guarded_socket),
            cookie_jar=aiohttp.DummyCookieJar(),
            trust_env=False,
            middlewares=(_once_only,),
            # Photos are compressed already; whatever a server compresses all the same is counted after decompression.
            headers={"User-Agent": self._agent, "Accept": "image/*", "Accept-Encoding": "identity"},
            timeout=aiohttp.ClientTimeout(
                total=None, sock_connect=self.limits.connect, sock_read=self.limits.slow_seconds
            ),
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for _, task in self._robots.values():
            task.cancel()
        await self._session.close()

    def close_lanes(self, until: Mapping[str, datetime]) -> None:
        """Keep away from hosts (`host:port`) that asked an earlier run to wait."""
        for host, moment in until.items():
            self.lane_of(URL(f"http://{host}")).close(moment)

    def lane_of(self, url: URL) -> Lane:
        """Return the lane of a URL's host, made when first asked for."""
        host = f"{url.raw_host}:{url.port}"
        if host not in self._lanes:
            sharing = [
                spec
                for name, spec in self._specs.items()
                if url.raw_host in self._reach[name].hosts
                or self._reach[name].is_loopback_pair(url.raw_host or "", url.port)
            ]
            self._lanes[host] = Lane(
                host,
                interval=max((spec.interval_seconds for spec in sharing), default=1.0),
                in_flight=min((spec.in_flight for spec in sharing), default=1),
            )
        return self._lanes[host]

    async def get(self, address: str, visit: Visit) -> bytes:
        """Return the bytes behind an address, decompressed.

        Raises
        ------
        Rejected
            When the answer is final: E_SSRF, E_SCHEME, E_REDIRECT, E_ROBOTS, E_OPTOUT, E_GONE, E_HTTP, E_TOO_LARGE.
        Postponed
            When the host asks for a longer wait than a run makes, stays busy, or cannot state its robots.txt.
        Faulty
            When connections, bodies or the server failed each time, or the body came too slowly.
        Unreachable
            When the host was given up before, or does not answer at all.
        """
        url = self._reach[visit.source].check(address)
        for _ in range(self.limits.redirects + 1):
            await self._obey_robots(url, visit.source)
            answer = await self._tries(url, visit)
            if isinstance(answer, bytes):
                return answer
            url = self._reach[visit.source].check(answer, came_from=url)
        raise Rejected(Reason.REDIRECT, f"more than {self.limits.redirects} redirects")

    async def _tries(self, url: URL, visit: Visit) -> bytes | URL:
        for attempt in range(1, self.limits.tries + 1):
            try:
                return await self._once(
                    url, visit.source, "photo", lambda answer, intake: self._photo(answer, visit, intake)
                )
            except _Again as again:
                await self._before_next(url, again, attempt)
        raise AssertionError

    async def _before_next(self, url: URL, again: _Again, attempt: int) -> None:
        """Wait as the host or our own backoff says; raise when the tries or the patience of a run are used up."""
        lane = self.lane_of(url)
        now = self._clock.now()
        if again.pause is not None and again.pause > LONGEST_WAIT:
            until = now + timedelta(seconds=again.pause)
            lane.close(until)
            raise Postponed(Reason.RATE, until, str(again)) from again
        wait = backoff(attempt, self._rng, base=self.limits.backoff_base) if again.pause is None else again.pause
        holds_lane = again.busy or again.pause is not None
        if holds_lane:
            lane.pause(wait)
        if attempt == self.limits.tries:
            if again.busy:
                raise Postponed(Reason.RATE, now + timedelta(seconds=LONGEST_WAIT), str(again)) from again
            raise Faulty(again.reason, str(again)) from again
        if not holds_lane:
            await asyncio.sleep(wait)

    async def _once(
        self, url: URL, source: str, kind: str, read: Callable[[aiohttp.ClientResponse, _Intake], Awaitable[Result]]
    ) -> Result:
        """Send one request in its lane's turn and return what `read` makes of the answer."""
        lane = self.lane_of(url)
        async with lane.turn(lambda: self._permit(url, source, kind)) as grant:
            intake = _Intake(grant, source)
            with asking(url, self._reach[source]) as asked:
                try:
                    async with (
                        asyncio.timeout(self.limits.deadline),
                        self._session.get(url, allow_redirects=False) as answer,
                    ):
                        lane.note(fault=False)
                        return await read(answer, intake)
                except (aiohttp.ClientError, OSError, ValueError) as error:
                    raise _translated(error, asked, lane) from error
                finally:
                    self._ledgers[source].give_back(grant, intake.received)

    async def _permit(self, url: URL, source: str, kind: str) -> Grant:
        ledger = self._ledgers[source]
        most = (LARGEST if kind == "robots" else self.limits.most_bytes) + 2 * _STEP
        grant: Grant | float | None = ledger.at_once(kind, most)
        while not isinstance(grant, Grant):
            await asyncio.sleep(grant or 0.0)
            grant = await asyncio.to_thread(ledger.take, url.raw_host or "", kind, most)
        return grant

    async def _photo(self, answer: aiohttp.ClientResponse, visit: Visit, intake: _Intake) -> bytes | URL:
        status = visit.http_status = answer.status
        if opted_out(answer.headers.getall("X-Robots-Tag", [])):
            raise Rejected(Reason.OPTOUT, "the server forbids keeping the photo (X-Robots-Tag)")
        if status in _REDIRECTS:
            return _target(answer)
        if status in {408, 429} or status >= 500:
            pause = retry_after(answer.headers.get("Retry-After"), self._clock.now()) if status in {429, 503} else None
            raise _Again(Reason.HTTP, f"the server answers {status}", busy=status == 429, pause=pause)
        if status in {404, 410}:
            raise Rejected(Reason.GONE, f"the server answers {status}")
        if status != 200:
            raise Rejected(Reason.HTTP, f"the server answers {status}")
        declared = answer.content_length
        if declared is not None and declared > self.limits.most_bytes:
            raise Rejected(Reason.TOO_LARGE, f"the server announces {declared} bytes")
        return await self._body(answer, intake)

    async def _body(self, answer: aiohttp.ClientResponse, intake: _Intake) -> bytes:
        """Read a body piece by piece: no more than the cap after decompression, and never slower than the limit."""
        loop = asyncio.get_running_loop()
        window, seen = loop.time(), 0
        while piece := await answer.content.readany():
            intake.add(piece, self.limits.most_bytes)
            if loop.time() - window >= self.limits.slow_seconds:
                if intake.received - seen < self.limits.slow_bytes:
                    raise Faulty(Reason.TIMEOUT, "the body comes too slowly")
                window, seen = loop.time(), intake.received
        return intake.body()

    async def _obey_robots(self, url: URL, source: str) -> None:
        lane = self.lane_of(url)
        origin = (url.scheme, lane.host)
        now = asyncio.get_running_loop().time()
        made, task = self._robots.get(origin, (0.0, None))
        if task is None or now - made > LIFETIME:
            task = asyncio.create_task(self._read_robots(url.origin(), source))
            self._robots[origin] = (now, task)
        # Shielded: all photos of a host wait for one answer, and one of them giving up must not take it from the others.
        robots = task.result() if task.done() else await asyncio.shield(task)
        if not robots.settled:
            later = self._clock.now() + _ROBOTS_LATER
            raise Postponed(Reason.ROBOTS, later, f"{url.raw_host} cannot state its robots.txt")
        lane.slow_down(robots.delay)
        if not robots.allows(str(url)):
            raise Rejected(Reason.ROBOTS, "robots.txt forbids this address")

    async def _read_robots(self, origin: URL, source: str) -> Robots:
        url = origin / "robots.txt"
        for _ in range(self.limits.redirects + 1):
            for attempt in range(1, self.limits.tries + 1):
                try:
                    answer = await self._once(url, source, "robots", self._robots_answer)
                    break
                except (_Again, Faulty) as error:
                    if isinstance(error, Faulty) or attempt == self.limits.tries:
                        raise Unreachable(f"{origin.raw_host}:{origin.port}") from error
                    await asyncio.sleep(backoff(attempt, self._rng, base=self.limits.backoff_base))
            if isinstance(answer, Robots):
                return answer
            try:
                url = self._reach[source].check(answer, came_from=url)
            except Rejected:
                return Robots.of(None)
        return Robots.of(None)

    async def _robots_answer(self, answer: aiohttp.ClientResponse, intake: _Intake) -> Robots | URL:
        if answer.status in _REDIRECTS:
            return _target(answer)
        if answer.status == 200:
            async for piece in answer.content.iter_chunked(_STEP):
                intake.add(piece, LARGEST + _STEP)
                if intake.received >= LARGEST:
                    break
        return Robots.of(answer.status, intake.body())


async def _once_only(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Keep the library from asking again by itself when a connection breaks: each request has its turn and is counted before it."""
    try:
        return await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise aiohttp.ClientConnectionError(str(error)) from error


def _target(answer: aiohttp.ClientResponse) -> URL:
    """Return where a redirect leads; whether it may be followed is for `Reach.check`."""
    place = answer.headers.get("Location", "")
    if not place:
        raise Rejected(Reason.REDIRECT, "the redirect names no address")
    try:
        return answer.url.join(URL(place))
    except (ValueError, UnicodeError) as error:
        raise Rejected(Reason.REDIRECT, f"the redirect leads nowhere ({error})") from error


def _translated(error: Exception, asked: Asked, lane: Lane) -> Exception:  # noqa: PLR0911 - one line a kind of failure
    """Return what a failure of the HTTP library means here."""
    name = type(error).__name__
    if asked.refused:
        return Rejected(Reason.SSRF, f"{lane.host} leads to {asked.refused[0]}, which is not public")
    if isinstance(error, aiohttp.ClientPayloadError):
        return _Again(Reason.TRUNCATED, "the body ended early")
    if isinstance(error, aiohttp.ClientSSLError):
        lane.note(fault=True)
        return Faulty(Reason.CONNECTION, f"no trusted encrypted connection to {lane.host} ({name})")
    if isinstance(error, TimeoutError) and not isinstance(error, aiohttp.ConnectionTimeoutError):
        return Faulty(Reason.TIMEOUT, f"{lane.host} took too long")
    if isinstance(error, aiohttp.ClientResponseError):
        return Faulty(Reason.HTTP, f"{lane.host} does not speak HTTP ({name})")
    if isinstance(error, ValueError):
        return Rejected(Reason.SSRF, f"the address cannot be asked ({name})")
    lane.note(fault=True)
    return _Again(Reason.CONNECTION, f"{lane.host} does not answer ({name})")
