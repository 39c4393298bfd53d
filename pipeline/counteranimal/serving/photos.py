"""The photo server: shows annotators' browsers the photos of their round, and nobody anything else.

Decides who sees a photo (a holder of a signed link, and only photos of the allow-list) and what they get (the copy without
metadata, under its real type). Leaves signing to `links`. Refusals say nothing: 403 for a link that does not hold, 404 for a
photo that is not shown.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Collection
from typing import Self

from aiohttp import web

from counteranimal.errors import EnvironmentFailure, IntegrityError, Rejected
from counteranimal.ids import is_photo_id
from counteranimal.images import sniff
from counteranimal.published import published_copy
from counteranimal.serving.links import link_holds, load_secret, signed_link
from counteranimal.serving.loopback import ThreadedServer
from counteranimal.workspace import Workspace

__all__ = ["PhotoServer", "load_secret", "signed_link"]

# The photo is shown inside a page of another origin (Label Studio) and must do nothing but be a picture.
_HEADERS = {
    "Access-Control-Allow-Origin": "*",
    "Cross-Origin-Resource-Policy": "cross-origin",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; sandbox",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "private, max-age=3600",
}
_REFRESH = 10.0


class PhotoServer:
    """A server of the photos of one workspace.

    Use it as a context manager (a thread serves) or call `serve_forever`.

    Parameters
    ----------
    workspace : Workspace
        Where the photos are stored; only read.
    host : str
        Loopback unless annotators sit at other machines.
    port : int
        0 takes a free one.
    secret : bytes
        What links are signed with: `load_secret(workspace.home)`.
    allowed : callable, optional
        Returns the ids of the photos that may be shown now. It is asked again every ten seconds, and at once about a photo that it did
        not name, so that a round planned or closed while the server runs is followed. None shows every stored photo to holders of a
        signed link.
    clock : callable
        Seconds since 1970.
    """

    def __init__(  # noqa: PLR0913 - each is one line of the settings
        self,
        workspace: Workspace,
        *,
        host: str = "127.0.0.1",
        port: int = 8182,
        secret: bytes,
        allowed: Callable[[], Collection[str]] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._workspace = workspace
        self._secret = secret
        self._allowed = allowed
        self._named: frozenset[str] = frozenset()
        self._asked = -_REFRESH
        self._clock = clock
        self._server = ThreadedServer(self._application, host=host, port=port, what="the photo server")

    @property
    def url(self) -> str:
        """Return the server's address, the `base_url` of signed links."""
        return self._server.url

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self._server.stop()

    def serve_forever(self, *, started: Callable[[str], None] | None = None) -> None:
        """Serve until interrupted (Ctrl-C); `started` is told the address once the port is open.

        Raises
        ------
        EnvironmentFailure
            If the port is taken.
        """
        self._server.start()
        if started:
            started(self.url)
        self._server.wait()

    def _application(self) -> web.Application:
        application = web.Application()
        application.router.add_get("/photos/{photo_id}", self._photo)
        return application

    async def _photo(self, request: web.Request) -> web.StreamResponse:
        photo_id = request.match_info["photo_id"]
        expires, signature = request.query.get("expires", ""), request.query.get("signature", "")
        if not link_holds(photo_id, expires, signature, secret=self._secret, now=self._clock()):
            return _refusal(403)
        if not is_photo_id(photo_id):
            return _refusal(404)
        try:
            if not await asyncio.to_thread(self._may_show, photo_id):
                return _refusal(404)
            copy = await asyncio.to_thread(self._copy, photo_id)
        except (EnvironmentFailure, IntegrityError, Rejected, OSError):
            return _refusal(404)
        return web.Response(body=copy, content_type=sniff(copy), headers=_HEADERS)

    def _may_show(self, photo_id: str) -> bool:
        if self._allowed is None:
            return True
        # Only holders of a signed link come this far, so a photo that is not named is rare and may cost a look.
        if photo_id not in self._named or time.monotonic() - self._asked > _REFRESH:
            self._named, self._asked = frozenset(self._allowed()), time.monotonic()
        return photo_id in self._named

    def _copy(self, photo_id: str) -> bytes:
        return published_copy(self._workspace.blobs.read(photo_id))


def _refusal(status: int) -> web.Response:
    return web.Response(status=status, headers={"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store"})
