"""Whole runs: what is stored, what a second run does, what a stop leaves."""

from __future__ import annotations

import asyncio
import io
import os
import random
import signal
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from aiohttp import web
from PIL import Image

from counteranimal import tables
from counteranimal.conservation import Conservation, account
from counteranimal.crawl.adopt import adopt
from counteranimal.crawl.run import discover, fetch_pending, photos_table
from counteranimal.crawl.snapshot import candidates_table, fetches_table
from counteranimal.errors import EnvironmentFailure, UsageError
from counteranimal.ids import photo_id_of
from counteranimal.recipe import Recipe, RecipeClass, Taxon
from counteranimal.settings import Settings
from counteranimal.workspace import Workspace
from tests.crawl.conftest import recipe_of, source_of
from tests.crawl.test_inaturalist import API, listing, record
from tests.fakes.crawled_site import CrawledSite, Handler, answer, cut, in_turn, jpeg

Crawl = Callable[..., dict[str, int]]
SVG = b'<svg xmlns="http://www.w3.org/2000/svg"/>'


def offer(site: CrawledSite, photos: dict[int, Handler | bytes], **changes: Any) -> None:
    """Let the upstream list one record a photo, and serve the photo or behave as told."""
    records = []
    for number, photo in photos.items():
        path = f"/photos/{number}/medium.jpg"
        site.pages[path] = answer(photo) if isinstance(photo, bytes) else photo
        listed = {"id": number, "license_code": "cc-by", "url": f"{site.url}/photos/{number}/square.jpg"}
        records.append(record(number, photos=[listed], user={"id": 100 + number, "login": "ada"}, **changes))
    site.pages[API] = listing(records)


def balance(recipe: Recipe, workspace: Workspace) -> Conservation:
    """The conservation count of the workspace, which must add up."""
    journal = workspace.journal
    photos = photos_table(recipe, journal)
    counted = account(candidates_table(journal), fetches_table(journal), photos, tables.empty("clusters"))
    counted.require_balance()
    return counted


@pytest.fixture
def crawl(workspace: Workspace, settings: Settings, now: datetime) -> Crawl:
    """Discover and fetch, `later` after the fixed moment; other settings are given by name."""

    def both(recipe: Recipe, *, later: timedelta = timedelta(), **options: Any) -> dict[str, int]:
        moment = now + later
        discover(recipe, workspace, settings=settings, now=moment)
        return fetch_pending(recipe, workspace, settings=settings, now=moment, **options)

    return both


@pytest.mark.case("B08")
def test_second_run_downloads_nothing(site: CrawledSite, workspace: Workspace, crawl: Crawl):
    """A finished crawl run again asks for no photo, appends no candidate and leaves the same tables."""
    recipe = recipe_of(source_of(site))
    offer(site, {1: jpeg(1), 2: jpeg(2), 3: answer(status=404)})
    assert crawl(recipe) == {"stored": 2, "rejected": 1, "failed": 0, "deferred": 0, "pending": 0}
    before = photos_table(recipe, workspace.journal), workspace.journal.position("candidates")
    site.seen.clear()
    assert crawl(recipe, later=timedelta(days=7))["stored"] == 0
    assert site.paths() == [API]
    assert (photos_table(recipe, workspace.journal), workspace.journal.position("candidates")) == before
    assert balance(recipe, workspace).sentence() == "discovered 3 = stored 2 + rejected 1 (E_GONE 1)"


def test_stored_photo_has_its_record_and_fold_unit(site: CrawledSite, workspace: Workspace, crawl: Crawl):
    """Bytes lie under their digest with licence and credit beside them; the fold unit is the observer's."""
    recipe = recipe_of(source_of(site))
    offer(site, {1: jpeg(1)})
    crawl(recipe)
    [row] = photos_table(recipe, workspace.journal).to_pylist()
    assert row["photo_id"] == photo_id_of(jpeg(1))
    assert (row["mime"], row["width"], row["height"], row["bytes"]) == ("image/jpeg", 96, 96, len(jpeg(1)))
    assert (row["class_id"], row["fold_unit"], row["candidate_ids"]) == ("dog", "site:observer:101", ["site:1"])
    assert workspace.blobs.read(row["photo_id"]) == jpeg(1)
    side = workspace.blobs.side(row["photo_id"])
    assert (side["licence"], side["attribution"]) == ("CC-BY-4.0", "© ada, some rights reserved (CC BY 4.0)")


