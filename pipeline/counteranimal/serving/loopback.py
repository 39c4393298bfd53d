"""Runs an aiohttp application in a thread of its own, so that blocking code can use a server and be sure that it ends.

Decides start, port and stop. Leaves what is answered to the application.
"""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

from aiohttp import web

from counteranimal.errors import EnvironmentFailure

__all__ = ["ThreadedServer"]

_START_SECONDS = 30
_GRACE_SECONDS = 2.0


class ThreadedServer:
    """A server between `start` and `stop`, or inside a `with` block.

    Parameters
    ----------
    make : callable
        Builds the application; called in the server's thread.
    host, port
        Where to listen; port 0 takes a free one.
    what : str
        What this serves, for the sentence when the port is taken.
    """

    def __init__(self, make: Callable[[], web.Application], *, host: str, port: int, what: str) -> None:
        self._make = make
        self._what = what
        self.host = host
        self.port = port
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._thread: threading.Thread | None = None
        self._failure: Exception | None = None
        self._ready = threading.Event()

    @property
    def url(self) -> str:
        """Return the server's address, without a slash at the end."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def start(self) -> Self:
        """Listen; returns once the first request can be answered.

        Raises
        ------
        EnvironmentFailure
            If the port is taken or the address is not this machine's.
        """
        self._ready.clear()
        self._thread = threading.Thread(target=self._run, name=self._what, daemon=True)
        self._thread.start()
        if not self._ready.wait(_START_SECONDS):
            raise EnvironmentFailure(f"{self._what} did not start within {_START_SECONDS} s; run again")
        self._raise_failure()
        return self

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            self.stop()
            raise self._explained(failure) from failure

    def stop(self) -> None:
        """Close the port and end the thread; does nothing when it is not running."""
        if self._thread is None:
            return
        if self._loop is not None and self._stopping is not None and self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stopping.set)
        self._thread.join()
        self._thread = None

    def wait(self) -> None:
        """Block until the server ends; an interrupt (Ctrl-C) stops it."""
        try:
            while self._thread is not None and self._thread.is_alive():
                self._thread.join(timeout=0.5)
        except KeyboardInterrupt:
            self.stop()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _explained(self, error: Exception) -> EnvironmentFailure:
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            return EnvironmentFailure(
                f"port {self.port} on {self.host} is taken, so {self._what} cannot start; "
                "end the program that holds it or choose another port"
            )
        return EnvironmentFailure(f"{self._what} cannot listen on {self.host}:{self.port} ({error}); choose another")

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except Exception as error:  # noqa: BLE001 - whatever it is, it is raised again in the thread that waits
            self._failure = error
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        runner = web.AppRunner(self._make(), access_log=None, shutdown_timeout=_GRACE_SECONDS)
        await runner.setup()
        try:
            site = web.TCPSite(runner, self.host, self.port)
            await site.start()
            self.port = runner.addresses[0][1]
            self._ready.set()
            await self._stopping.wait()
        finally:
            await runner.cleanup()
