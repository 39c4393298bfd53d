"""The iNaturalist source against recorded answers and against an upstream that misbehaves."""

from __future__ import annotations

import json
import random
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from counteranimal.crawl.budget import BudgetSpent, Ledger
from counteranimal.crawl.politeness import Clock
from counteranimal.crawl.run import discover
from counteranimal.crawl.snapshot import candidates_table
from counteranimal.crawl.sources import Opening, open_source
from counteranimal.crawl.sources.inaturalist import INaturalistSource
from counteranimal.errors import PolicyError, RecipeError, UpstreamError
from counteranimal.recipe import Licences, RecipeClass, Taxon
from counteranimal.settings import Settings
from counteranimal.workspace import Workspace
from tests.crawl.conftest import AGENT, NOW, recipe_of, source_of
from tests.fakes.crawled_site import CrawledSite, Handler, answer, in_turn, redirect

API = "/v1/observations"


def record(number: int, **changes: Any) -> dict[str, Any]:
    """An observation with one photo, cut down to what is read."""
    photo = {"id": 1000 + number, "license_code": "cc-by", "url": f"http://h/photos/{1000 + number}/square.jpg?1"}
    return {
        "id": number, "uri": f"http://h/observations/{number}", "user": {"id": 5, "login": "ada", "name": None},
        "taxon": {"id": 7, "name": "Canis"}, "photos": [photo], "tags": [], "observed_on": "2026-01-01",
        "location": "1.5,2.5", "geojson": {"coordinates": [2.5, 1.5]}, **changes,
    }  # fmt: skip


def listing(records: list[dict[str, Any]]) -> Handler:
    """An upstream that filters by id_above and pages, as the real one does."""

    async def handle(request: web.Request) -> web.StreamResponse:
        above, most = int(request.query["id_above"]), int(request.query["per_page"])
        found = [item for item in sorted(records, key=lambda item: item["id"]) if item["id"] > above]
        return web.json_response({"total_results": len(found), "results": found[:most]})

    return handle


def source(site: CrawledSite, workspace: Workspace, *, allow: tuple[str, ...] | None = None, **options: Any) -> Any:
    spec = source_of(site, options={"base_url": site.url, **options})
    more = {"licences": Licences(allow=allow)} if allow else {}
    clock = Clock(NOW)
    return open_source(Opening(spec, recipe_of(spec, **more), Ledger(workspace.journal, spec, clock), clock, AGENT))


def offered(source: INaturalistSource, cursor: str = "") -> list[Any]:
    return [offer for page in source.pages(cursor) for offer in page.offers]


@pytest.mark.shared
@pytest.mark.parametrize("name", ["get_observations_page1", "get_observations_page2", "get_observations_by_id"])
def test_recorded_answers_are_read(name: str, shared_data: Path, site: CrawledSite, workspace: Workspace):
    """Real answers, with their nulls and unknown fields, become offers under the photo's own licence."""
    text = (shared_data / "upstream/inaturalist/v1" / f"{name}.json").read_text()
    site.pages[API] = in_turn(answer(text.encode()), answer(b'{"results": []}'))
    [offer] = offered(source(site, workspace, photo_size="original"))
    upstream = json.loads(text)["results"][0]
    assert offer.native_id == str(upstream["photos"][0]["id"])
    assert offer.licence_raw == upstream["photos"][0]["license_code"]
    assert offer.observer_id == str(upstream["user"]["id"])
    assert offer.author in {upstream["user"]["name"], upstream["user"]["login"]}
    assert "/original.jp" in offer.url
    assert offer.observed_at.startswith(upstream["observed_on"])
    assert not any(str(upstream["location"]) in str(value) for value in (offer.note, offer.page_url, offer.url))


def test_an_answer_that_the_budget_cuts_off_ends_the_run_and_names_the_source(site: CrawledSite, workspace: Workspace):
    """Near the end of the byte budget a long answer is not asked for again: the run ends, and a later one goes on."""
    site.pages[API] = answer(b" " * 1_000_000)
    spec = source_of(site, options={"base_url": site.url}, bytes_per_hour=600_000)
    clock = Clock(NOW)
    opened = open_source(Opening(spec, recipe_of(spec), Ledger(workspace.journal, spec, clock), clock, AGENT))
    with pytest.raises(BudgetSpent, match=f"source {spec.name}: the byte budget ended"):
        list(opened.pages(""))
    assert len(site.seen) == 1


@pytest.mark.shared
def test_recorded_empty_answer_offers_nothing(shared_data: Path, site: CrawledSite, workspace: Workspace):
    """An answer without records ends the taxon quietly."""
    body = (shared_data / "upstream/inaturalist/v1/get_nonexistent_observation.json").read_bytes()
    site.pages[API] = answer(body)
    assert list(source(site, workspace).pages("")) == []


