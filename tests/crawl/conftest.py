"""What the crawl's tests share: a site on loopback, a recipe that may ask it, a client with small limits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from counteranimal.crawl.budget import Ledger
from counteranimal.crawl.fetch import Limits, PhotoClient
from counteranimal.crawl.outcome import Visit
from counteranimal.crawl.politeness import Clock
from counteranimal.recipe import Recipe, RecipeClass, SourceSpec, Taxon
from counteranimal.settings import Settings
from counteranimal.workspace import Journal, Workspace
from tests.fakes.crawled_site import CrawledSite

AGENT = "counteranimal/0 (tester@example.org)"
NOW = datetime(2026, 11, 1, 12, 0, tzinfo=UTC)
QUICK = Limits(deadline=3.0, connect=1.0, slow_seconds=0.5, slow_bytes=1024, backoff_base=0.02, most_bytes=200_000)


@pytest.fixture
def site() -> Iterator[CrawledSite]:
    with CrawledSite() as running:
        yield running


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path / "home", workers=2, free_space_floor_mb=0, contact="tester@example.org")


def source_of(site: CrawledSite, **changes: Any) -> SourceSpec:
    """A source that may ask the site and is not slowed down."""
    given: dict[str, Any] = {
        "name": "site",
        "kind": "inaturalist",
        "options": {"base_url": site.url},
        "loopback": (site.pair,),
        "requests_per_minute": 100_000,
        "requests_per_day": 1_000_000,
        "interval_seconds": 0.0,
    }
    return SourceSpec(**{**given, **changes})


def recipe_of(*sources: SourceSpec, base: Path = Path(), **changes: Any) -> Recipe:
    """A recipe of one class, dog, over the given sources."""
    dog = RecipeClass(id="dog", name="dog", imagenet=(207,), labels=("Dog",), taxa=(Taxon(name="Canis", id=7),))
    return Recipe(**{"name": "test", "classes": (dog,), "sources": sources, "base": base, **changes})


@dataclass(frozen=True)
class Fetching:
    """The real client, for a few addresses or for whatever a test does with it."""

    site: CrawledSite
    journal: Journal

    def __call__(self, *addresses: str, spec: SourceSpec | None = None, limits: Limits = QUICK) -> list[Any]:
        """Fetch addresses with one client and return, for each, its bytes or the exception that ended it."""
        chosen = spec or source_of(self.site)
        return self.with_client(
            lambda client: [client.get(address, Visit(chosen.name)) for address in addresses], chosen, limits
        )

    def with_client(
        self, tasks: Callable[[PhotoClient], Iterable[Awaitable[Any]]], spec: SourceSpec, limits: Limits
    ) -> list[Any]:
        """Run tasks side by side and return their results and exceptions."""
        return asyncio.run(self._run(tasks, spec, limits))

    async def _run(
        self, tasks: Callable[[PhotoClient], Iterable[Awaitable[Any]]], spec: SourceSpec, limits: Limits
    ) -> list[Any]:
        clock = Clock(NOW)
        ledgers = {spec.name: Ledger(self.journal, spec, clock)}
        async with PhotoClient([spec], ledgers, clock=clock, agent=AGENT, limits=limits) as client:
            return list(await asyncio.gather(*tasks(client), return_exceptions=True))


@pytest.fixture
def get(site: CrawledSite, workspace: Workspace) -> Fetching:
    """Fetch addresses; see `Fetching`."""
    return Fetching(site, workspace.journal)


@pytest.fixture
def grown() -> Callable[[], float]:
    """Return a function that says the most memory this process has had since it was last asked, in MB."""
    status, reset = Path("/proc/self/status"), Path("/proc/self/clear_refs")

    def peak() -> float:
        [line] = [line for line in status.read_text().splitlines() if line.startswith("VmHWM")]
        reset.write_text("5")
        return int(line.split()[1]) / 1024

    peak()
    return peak
