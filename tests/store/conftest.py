"""What the tests of store and crawl together share: a site of numbered photos, a recipe for it, crawls that are killed."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import pytest
from aiohttp import web

from counteranimal.workspace import Workspace
from tests.fakes.crawled_site import CrawledSite, jpeg

REPOSITORY = Path(__file__).resolve().parents[2]
NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
RECIPE = """
name = "numbered"
[licences]
allow = ["CC0-1.0"]
[[sources]]
name = "site"
kind = "inaturalist"
loopback = ["{pair}"]
requests_per_minute = 10000000
requests_per_day = 100000000
bytes_per_hour = 1000000000000000
bytes_per_day = 1000000000000000
interval_seconds = 0.0
in_flight = 16
[sources.options]
base_url = "http://{pair}"
[[classes]]
id = "dog"
name = "dog"
imagenet = [207]
taxa = [{{ name = "Canis", id = 7 }}]
"""


class NumberedSite(CrawledSite):
    """A site that serves /photos/<n>.jpg for every n while `gate` is set; every fiftieth photo has the bytes of the one before it."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self._drawn: dict[int, bytes] = {}

    def bytes_of(self, number: int) -> bytes:
        """Return the photo of a number."""
        drawn = number - 1 if number % 50 == 0 else number
        if drawn not in self._drawn:
            self._drawn[drawn] = jpeg(drawn)
        return self._drawn[drawn]

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        if request.path in self.pages:
            return await super()._handle(request)
        self.pages_asked.append(request.path)
        if not request.path.startswith("/photos/"):
            return web.Response(status=404)
        await asyncio.to_thread(self.gate.wait)
        return web.Response(body=self.bytes_of(int(request.path.removeprefix("/photos/").removesuffix(".jpg"))))

    @property
    def pages_asked(self) -> list[str]:
        """Every path that was asked for, in order."""
        return self.__dict__.setdefault("_asked", [])

    def photos_asked(self) -> list[str]:
        """The photos asked for, as candidate ids, in order."""
        paths = [path for path in self.pages_asked if path.startswith("/photos/")]
        return [f"site:{path.removeprefix('/photos/').removesuffix('.jpg')}" for path in paths]

    def candidates(self, numbers: range) -> list[dict[str, Any]]:
        """Return the candidates' rows of some photos."""
        return [
            {
                "candidate_id": f"site:{n}", "source": "site", "native_id": str(n), "class_id": "dog",
                "observer_id": str(n % 97), "url": f"{self.url}/photos/{n}.jpg", "licence": "CC0-1.0", "kind": "photo",
                "seen_at": NOW, "status": "ok",
            }
            for n in numbers
        ]  # fmt: skip


@pytest.fixture
def numbered() -> Iterator[NumberedSite]:
    with NumberedSite() as running:
        yield running


@pytest.fixture
def recipe_file(numbered: NumberedSite, tmp_path: Path) -> Path:
    """The recipe of the site."""
    path = tmp_path / "recipe.toml"
    path.write_text(RECIPE.format(pair=numbered.pair), encoding="utf-8")
    return path


class Nursery:
    """One warm process that forks crawls, or what else a program does that takes such orders (see `tests.fakes.killed_crawl`)."""

    def __init__(self, program: str = "tests.fakes.killed_crawl", **order: Any) -> None:
        self._program, self._order = program, order
        self.pid = 0

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            [sys.executable, "-m", self._program],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=REPOSITORY,
        )  # fmt: skip
        return self

    def __exit__(self, *reason: object) -> None:
        if self._process.poll() is None:
            if self.pid and reason[0] is not None:
                self.kill()
            self._process.stdin.close()  # type: ignore[union-attr]
        self._process.wait(30)
        self._process.stdout.close()  # type: ignore[union-attr]

    def begin(self, **order: Any) -> None:
        """Start a crawl; `kill` it or wait for its `end`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({**self._order, **order}) + "\n")
        self._process.stdin.flush()
        self.pid = int(self._process.stdout.readline())

    def kill(self) -> None:
        """Kill the crawl as the kernel would."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def end(self) -> int:
        """Wait for the crawl and return its exit code, negative for a signal."""
        assert self._process.stdout is not None
        code = int(self._process.stdout.readline())
        self.pid = 0
        return code

    def crawl(self, **order: Any) -> int:
        """Start a crawl and wait for it."""
        self.begin(**order)
        return self.end()


@pytest.fixture
def nursery(recipe_file: Path, tmp_path: Path) -> Iterator[Callable[..., Nursery]]:
    """Return a maker of nurseries for the recipe and a home below the test's folder; all are ended afterwards."""
    open_ones: list[Nursery] = []

    def make(home: str = "home", **order: Any) -> Nursery:
        made = Nursery(recipe=str(recipe_file), home=str(tmp_path / home), **order)
        open_ones.append(made.__enter__())
        return made

    yield make
    for made in open_ones:
        made.__exit__(None, None, None)


def workspace_of(tmp_path: Path, home: str = "home", journal: str = "", store: Path | None = None) -> Workspace:
    """Return the workspace that a nursery's crawls use."""
    return Workspace(tmp_path / home, journal, store)
