"""Upstream asked again about photos of a coming release: two 404s a day apart make a candidate for removal, a busy server never."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from counteranimal.crawl.recheck import recheck
from counteranimal.errors import UpstreamError, UsageError
from counteranimal.freeze.caveats import rechecked
from counteranimal.ids import photo_id_of
from counteranimal.recipe import Recipe, SourceSpec
from counteranimal.settings import Settings
from counteranimal.workspace import Journal
from counteranimal.workspace.upstream import Standing, standing
from tests.crawl.conftest import NOW, recipe_of, source_of
from tests.fakes.crawled_site import CrawledSite, answer, jpeg

DAY = timedelta(days=1)


@dataclasses.dataclass
class Upstream:
    """A site with photos, a journal that knows them, and a recipe that may ask."""

    site: CrawledSite
    journal: Journal
    spec: SourceSpec
    photos: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def recipe(self) -> Recipe:
        return recipe_of(self.spec)

    def add(self, number: int, **stated: Any) -> str:
        """Serve a photo, journal its candidate, and return its id."""
        data, name = jpeg(number, 48), f"site:{1000 + number}"
        self.site.pages[f"/{number}/medium.jpg"] = answer(data)
        row = {
            "candidate_id": name, "source": "site", "native_id": str(1000 + number), "class_id": "dog", "observation_id": str(number),
            "url": f"{self.site.url}/{number}/medium.jpg", "licence_raw": "cc-by", "licence": "CC-BY-4.0", "author": "ada", "kind": "photo",
            "seen_at": NOW, "status": "ok",
        }  # fmt: skip
        self.journal.append("candidates", [row | stated])
        photo_id = photo_id_of(data)
        self.photos[photo_id] = name
        return photo_id

    def ask(self, now: datetime = NOW, **changes: Any) -> dict[str, int]:
        self.spec = self.spec.model_copy(update=changes)
        settings = Settings(free_space_floor_mb=0, contact="tester@example.org")
        return recheck(self.recipe, self.journal, self.photos, settings=settings, now=now)


@pytest.fixture
def upstream(site: CrawledSite, tmp_path: Path) -> Iterator[Upstream]:
    """Four photos behind an API that states each of them as before."""
    journal = Journal(f"sqlite:///{tmp_path / 'journal.sqlite'}")
    found = Upstream(site, journal, source_of(site))
    site.pages["/v1/observations"] = stating({})
    for number in range(1, 5):
        found.add(number)
    yield found
    journal.close()


def stating(licences: dict[int, str | None], *, without: tuple[int, ...] = ()) -> Any:
    """An API that answers for the observations that are named, with licences of its own."""

    async def handle(request: web.Request) -> web.StreamResponse:
        asked = [int(text) for text in request.query["id"].split(",")]
        results = [
            {
                "id": number, "user": {"id": 5, "login": "ada"}, "taxon": {"name": "Canis"},
                "photos": [
                    {"id": 9, "url": "http://h/other.jpg", "license_code": None},
                    {"id": 1000 + number, "license_code": licences.get(number, "cc-by"), "url": f"http://{request.host}/{number}/square.jpg"},
                ],
            }
            for number in asked
            if number not in without
        ]  # fmt: skip
        return web.json_response({"results": results})

    return handle


@pytest.mark.case("D09")
@pytest.mark.parametrize("status", [404, 410])
def test_gone_is_two_answers_a_day_apart(upstream: Upstream, status: int) -> None:
    """One 404 or 410 is none, nor is a second one 23 hours later, which is not even asked for; the one after a day is."""
    photo_id = next(iter(upstream.photos))
    upstream.site.pages["/1/medium.jpg"] = answer(status=status)
    assert upstream.ask()["gone"] == 1
    assert standing(upstream.journal).gone == frozenset()
    asked = len(upstream.site.paths())
    assert upstream.ask(NOW + timedelta(hours=23))["recent"] == 4
    assert len(upstream.site.paths()) == asked
    assert standing(upstream.journal).gone == frozenset()
    assert upstream.ask(NOW + DAY + timedelta(minutes=1))["gone"] == 1
    assert standing(upstream.journal).gone == {photo_id}


@pytest.mark.case("D09")
def test_a_busy_or_silent_server_says_nothing(upstream: Upstream) -> None:
    """503 for a week makes no candidate, alone or between two 404s; an answer with the bytes forgives an earlier 404."""
    busy, page, photo_id = answer(status=503, Retry_After="7200"), "/1/medium.jpg", next(iter(upstream.photos))
    good = upstream.site.pages[page]
    upstream.photos = {photo_id: upstream.photos[photo_id]}
    for day in range(7):
        upstream.site.pages[page] = busy
        assert upstream.ask(NOW + day * DAY)["deferred"] == 1
    assert (standing(upstream.journal).last, standing(upstream.journal).gone) == ({}, frozenset())
    for day, handler in ((8, answer(status=404)), (9.5, good), (11, answer(status=404))):
        upstream.site.pages[page] = handler
        upstream.ask(NOW + day * DAY)
    assert standing(upstream.journal).last == {photo_id: "gone"}
    assert standing(upstream.journal).gone == frozenset()
    upstream.site.pages[page] = busy
    upstream.ask(NOW + 12.5 * DAY)
    assert standing(upstream.journal).gone == frozenset()
    upstream.site.pages[page] = answer(status=410)
    upstream.ask(NOW + 14 * DAY)
    assert standing(upstream.journal).gone == {photo_id}


def test_a_host_that_asked_for_a_pause_is_left_alone(upstream: Upstream) -> None:
    """A Retry-After of two hours outlives the run that got it; the run after it asks for what is left, and for no more."""
    for number in range(1, 5):
        upstream.site.pages[f"/{number}/medium.jpg"] = answer(status=503, Retry_After="7200")
    assert upstream.ask(in_flight=1)["deferred"] == 4
    assert photos_asked(upstream) == 1
    assert upstream.ask(NOW + timedelta(hours=1))["deferred"] == 4
    assert photos_asked(upstream) == 1
    upstream.ask(NOW + timedelta(hours=3))
    assert photos_asked(upstream) == 2


def photos_asked(upstream: Upstream) -> int:
    return sum(path.endswith(".jpg") for path in upstream.site.paths())


def test_a_spent_budget_goes_on_later(upstream: Upstream) -> None:
    """Four requests a day are the API, robots.txt and two photos; the next day's are the API, robots.txt and the other two."""
    first = upstream.ask(requests_per_day=4)
    assert (first["same"], first["deferred"]) == (2, 2)
    later = upstream.ask(NOW + DAY - timedelta(minutes=1), requests_per_day=8)
    assert (later["same"], later["recent"]) == (2, 2)
    photos = [path for path in upstream.site.paths() if path.endswith(".jpg")]
    assert sorted(photos) == [f"/{number}/medium.jpg" for number in range(1, 5)]


