"""Restoring a release's photos: the right bytes or none, as politely as a crawl, and a word on every photo."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from counteranimal.cli import app
from counteranimal.crawl.politeness import Clock
from counteranimal.crawl.restore import Restored, Upstream, counted, restore
from counteranimal.errors import UsageError
from counteranimal.recipe import SourceSpec
from counteranimal.release.layout import MANIFEST
from counteranimal.release.read import open_release
from counteranimal.release.verify import verify
from counteranimal.workspace import Journal
from tests.crawl.conftest import NOW
from tests.fakes.crawled_site import CrawledSite, answer
from tests.fakes.small_release import Released, edited, released, rewrite, small

__all__ = ["released", "small"]

QUICK = {"requests_per_minute": 100_000, "requests_per_day": 1_000_000, "interval_seconds": 0.0}


@pytest.fixture
def entries(released: Released, site: CrawledSite) -> list[dict[str, Any]]:
    """The release's entries with addresses on the site, which serves the originals."""
    rows = open_release(released.folder).entries.to_pylist()
    for row in rows:
        path = f"/{row['native_id']}.jpg"
        site.pages[path] = answer(released.small.workspace.blobs.read(row["photo_id"]))
        row["url"] = f"{site.url}{path}"
    return rows


def upstream(site: CrawledSite, tmp_path: Path, **changes: Any) -> Upstream:
    given = {"name": "sample", "kind": "folder", "loopback": (site.pair,), **QUICK, **changes}
    return Upstream([SourceSpec(**given)], Clock(NOW), "", Journal(f"sqlite:///{tmp_path / 'fetch.sqlite'}"))


def test_photos_come_back_without_their_metadata(
    released: Released, entries: list[dict[str, Any]], site: CrawledSite, tmp_path: Path
) -> None:
    """40 photos, each the published copy that the release names; a second run asks for nothing."""
    found = restore(entries, tmp_path / "photos", upstream=upstream(site, tmp_path))
    assert counted(found) == {"restored": 40}
    report = verify(released.folder, public_key=released.public_key, photos=tmp_path / "photos")
    assert (report.ok, report.counts["photos"]) == (True, 40)
    assert not any(b"Private Person" in path.read_bytes() for path in (tmp_path / "photos").iterdir())
    asked = len(site.paths())
    assert counted(restore(entries, tmp_path / "photos", upstream=upstream(site, tmp_path))) == {"present": 40}
    assert len(site.paths()) == asked == 40


@pytest.mark.case("H14")
def test_other_bytes_are_reported_and_not_taken(
    released: Released, entries: list[dict[str, Any]], site: CrawledSite, tmp_path: Path
) -> None:
    """Changed, longer, gone, opted out, busy, unreachable by rule and local photos each have a status and a reason."""
    original = released.small.workspace.blobs.read
    other = original(entries[1]["photo_id"])
    site.pages["/000.jpg"] = answer(other)
    by_name = {row["native_id"]: row for row in entries}
    site.pages["/001.jpg"] = answer(original(by_name["001"]["photo_id"]) + b"\0")
    site.pages["/002.jpg"] = answer(status=410)
    site.pages["/003.jpg"] = answer(original(by_name["003"]["photo_id"]), X_Robots_Tag="noai")
    site.pages["/004.jpg"] = answer(status=503, Retry_After="7200")
    by_name["005"]["url"] = "http://10.0.0.1/secret.jpg"
    by_name["006"]["url"] = "file:cats/1.jpg"
    by_name["007"]["source"] = "elsewhere"
    chosen = [by_name[f"{number:03}"] for number in (0, 1, 2, 3, 5, 6, 7, 4)]
    found = {item.photo_id: item for item in restore(chosen, tmp_path / "photos", upstream=upstream(site, tmp_path))}
    told = {name: found[by_name[name]["photo_id"]] for name in (row["native_id"] for row in chosen)}
    assert {name: (item.status, item.reason) for name, item in told.items()} == {
        "000": ("changed", "E_MISMATCH"), "001": ("changed", "E_MISMATCH"), "002": ("gone", "E_GONE"),
        "003": ("rejected", "E_OPTOUT"), "004": ("deferred", "E_RATE"), "005": ("rejected", "E_SSRF"), "006": ("local", ""),
        "007": ("rejected", "E_SSRF"),
    }  # fmt: skip
    assert [item.pending for item in told.values()].count(True) == 1
    assert list((tmp_path / "photos").iterdir()) == []


