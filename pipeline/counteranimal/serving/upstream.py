"""The sample upstream: the demo's photos behind iNaturalist's API v1, on loopback only.

Decides addresses, photo sizes and when the server runs. Leaves filters and pages to `answers` and the photos to `sample`. The
truth table lies beside the photos and has no address here.

::

    GET /v1/observations      id_above, id_below, taxon_id, taxon_name, quality_grade, license, photo_license, photos, order_by,
                              order, page, per_page (at most 200)
    GET /v1/taxa, /v1/taxa/autocomplete, /v1/taxa/ID
    GET /photos/ID/SIZE.jpg   square, small, medium, large, original
    GET /robots.txt
"""

from __future__ import annotations

import asyncio
import io
from collections import deque
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Self

from aiohttp import web
from PIL import Image, ImageOps

from counteranimal.serving.answers import Answers
from counteranimal.serving.composites import jpeg_bytes
from counteranimal.serving.loopback import ThreadedServer
from counteranimal.serving.sample import open_sample

__all__ = ["DEFAULT_PORT", "SampleUpstream"]

DEFAULT_PORT = 8183
_HOST = "127.0.0.1"
_SIDES = {"square": 75, "small": 240, "medium": 500, "large": 1024, "original": 2048}
_ROBOTS = "User-agent: *\nDisallow: /users/\nAllow: /photos/\n"
_REMEMBERED = 100_000

_Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class SampleUpstream:
    """The sample of one folder as a server in a thread: `with SampleUpstream(folder) as upstream: upstream.url`.

    Parameters
    ----------
    folder : Path
        What `build_sample` filled.
    port : int
        0 takes a free one; recipes name exact ports, so `DEFAULT_PORT` is what the demo's recipe says.

    Raises
    ------
    EnvironmentFailure
        If the folder holds no finished sample, or on start if the port is taken.
    """

    def __init__(self, folder: Path, *, port: int = 0) -> None:
        self.index = open_sample(folder)
        self._answers = Answers(self.index)
        self.requests: deque[str] = deque(maxlen=_REMEMBERED)
        self._server = ThreadedServer(self._application, host=_HOST, port=port, what="the sample upstream")

    @property
    def url(self) -> str:
        """Return the upstream's address, such as `http://127.0.0.1:8183`."""
        return self._server.url

    @property
    def port(self) -> int:
        """Return the port; known once started."""
        return self._server.port

    def __enter__(self) -> Self:
        self._server.start()
        return self

    def __exit__(self, *reason: object) -> None:
        self._server.stop()

    def _application(self) -> web.Application:
        application = web.Application(middlewares=[self._remember])
        application.router.add_get("/v1/observations", self._observations)
        application.router.add_get("/v1/taxa", self._taxa)
        application.router.add_get("/v1/taxa/autocomplete", self._taxa)
        application.router.add_get(r"/v1/taxa/{id:\d{1,12}}", self._taxon)
        application.router.add_get(r"/photos/{id:\d{1,12}}/{size:[a-z]+}.jpg", self._photo)
        application.router.add_get("/robots.txt", self._robots)
        return application

    @web.middleware
    async def _remember(self, request: web.Request, handler: _Handler) -> web.StreamResponse:
        # What was asked, in order: lets a test see that a second run asks for nothing again.
        self.requests.append(f"{request.method} {request.path_qs}")
        return await handler(request)

    async def _observations(self, request: web.Request) -> web.StreamResponse:
        try:
            content = self._answers.observations(request.query, base_url=self.url)
        except ValueError as error:
            return web.json_response({"error": str(error), "status": 422}, status=422)
        return web.json_response(content)

    async def _taxa(self, request: web.Request) -> web.StreamResponse:
        try:
            return web.json_response(self._answers.taxa(request.query))
        except ValueError as error:
            return web.json_response({"error": str(error), "status": 422}, status=422)

    async def _taxon(self, request: web.Request) -> web.StreamResponse:
        return web.json_response(self._answers.taxon(int(request.match_info["id"])))

    async def _robots(self, request: web.Request) -> web.StreamResponse:
        del request
        return web.Response(text=_ROBOTS)

    async def _photo(self, request: web.Request) -> web.StreamResponse:
        photo_id, size = int(request.match_info["id"]), request.match_info["size"]
        if photo_id not in self.index.sizes or size not in _SIDES:
            raise web.HTTPNotFound
        data = await asyncio.to_thread(_sized, self.index.file(photo_id), size)
        return web.Response(body=data, content_type="image/jpeg", headers={"X-Content-Type-Options": "nosniff"})


def _sized(path: Path, size: str) -> bytes:
    """Return the photo at most as large as `size` says; a photo that fits is served as it is, byte for byte."""
    data = path.read_bytes()
    photo: Image.Image = Image.open(io.BytesIO(data), formats=("JPEG",))
    side = _SIDES[size]
    if size == "square":
        return jpeg_bytes(ImageOps.fit(photo.convert("RGB"), (side, side), Image.Resampling.LANCZOS))
    if max(photo.size) <= side:
        return data
    photo = photo.convert("RGB")
    photo.thumbnail((side, side), Image.Resampling.LANCZOS)
    return jpeg_bytes(photo)