@pytest.mark.case("D09")
def test_licences_are_stated_again(upstream: Upstream) -> None:
    """A licence that was taken back turns the candidate away with E_LICENSE; one that is stated as before changes nothing."""
    before = upstream.journal.position("candidates")
    upstream.site.pages["/v1/observations"] = stating({2: None, 3: "cc0"}, without=(4,))
    counts = upstream.ask()
    assert (counts["licences"], counts["licences_changed"], counts["unstated"]) == (3, 2, 1)
    last = upstream.journal.latest("candidates", "candidate_id")
    told = {name: (row["licence"], row["status"], row["reason"]) for name, row in last.items()}
    assert told["site:1002"] == (None, "rejected", "E_LICENSE")
    assert told["site:1003"][0] == "CC0-1.0"
    assert told["site:1004"] == ("CC-BY-4.0", "ok", None)
    assert len(standing(upstream.journal).licensed) == 3
    assert upstream.journal.position("candidates") > before
    assert "photo_license" not in next(seen.query for seen in upstream.site.seen if "id" in seen.query)


def test_an_api_that_is_down_loses_nothing(upstream: Upstream) -> None:
    """No photo counts as asked for, so that the next run asks for licences and photos again."""
    upstream.site.pages["/v1/observations"] = answer(b"[]")
    with pytest.raises(UpstreamError, match="run again later"):
        upstream.ask()
    upstream.site.pages["/v1/observations"] = stating({})
    assert (upstream.ask()["same"], len(standing(upstream.journal).licensed)) == (4, 4)


def test_other_bytes_opting_out_and_local_photos(upstream: Upstream) -> None:
    """Each has its own status; a photo of the publisher's own folder is not asked for, and an address inside the network never."""
    upstream.site.pages["/1/medium.jpg"] = answer(b"other bytes")
    upstream.site.pages["/2/medium.jpg"] = answer(jpeg(2, 48), X_Robots_Tag="noai")
    upstream.add(5, url="file:dogs/5.jpg", source="elsewhere")
    upstream.add(6, url="http://10.0.0.1/6.jpg")
    counts = upstream.ask()
    assert {name: counts[name] for name in ("same", "changed", "rejected", "local")} == {
        "same": 2, "changed": 1, "rejected": 2, "local": 1,
    }  # fmt: skip
    assert sorted(standing(upstream.journal).reasons.values()) == ["E_MISMATCH", "E_OPTOUT", "E_SSRF"]


def test_who_asks_says_who_it_is(upstream: Upstream) -> None:
    """Other people's hosts are not asked without a contact."""
    spec = upstream.spec.model_copy(update={"hosts": ("photos.example.org",)})
    with pytest.raises(UsageError, match="COUNTERANIMAL_CONTACT"):
        recheck(recipe_of(spec), upstream.journal, upstream.photos, settings=Settings(contact=""), now=NOW)


def test_what_was_not_asked_is_said() -> None:
    """Never asked is "not re-checked"; half asked names the half, and nothing says clean."""
    [never] = rechecked(Standing(), ["a", "b"])
    assert "not re-checked" in never
    stood = Standing(last={"a": "same", "x": "gone"}, at={"a": NOW, "x": NOW - DAY}, licensed=frozenset({"x"}))
    [half] = rechecked(stood, ["a", "b"])
    assert "2026-11-01 and 2026-11-01: of 2 photos 1 there with the same bytes, 1 not re-checked" in half
    assert "again for 0;" in half
    assert "clean" not in never + half