def test_question_states_taxon_licence_grade_and_order(site: CrawledSite, workspace: Workspace):
    """The upstream is asked for one taxon in order of id, research grade, allowed licences, 200 a page, by name."""
    site.pages[API] = listing([])
    offered(source(site, workspace, allow=("CC-BY-4.0", "CC0-1.0", "CC-BY-3.0")))
    [seen] = site.seen
    assert seen.query == {
        "photos": "true", "order": "asc", "order_by": "id", "quality_grade": "research", "photo_license": "cc-by,cc0",
        "taxon_id": "7", "id_above": "0", "per_page": "200",
    }  # fmt: skip
    assert seen.headers["User-Agent"] == AGENT


def test_unpinned_taxon_is_asked_for_by_name_and_said(site: CrawledSite, workspace: Workspace, settings: Settings):
    """A taxon without an id is asked for by name, and discovery counts it."""
    site.pages[API] = listing([])
    dog = RecipeClass(id="dog", name="dog", imagenet=(207,), taxa=(Taxon(name="Canis lupus"),))
    recipe = recipe_of(source_of(site), classes=(dog,))
    assert discover(recipe, workspace, settings=settings, now=NOW)["unpinned_taxa"] == 1
    assert site.seen[0].query["taxon_name"] == "Canis lupus"


@pytest.mark.case("D02")
def test_photo_licence_decides_not_the_record(site: CrawledSite, workspace: Workspace, settings: Settings):
    """A free record with an unlicensed photo is turned away, an unlicensed record with a free photo is taken."""
    free = [{"id": 1, "license_code": "cc0", "url": "http://h/photos/1/square.jpg"}]
    none = [{"id": 2, "license_code": None, "url": "http://h/photos/2/square.jpg"}]
    site.pages[API] = listing([record(1, license_code=None, photos=free), record(2, license_code="cc0", photos=none)])
    discover(recipe_of(source_of(site)), workspace, settings=settings, now=NOW)
    rows = candidates_table(workspace.journal).to_pylist()
    assert [(row["licence"], row["status"], row["reason"]) for row in rows] == [
        ("CC0-1.0", "ok", None), (None, "rejected", "E_LICENSE"),
    ]  # fmt: skip


@pytest.mark.case("D03")
def test_mixed_licences_of_one_observation_are_decided_per_photo(
    site: CrawledSite, workspace: Workspace, settings: Settings
):
    """Three photos of one observation are three decisions; by default only the first is offered."""
    codes = ["cc-by", None, "cc-by-nd"]
    photos = [
        {"id": n, "license_code": code, "url": f"http://h/photos/{n}/square.jpg"} for n, code in enumerate(codes, 1)
    ]
    site.pages[API] = listing([record(1, photos=photos)])
    spec = source_of(site, options={"base_url": site.url, "photos_per_observation": 5})
    discover(recipe_of(spec), workspace, settings=settings, now=NOW)
    rows = candidates_table(workspace.journal).to_pylist()
    assert [row["status"] for row in rows] == ["ok", "rejected", "rejected"]
    assert {row["observation_id"] for row in rows} == {"1"}
    assert len(offered(source(site, workspace))) == 1


@pytest.mark.case("A26")
def test_nulls_everywhere_are_read(site: CrawledSite, workspace: Workspace):
    """Every field but the record's id may be null; a photo without id or address is passed over."""
    names = ("uri", "user", "taxon", "photos", "tags", "observed_on")
    null_photo = {"id": None, "license_code": None, "url": None}
    site.pages[API] = listing(
        [
            record(1, **dict.fromkeys(names)),
            record(2, photos=[None, null_photo], user={"id": None, "login": None}, tags=[None]),
            record(3, photos=[{**null_photo, "id": 9, "url": "http://h/p.jpg"}], user={}, taxon={}),
        ]
    )
    [offer] = offered(source(site, workspace))
    assert (offer.native_id, offer.author, offer.observer_id, offer.licence_raw) == ("9", None, None, None)


@pytest.mark.case("A26")
@pytest.mark.parametrize(
    "body",
    [
        b"<html>maintenance</html>", b"", b'{"results": [', b"[]", b"null", b"{}", b'{"results": null}', b'{"results": [null]}',
        b'{"results": [{"id": null}]}', b'{"results": [{"id": "x"}]}', b'{"results": [{"id": 9}, {"id": 8}]}', b"[" * 100_000,
        b'{"results": [{"id": 10}]}',
    ],
)  # fmt: skip
def test_bad_answer_names_source_and_cursor_and_keeps_the_cursor(
    body: bytes, site: CrawledSite, workspace: Workspace, settings: Settings
):
    """After one good page a bad answer is an upstream error; the cursor stays behind the good page."""
    first = json.dumps({"results": [record(10), record(11)]}).encode()
    site.pages[API] = in_turn(answer(first), answer(body))
    recipe = recipe_of(source_of(site, options={"base_url": site.url, "per_page": 2}))
    with pytest.raises(UpstreamError, match="source 'site', Canis above id 11"):
        discover(recipe, workspace, settings=settings, now=NOW)
    [row] = workspace.journal.rows("cursors")
    assert json.loads(row["cursor"]) == {"dog/7": [11, 2]}
    assert candidates_table(workspace.journal).num_rows == 2
    site.pages[API] = listing([record(10), record(11), record(12)])
    assert discover(recipe, workspace, settings=settings, now=NOW)["new"] == 1


