"""What the crawl's tests share: a site on loopback, a recipe that may ask it, a client with small limits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
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


@pytest.fixture
def get(site: CrawledSite, workspace: Workspace) -> Callable[..., Any]:
    """Fetch addresses with one client and return, for each, its bytes or the exception that ended it."""

    def fetch(*addresses: str, spec: SourceSpec | None = None, limits: Limits = QUICK) -> list[Any]:
        chosen = spec or source_of(site)
        return asyncio.run(fetch_all(addresses, chosen, workspace.journal, limits))

    return fetch


async def fetch_all(addresses: tuple[str, ...], spec: SourceSpec, journal: Journal, limits: Limits) -> list[Any]:
    clock = Clock(NOW)
    ledgers = {spec.name: Ledger(journal, spec, clock)}
    async with PhotoClient([spec], ledgers, clock=clock, agent=AGENT, limits=limits) as client:
        tasks = [client.get(address, Visit(spec.name)) for address in addresses]
        return list(await asyncio.gather(*tasks, return_exceptions=True))