@pytest.mark.case("A18")
def test_what_is_no_photo_is_turned_away_by_its_bytes(site: CrawledSite, workspace: Workspace, crawl: Crawl):
    """HTML, SVG, nothing and a pixel are rejected whatever they are called; a JPEG of another type is accepted."""
    recipe = recipe_of(source_of(site))
    offer(
        site,
        {
            1: answer(b"<html>gone</html>", Content_Type="image/jpeg"),
            2: answer(SVG, Content_Type="image/jpeg"),
            3: answer(b""),
            4: jpeg(4, side=1),
            5: answer(jpeg(5), Content_Type="application/octet-stream"),
        },
    )
    assert crawl(recipe)["stored"] == 1
    reasons = {row["candidate_id"]: row["reason"] for row in fetches_table(workspace.journal).to_pylist()}
    assert reasons == {
        "site:1": "E_TYPE", "site:2": "E_TYPE", "site:3": "E_EMPTY", "site:4": "E_TOO_SMALL", "site:5": None,
    }  # fmt: skip
    assert list(workspace.blobs.ids()) == [photo_id_of(jpeg(5))]


@pytest.mark.case("A05")
def test_broken_connection_at_twenty_points_ends_with_the_right_photo(
    site: CrawledSite, workspace: Workspace, crawl: Crawl
):
    """A photo of 200 KB whose connection is reset at a random offset is asked for again: twenty right hashes, no part of one anywhere."""
    whole = noisy(200_000)
    offsets = random.Random(5).sample(range(len(whole)), 20)
    recipe = recipe_of(source_of(site, in_flight=8))
    offer(site, {offset: in_turn(cut(whole, offset, reset=True), answer(whole)) for offset in offsets})
    assert crawl(recipe)["stored"] == 20
    assert {row["photo_id"] for row in fetches_table(workspace.journal).to_pylist()} == {photo_id_of(whole)}
    assert list(workspace.blobs.ids()) == [photo_id_of(whole)]
    assert [path for path in workspace.blobs.root.rglob("*") if path.is_file() and ".tmp" in path.name] == []
    assert len(site.paths()) == 1 + 2 * 20


