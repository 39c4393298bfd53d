"""A site of photos that come slowly, its list of addresses and a recipe for it: a crawl that lasts as long as a test wants."""

from __future__ import annotations

import asyncio
from pathlib import Path

from aiohttp import web

from tests.fakes.crawled_site import CrawledSite, jpeg

RECIPE = """
name = "listed"
[licences]
allow = ["CC0-1.0"]
[[sources]]
name = "site"
kind = "url-list"
loopback = ["{pair}"]
requests_per_minute = 10000000
requests_per_day = 100000000
interval_seconds = 0.0
in_flight = 1
[sources.options]
list = "photos.csv"
label = "class"
licence = "licence"
[[classes]]
id = "dog"
name = "dog"
imagenet = [207]
labels = ["dog"]
"""


class ListedSite(CrawledSite):
    """A site that serves /<n>.jpg, one at a time, each after `seconds`, which a test may change while a crawl goes on."""

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__()
        self.seconds = seconds

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        answer = await super()._handle(request)
        if not request.path.endswith(".jpg"):
            return answer
        await asyncio.sleep(self.seconds)
        return web.Response(body=jpeg(int(request.path.strip("/").removesuffix(".jpg"))))

    def photos(self) -> list[str]:
        """The photos asked for, in order."""
        return [path for path in self.paths() if path.endswith(".jpg")]

    def recipe(self, folder: Path, number: int) -> Path:
        """Write the list of so many photos and its recipe, and return the recipe."""
        return recipe_of(folder, self.pair, number)


def recipe_of(folder: Path, pair: str, number: int) -> Path:
    """Write a list of so many photos at host:port and its recipe, and return the recipe."""
    rows = [f"http://{pair}/{index}.jpg,dog,CC0-1.0" for index in range(1, number + 1)]
    (folder / "photos.csv").write_text("\n".join(["url,class,licence", *rows]) + "\n", encoding="utf-8")
    path = folder / "recipe.toml"
    path.write_text(RECIPE.format(pair=pair), encoding="utf-8")
    return path
