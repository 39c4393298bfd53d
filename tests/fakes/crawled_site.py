"""A web site on loopback that serves photos and misbehaves on request, and writes down every request it gets.

A real aiohttp server in a thread with its own event loop: what a test sees went over a socket.
"""

from __future__ import annotations

import asyncio
import io
import ssl
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Self

import numpy as np
from aiohttp import web
from PIL import Image

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


def jpeg(seed: int, side: int = 96) -> bytes:
    """A JPEG whose pixels follow from the seed."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 255, (6, 6, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(small).resize((side, side)).save(buffer, "JPEG", quality=90)
    return buffer.getvalue()


def answer(body: bytes = b"", status: int = 200, **headers: str) -> Handler:
    """A handler that always answers the same; header names are written with underscores."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    async def handle(request: web.Request) -> web.StreamResponse:
        return web.Response(body=body, status=status, headers=named)

    return handle


def in_turn(*handlers: Handler) -> Handler:
    """A handler that behaves like each of the given ones in turn, and like the last one from then on."""
    waiting = list(handlers)

    async def handle(request: web.Request) -> web.StreamResponse:
        chosen = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        return await chosen(request)

    return handle


def redirect(place: str, status: int = 302) -> Handler:
    """A redirect to `place`, whatever that is."""
    return answer(status=status, Location=place)


def cut(body: bytes, at: int, *, chunked: bool = False, declared: bool = True, reset: bool = False) -> Handler:
    """A body that ends early: after a declared length, in the middle of chunks, or by closing without any length; `reset` breaks off."""

    async def handle(request: web.Request) -> web.StreamResponse:
        transport = request.transport
        assert transport is not None
        if chunked:
            head, sent = "Transfer-Encoding: chunked\r\n", f"{at:x}\r\n".encode() + body[:at] + b"\r\n"
        else:
            head, sent = (f"Content-Length: {len(body)}\r\n" if declared else ""), body[:at]
        transport.write(
            f"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\n{head}Connection: close\r\n\r\n".encode() + sent
        )
        await asyncio.sleep(0.02)
        transport.abort() if reset else transport.close()
        return web.Response()

    return handle


def raw(*pieces: bytes) -> Handler:
    """An answer sent as it is written here, whatever HTTP says; then the connection closes."""

    async def handle(request: web.Request) -> web.StreamResponse:
        transport = request.transport
        assert transport is not None
        for piece in pieces:
            transport.write(piece)
            await asyncio.sleep(0)
        await asyncio.sleep(0.02)
        transport.close()
        return web.Response()

    return handle


async def gone(request: web.Request) -> web.StreamResponse:
    """Close the connection without a word."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def dripping(piece: bytes = b"x", every: float = 0.05) -> Handler:
    """A body that never ends and comes piece by piece."""

    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(piece)
            await asyncio.sleep(every)

    return handle


@dataclass(frozen=True)
class Seen:
    """One request as the server saw it; `at` is in seconds of a monotonic clock."""

    at: float
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    host: str


class CrawledSite:
    """The site; `pages` maps a path to its handler, everything else is 404. With several `hosts` it listens on as many ports."""

    def __init__(self, certificate: ssl.SSLContext | None = None, *, hosts: int = 1) -> None:
        self._certificate = certificate
        self._hosts = hosts
        self.pages: dict[str, Handler] = {}
        self.seen: list[Seen] = []
        self.in_flight: Counter[str] = Counter()
        self.most_in_flight = 0
        self._ready = threading.Event()

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        assert self._ready.wait(10)
        return self

    def __exit__(self, *reason: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)

    @property
    def pair(self) -> str:
        """The host:port that a recipe opens."""
        return self.pairs[0]

    @property
    def url(self) -> str:
        return f"{'https' if self._certificate else 'http'}://{self.pair}"

    @property
    def port(self) -> int:
        return int(self.pair.rpartition(":")[2])

    def paths(self) -> list[str]:
        """The paths asked for, robots.txt left out."""
        return [seen.path for seen in self.seen if seen.path != "/robots.txt"]

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        application = web.Application()
        application.router.add_route("*", "/{tail:.*}", self._handle)
        runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
        await runner.setup()
        for _ in range(self._hosts):
            await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=self._certificate).start()
        self.pairs = tuple(f"127.0.0.1:{address[1]}" for address in runner.addresses)
        self._ready.set()
        await self._stop.wait()
        await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        host = request.host
        self.seen.append(Seen(time.monotonic(), request.path, dict(request.query), dict(request.headers), host))
        self.in_flight[host] += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight[host])
        try:
            handler = self.pages.get(request.path)
            return await handler(request) if handler else web.Response(status=404)
        finally:
            self.in_flight[host] -= 1