def noisy(least: int) -> bytes:
    """A JPEG of at least so many bytes."""
    noise = np.random.default_rng(2).integers(0, 255, (480, 480, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).save(buffer, "JPEG", quality=92)
    assert least <= len(buffer.getvalue()) < 2 * least
    return buffer.getvalue()


@pytest.mark.case("A07")
def test_body_cut_without_a_length_is_never_stored(site: CrawledSite, workspace: Workspace, crawl: Crawl):
    """A photo that ends with the connection, at any of fifty points, is found by decoding and asked for again next time."""
    whole = jpeg(1, side=200)
    points = [*random.Random(7).sample(range(4, len(whole) - 3), 47), *range(len(whole) - 3, len(whole))]
    recipe = recipe_of(source_of(site, in_flight=8))
    offer(site, {point: cut(whole, point, declared=False) for point in points})
    assert crawl(recipe)["stored"] == 0
    assert list(workspace.blobs.ids()) == []
    rows = fetches_table(workspace.journal).to_pylist()
    assert len(rows) == len(points)
    assert {row["reason"] for row in rows} <= {"E_TRUNCATED", "E_DECODE"}


@pytest.mark.case("C03")
def test_photo_that_only_looks_damaged_is_suspect_and_takes_no_part(
    site: CrawledSite, workspace: Workspace, crawl: Crawl, now: datetime
):
    """Zeros in the second half are no photo where they prove damage; else the photo is kept, counted, and used for nothing."""
    recipe = recipe_of(source_of(site))
    whole = jpeg(1, side=256)
    proved = whole[: len(whole) // 2] + bytes(len(whole) - len(whole) // 2 - 2) + whole[-2:]
    doubtful = whole[:-2] + bytes(200) + whole[-2:]
    offer(site, {1: whole, 2: proved, 3: doubtful})
    assert crawl(recipe)["stored"] == 2
    said = {
        row["photo_id"]: (row["status"], row["reason"]) for row in photos_table(recipe, workspace.journal).to_pylist()
    }
    assert said == {photo_id_of(whole): ("ok", None), photo_id_of(doubtful): ("suspect", "E_SUSPECT")}
    assert balance(recipe, workspace).sentence() == "discovered 3 = stored 2 (E_SUSPECT 1) + failed 1 (E_TRUNCATED 1)"
    tables.write(workspace.table_path("photos"), photos_table(recipe, workspace.journal))
    assert list(workspace.sound_photos()) == [photo_id_of(whole)]
    # A journal rebuilt from the side records says the same.
    rebuilt = Workspace(workspace.home, f"sqlite:///{workspace.home / 'other.sqlite'}")
    adopt(rebuilt, now=now, look=lambda _: pytest.fail("the side record tells"))
    assert photos_table(recipe, rebuilt.journal).column("status").to_pylist().count("suspect") == 1


@pytest.mark.case("E01")
def test_same_bytes_twice_are_one_photo_of_two_candidates(site: CrawledSite, workspace: Workspace, crawl: Crawl):
    """A duplicate is recorded with its candidate; the photo keeps the fold unit of the one seen first."""
    recipe = recipe_of(source_of(site))
    offer(site, {1: jpeg(1), 2: jpeg(1), 3: jpeg(3)})
    assert crawl(recipe)["stored"] == 3
    photos = {row["photo_id"]: row for row in photos_table(recipe, workspace.journal).to_pylist()}
    twin = photos[photo_id_of(jpeg(1))]
    assert (twin["candidate_ids"], twin["fold_unit"]) == (["site:1", "site:2"], "site:observer:101")
    assert balance(recipe, workspace).states == {"stored": 2, "duplicate": 1}


def test_fold_unit_of_equal_photos_follows_discovery_and_then_stays(
    site: CrawledSite, workspace: Workspace, crawl: Crawl
):
    """A resumed crawl settles on the photo seen first, whichever was stored first; one stored days later moves nothing."""
    recipe = recipe_of(source_of(site))
    flaky = in_turn(*[answer(status=500)] * 3, answer(jpeg(1)))
    offer(site, {1: flaky, 2: in_turn(*[answer(status=500)] * 3, answer(jpeg(1))), 3: jpeg(1)})

    def unit() -> str:
        [row] = photos_table(recipe, workspace.journal).to_pylist()
        return str(row["fold_unit"])

    crawl(recipe, limit=3)
    assert unit() == "site:observer:103"
    crawl(recipe, later=timedelta(hours=1))
    assert unit() == "site:observer:101"
    offer(site, {1: jpeg(1), 2: jpeg(1), 3: jpeg(1), 4: jpeg(1)})
    crawl(recipe, later=timedelta(days=7))
    assert unit() == "site:observer:101"


def test_one_photo_under_two_classes_is_a_conflict(site: CrawledSite, workspace: Workspace, crawl: Crawl):
    """Equal bytes found for two classes are kept as a rejected row with no class."""
    classes = tuple(
        RecipeClass(id=name, name=name, imagenet=(index,), taxa=(Taxon(name=name, id=index),))
        for name, index in (("dog", 207), ("cat", 281))
    )
    offer(site, {1: jpeg(1), 2: jpeg(1)})
    by_taxon = {"207": record(1), "281": record(2)}
    for number, item in ((1, by_taxon["207"]), (2, by_taxon["281"])):
        item["photos"][0].update(id=number, url=f"{site.url}/photos/{number}/square.jpg")

    async def handle(request: web.Request) -> web.StreamResponse:
        return await listing([by_taxon[request.query["taxon_id"]]])(request)

    site.pages[API] = handle
    recipe = recipe_of(source_of(site), classes=classes)
    crawl(recipe)
    [row] = photos_table(recipe, workspace.journal).to_pylist()
    assert (row["status"], row["reason"], row["class_id"]) == ("rejected", "class_conflict", None)
    assert balance(recipe, workspace).states == {"rejected": 2}


def test_failed_is_tried_again_and_rejected_only_on_request(site: CrawledSite, workspace: Workspace, crawl: Crawl):
    """The next run tries failures; turned-away bytes only when asked for; gone, opted-out and refused photos never."""
    recipe = recipe_of(source_of(site))
    flaky = in_turn(*[answer(status=500)] * 3, answer(jpeg(1)))
    offer(site, {1: flaky, 2: b"no photo", 3: answer(status=404), 4: answer(jpeg(4), X_Robots_Tag="noai")})
    assert crawl(recipe) == {"stored": 0, "rejected": 3, "failed": 1, "deferred": 0, "pending": 0}
    site.seen.clear()
    assert crawl(recipe)["stored"] == 1
    assert site.paths()[1:] == ["/photos/1/medium.jpg"]
    site.seen.clear()
    assert crawl(recipe, retry=["rejected"])["rejected"] == 1
    assert site.paths()[1:] == ["/photos/2/medium.jpg"]
    attempts = [
        row["attempt"] for row in fetches_table(workspace.journal).to_pylist() if row["candidate_id"] == "site:2"
    ]
    assert attempts == [1, 2]
    with pytest.raises(UsageError, match="cannot be tried again"):
        crawl(recipe, retry=["stored"])


@pytest.mark.case("A02")
def test_long_retry_after_outlives_the_run(site: CrawledSite, workspace: Workspace, crawl: Crawl):
    """A host that asked for an hour is left alone by later runs, for new photos too, until the hour is over."""
    recipe = recipe_of(source_of(site, in_flight=1))
    offer(site, {1: in_turn(answer(status=429, Retry_After="3600"), answer(jpeg(1))), 2: jpeg(2)})
    assert crawl(recipe)["deferred"] == 2
    offer(site, {1: jpeg(1), 2: jpeg(2), 3: jpeg(3)})
    site.seen.clear()
    assert crawl(recipe, later=timedelta(minutes=30))["deferred"] == 1
    assert site.paths() == [API]
    assert crawl(recipe, later=timedelta(minutes=61))["stored"] == 3
    assert balance(recipe, workspace).states == {"stored": 3}


def test_limit_leaves_the_rest_pending(site: CrawledSite, workspace: Workspace, crawl: Crawl):
    """A limit bounds the attempts of a run, and later runs go on in the order of discovery."""
    recipe = recipe_of(source_of(site))
    offer(site, {number: jpeg(number) for number in range(1, 6)})
    assert crawl(recipe, limit=2)["stored"] == 2
    assert balance(recipe, workspace).states == {"stored": 2, "pending": 3}
    assert crawl(recipe)["stored"] == 3


def test_changed_candidate_is_appended_and_the_last_word_counts(site: CrawledSite, workspace: Workspace, crawl: Crawl):
    """A photo whose licence was taken back upstream is a rejected photo afterwards; the first statement stays in the journal."""
    recipe = recipe_of(source_of(site, options={"base_url": site.url, "photo_size": "medium"}))
    offer(site, {1: jpeg(1)})
    crawl(recipe)
    [row] = workspace.journal.rows("candidates")
    row.pop("position")
    workspace.journal.append("candidates", [{**row, "licence": None, "status": "rejected", "reason": "E_LICENSE"}])
    [photo] = photos_table(recipe, workspace.journal).to_pylist()
    assert (photo["status"], photo["reason"]) == ("rejected", "E_LICENSE")
    assert balance(recipe, workspace).states == {"rejected": 1}
    assert len(workspace.journal.rows("candidates")) == 2


@pytest.mark.case("D07")
def test_withdrawn_photo_does_not_come_back(site: CrawledSite, workspace: Workspace, crawl: Crawl, now: datetime):
    """After a takedown neither the candidate nor equal bytes elsewhere are stored again."""
    recipe = recipe_of(source_of(site))
    offer(site, {1: jpeg(1), 2: jpeg(1), 3: jpeg(3)})
    gone = {"photo_id": photo_id_of(jpeg(1)), "candidate_id": "site:1", "why": "asked", "at": now}
    workspace.journal.append("withdrawals", [gone])
    assert crawl(recipe) == {"stored": 1, "rejected": 1, "failed": 0, "deferred": 0, "pending": 0}
    assert "/photos/1/medium.jpg" not in site.paths()
    assert list(workspace.blobs.ids()) == [photo_id_of(jpeg(3))]


@pytest.mark.case("B09")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_keeps_what_is_done_and_a_second_run_finishes(
    number: signal.Signals, site: CrawledSite, workspace: Workspace, crawl: Crawl
):
    """A stop takes no new work, keeps what is done, ends with exit code 4, and nothing is fetched twice."""
    recipe = recipe_of(source_of(site, in_flight=1))
    photos: dict[int, Handler | bytes] = {number: jpeg(number) for number in range(1, 30)}

    async def stopping(request: web.Request) -> web.StreamResponse:
        os.kill(os.getpid(), number)
        return web.Response(body=jpeg(5))

    before = signal.getsignal(number)
    offer(site, {**photos, 5: stopping})
    with pytest.raises(EnvironmentFailure, match=f"stopped by {number.name}.*run the same command again") as caught:
        crawl(recipe)
    assert caught.value.exit_code == 4
    assert signal.getsignal(number) is before
    done = balance(recipe, workspace).states
    assert done["stored"] >= 4
    assert done["pending"] >= 1
    site.pages["/photos/5/medium.jpg"] = answer(jpeg(5))
    assert crawl(recipe)["stored"] == done["pending"]
    fetched = [path for path in site.paths() if path.startswith("/photos/") and path != "/photos/5/medium.jpg"]
    assert len(fetched) == len(set(fetched)) == 28


def test_store_that_cannot_be_written_ends_the_run_with_nothing_recorded(
    site: CrawledSite, workspace: Workspace, crawl: Crawl
):
    """No row says stored where no bytes are; the same run finishes once the store is mended."""
    recipe = recipe_of(source_of(site, in_flight=8))
    offer(site, {number: jpeg(number) for number in range(1, 61)})
    workspace.blobs.root.write_text("in the way")
    with pytest.raises(EnvironmentFailure, match="cannot be written"):
        crawl(recipe)
    assert workspace.journal.rows("fetches") == workspace.journal.rows("stored") == []
    workspace.blobs.root.unlink()
    assert crawl(recipe)["stored"] == 60


@pytest.mark.case("B05")
def test_nearly_full_disk_refuses_to_start(site: CrawledSite, workspace: Workspace, tmp_path: Path, now: datetime):
    """Below the floor of free space no photo is asked for."""
    settings = Settings(home=tmp_path / "home", free_space_floor_mb=10**12)
    with pytest.raises(EnvironmentFailure, match="disk full"):
        fetch_pending(recipe_of(source_of(site)), workspace, settings=settings, now=now)


@pytest.mark.case("A21")
def test_spent_budget_ends_the_run_and_keeps_what_was_done(site: CrawledSite, workspace: Workspace, crawl: Crawl):
    """With a budget of five requests a day, five are made on one day and the next day goes on."""
    recipe = recipe_of(source_of(site, requests_per_day=5, in_flight=1))
    offer(site, {number: jpeg(number) for number in range(1, 6)})
    with pytest.raises(EnvironmentFailure, match="5 requests a day"):
        crawl(recipe)
    assert len(site.seen) == 5
    assert balance(recipe, workspace).states == {"stored": 3, "pending": 2}
    with pytest.raises(EnvironmentFailure, match="5 requests a day"):
        crawl(recipe, later=timedelta(hours=1))
    assert len(site.seen) == 5
    assert crawl(recipe, later=timedelta(days=2))["stored"] == 2


def test_few_photos_are_asked_for_side_by_side_too(site: CrawledSite, workspace: Workspace, crawl: Crawl):
    """Four photos of a host that allows four at a time are under way together: none is answered before all are asked for."""
    together = asyncio.Barrier(4)

    def waiting(number: int) -> Handler:
        async def handle(request: web.Request) -> web.StreamResponse:
            async with asyncio.timeout(8):
                await together.wait()
            return web.Response(body=jpeg(number))

        return handle

    recipe = recipe_of(source_of(site, in_flight=4))
    offer(site, {number: waiting(number) for number in range(1, 5)})
    assert crawl(recipe)["stored"] == 4


def test_dead_host_says_so_and_leaves_its_photos_pending(site: CrawledSite, workspace: Workspace, crawl: Crawl):
    """When nobody answers, the run names the host and blames no photo."""
    with CrawledSite() as dead:
        pair, url = dead.pair, dead.url
    recipe = recipe_of(source_of(site, loopback=(site.pair, pair)))
    offer(site, {})
    records = [record(n, photos=[{"id": n, "license_code": "cc0", "url": f"{url}/{n}.jpg"}]) for n in range(1, 4)]
    site.pages[API] = listing(records)
    with pytest.raises(EnvironmentFailure, match=f"host {pair} does not answer, 3 photos"):
        crawl(recipe)
    assert balance(recipe, workspace).states == {"pending": 3}


@pytest.mark.case("B10")
def test_upstream_names_never_become_paths(site: CrawledSite, workspace: Workspace, crawl: Crawl, tmp_path: Path):
    """Whatever an address is called, bytes lie under their digest and nothing else is written."""
    recipe = recipe_of(source_of(site))
    names = [
        "..%2f..%2fx.jpg",
        "C%3a%5cx.jpg",
        "CON.jpg",
        "%00.jpg",
        "a%0ab.jpg",
        "-rf.jpg",
        "x" * 300 + ".jpg",
        "%e2%80%8fx.jpg",
    ]

    async def photo(request: web.Request) -> web.StreamResponse:
        return web.Response(body=jpeg(len(request.path)))

    records = []
    for number, name in enumerate(names, 1):
        listed = {"id": number, "license_code": "cc0", "url": f"{site.url}/odd/{name}"}
        records.append(record(number, photos=[listed]))
    site.pages[API] = listing(records)
    site.pages = {**site.pages, **{f"/odd/{name}": photo for name in ("CON.jpg", "-rf.jpg", "x" * 300 + ".jpg")}}
    crawl(recipe)
    assert balance(recipe, workspace).discovered == len(names)
    allowed = {"home"}
    assert {path.name for path in tmp_path.iterdir()} <= allowed
    stored = [path for path in workspace.blobs.root.rglob("*/*") if path.suffix != ".json"]
    assert sorted(path.name for path in stored) == list(workspace.blobs.ids())