def test_a_day_s_budget_holds_across_runs(entries: list[dict[str, Any]], site: CrawledSite, tmp_path: Path) -> None:
    """Six requests a day are six: robots.txt and five photos; the next run finds them spent and asks nothing."""
    first = restore(entries, tmp_path / "photos", upstream=upstream(site, tmp_path, requests_per_day=6))
    assert counted(first) == {"deferred": 35, "restored": 5}
    seen = len(site.seen)
    again = restore(entries, tmp_path / "photos", upstream=upstream(site, tmp_path, requests_per_day=6))
    assert counted(again) == {"deferred": 35, "present": 5}
    assert len(site.seen) == seen == 6


def test_robots_txt_is_obeyed(entries: list[dict[str, Any]], site: CrawledSite, tmp_path: Path) -> None:
    """What it forbids is not asked for."""
    site.pages["/robots.txt"] = answer(b"User-agent: *\nDisallow: /\n")
    found = restore(entries[:5], tmp_path / "photos", upstream=upstream(site, tmp_path))
    assert {(item.status, item.reason) for item in found} == {("rejected", "E_ROBOTS")}
    assert site.paths() == []


def test_who_asks_the_network_says_who_it_is(entries: list[dict[str, Any]], site: CrawledSite, tmp_path: Path) -> None:
    """A release whose sources are other people's hosts needs a contact."""
    with pytest.raises(UsageError, match="COUNTERANIMAL_CONTACT"):
        restore(entries, tmp_path / "photos", upstream=upstream(site, tmp_path, hosts=("photos.example.org",)))


@pytest.fixture
def folder(released: Released, entries: list[dict[str, Any]], tmp_path: Path) -> Path:
    """A signed release whose addresses are the site's."""
    copy = released.copy_of(tmp_path)
    urls = {row["photo_id"]: row["url"] for row in entries}

    def change(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            row["url"] = urls[row["photo_id"]]

    recipe = json.loads((copy / MANIFEST).read_bytes())["recipe"]
    recipe["sources"] = [{**recipe["sources"][0], **QUICK, "interval_seconds": 0}]
    rewrite(copy, released.private_key, edited(copy, "entries", change), recipe=recipe)
    return copy


def fetched(folder: Path, tmp_path: Path, *more: str) -> Result:
    settings = {"COUNTERANIMAL_CACHE": str(tmp_path / "cache")}
    return CliRunner().invoke(app, ["fetch", str(folder), "-o", str(tmp_path / "photos"), *more], env=settings)


def test_the_verb_lists_what_is_missing(folder: Path, site: CrawledSite, tmp_path: Path) -> None:
    """Exit code 3 and a table where a photo has changed; 0 and no table once it is there."""
    before = site.pages["/010.jpg"]
    site.pages["/010.jpg"] = answer(b"other bytes")
    result = fetched(folder, tmp_path, "--loopback", site.pair)
    assert result.exit_code == 3, result.output
    [row] = csv.DictReader((tmp_path / "photos" / "missing.csv").open(newline="", encoding="utf-8"))
    assert (row["status"], row["reason"]) == ("changed", "E_MISMATCH")
    site.pages["/010.jpg"] = before
    assert fetched(folder, tmp_path, "--loopback", site.pair).exit_code == 0
    assert not (tmp_path / "photos" / "missing.csv").exists()


def test_a_release_opens_no_port_of_this_machine(folder: Path, site: CrawledSite, tmp_path: Path) -> None:
    """Without --loopback nothing here is asked, whatever the release's recipe says."""
    result = fetched(folder, tmp_path)
    assert result.exit_code == 3
    assert "40" in result.output
    assert site.seen == []


def test_statuses_are_counted() -> None:
    """In the order of their names."""
    assert counted([Restored("a", "gone"), Restored("b", "gone"), Restored("c", "changed")]) == {
        "changed": 1,
        "gone": 2,
    }