@pytest.mark.case("A25")
def test_paging_by_id_survives_insertions_and_deletions(site: CrawledSite, workspace: Workspace):
    """50 records inserted and 50 deleted among 10,000 while paging: none skipped and none doubled among those that stayed."""
    # Even numbers exist from the beginning; odd ones come in between, before and behind the page just read.
    records = {number: record(number) for number in range(2, 20_002, 2)}
    moments = random.Random(8)
    gone, came = set(moments.sample(sorted(records), 50)), set(moments.sample(range(1, 20_000, 2), 50))
    changes = [*gone, *came]
    moments.shuffle(changes)

    async def changing(request: web.Request) -> web.StreamResponse:
        response = await listing(list(records.values()))(request)
        for number in [changes.pop() for _ in range(min(2, len(changes)))]:
            if records.pop(number, None) is None:
                records[number] = record(number)
        return response

    site.pages[API] = changing
    found = [int(offer.observation_id) for offer in offered(source(site, workspace, per_page=200))]
    assert changes == []
    assert found == sorted(set(found))
    assert set(range(2, 20_002, 2)) - gone <= set(found) <= set(range(2, 20_002, 2)) | came
    assert 0 < len(came & set(found)) < 50


@pytest.mark.parametrize("status", [429, 503])
def test_retry_after_of_the_api_is_honoured(status: int, site: CrawledSite, workspace: Workspace):
    """The API is asked again after the moment it names."""
    site.pages[API] = in_turn(answer(status=status, Retry_After="1"), listing([record(1)]))
    assert len(offered(source(site, workspace))) == 1
    assert site.seen[1].at - site.seen[0].at >= 1.0


def test_long_retry_after_and_final_statuses_end_the_run(site: CrawledSite, workspace: Workspace):
    """A wait longer than a run makes, a 4xx and a redirect are upstream errors after one request."""
    for handler in (answer(status=429, Retry_After="7200"), answer(status=401), redirect("http://127.0.0.1:1/")):
        site.seen.clear()
        site.pages[API] = handler
        with pytest.raises(UpstreamError, match="cursor stays"):
            offered(source(site, workspace))
        assert len(site.seen) == 1


def test_api_host_outside_the_recipe_is_refused(site: CrawledSite, workspace: Workspace):
    """An API that the source's hosts do not name is not asked."""
    with pytest.raises(PolicyError, match="add the host"):
        offered(source(site, workspace, base_url="https://api.example.org"))
    assert workspace.journal.rows("requests") == []


def test_every_api_request_is_counted_with_its_bytes(site: CrawledSite, workspace: Workspace, settings: Settings):
    """Each question is counted before it is sent, with the bytes that it may bring; in the end only those count that came."""
    site.pages[API] = listing([record(number) for number in range(1, 6)])
    recipe = recipe_of(source_of(site, options={"base_url": site.url, "per_page": 2}, requests_per_minute=60))
    discover(recipe, workspace, settings=settings, now=NOW)
    kinds = [row["kind"] for row in workspace.journal.rows("requests")]
    assert kinds == ["api", "bytes"] * 3
    requests, received = workspace.journal.budget_used("site", NOW - timedelta(days=1))
    assert requests == 3
    assert 100 < received < 100_000


def test_composites_and_a_cap_per_taxon(site: CrawledSite, workspace: Workspace):
    """A tag marks composites, and a taxon stops at the recipe's number of photos, across runs."""
    site.pages[API] = listing([record(number, tags=["Composite"] if number % 2 else []) for number in range(1, 9)])
    opened = source(site, workspace, photos_per_taxon=3, per_page=2)
    pages = list(opened.pages(""))
    assert [offer.kind for page in pages for offer in page.offers] == ["composite", "photo", "composite"]
    assert offered(opened, pages[-1].cursor) == []


def test_recipe_without_any_licence_of_the_upstream_is_refused(site: CrawledSite, workspace: Workspace):
    """A filter that could match nothing is a mistake in the recipe."""
    with pytest.raises(RecipeError, match="no licence that iNaturalist has"):
        source(site, workspace, allow=("GFDL-1.2-only",))
