"""A curator's everyday, through the command line: run again, stop, look ahead, clean up, recover, restore a backup."""

from __future__ import annotations

import hashlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aiohttp import web
from typer.testing import CliRunner, Result

from counteranimal.cli import app
from counteranimal.ids import photo_id_of
from counteranimal.workspace import Blob, Workspace, seal
from counteranimal.workspace.durable import write_temporary
from tests.crawl.test_inaturalist import API, listing, record
from tests.crawl.test_run import offer
from tests.fakes.crawled_site import CrawledSite, answer, jpeg
from tests.store.conftest import RECIPE

Verb = Callable[..., Result]
PHOTOS = 12


@pytest.fixture
def upstream() -> Iterator[CrawledSite]:
    """An upstream that lists and serves a dozen photos."""
    with CrawledSite() as running:
        offer(running, {n: jpeg(n) for n in range(1, PHOTOS + 1)})
        yield running


@pytest.fixture
def home(upstream: CrawledSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The workspace folder that the verbs use, with the recipe beside it."""
    monkeypatch.setenv("COUNTERANIMAL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COUNTERANIMAL_RECIPE", str(tmp_path / "recipe.toml"))
    monkeypatch.setenv("COUNTERANIMAL_WORKERS", "1")
    monkeypatch.setenv("COUNTERANIMAL_FREE_SPACE_FLOOR_MB", "0")
    monkeypatch.chdir(tmp_path)
    text = RECIPE.format(pair=upstream.pair).replace('"CC0-1.0"', '"CC0-1.0", "CC-BY-4.0"')
    (tmp_path / "recipe.toml").write_text(text, encoding="utf-8")
    return tmp_path / "home"


@pytest.fixture
def run(home: Path) -> Verb:
    """Run a verb in this process and expect an exit code."""

    def verb(command: str, code: int = 0) -> Result:
        result = CliRunner().invoke(app, command.split())
        assert result.exit_code == code, result.output
        if code:
            assert len(result.stderr.strip().splitlines()) == 1
        return result

    return verb


def photos_of(site: CrawledSite) -> list[str]:
    """The photos that the site was asked for, in order."""
    return [path for path in site.paths() if path.startswith("/photos/")]


def digests(home: Path) -> dict[str, str]:
    """The digests of the crawl's tables."""
    return {
        name: hashlib.sha256((home / "tables" / f"{name}.parquet").read_bytes()).hexdigest()
        for name in ("candidates", "fetches", "photos")
    }


@pytest.mark.case("B08")
def test_a_finished_crawl_run_again_downloads_nothing(upstream: CrawledSite, home: Path, run: Verb) -> None:
    """The second `crawl` asks for no photo and leaves the same tables, byte for byte."""
    run("crawl")
    before = digests(home)
    assert len(photos_of(upstream)) == PHOTOS
    run("crawl")
    assert len(photos_of(upstream)) == PHOTOS
    assert digests(home) == before


@pytest.mark.case("B09")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_the_command_and_a_re_run_finishes(
    upstream: CrawledSite, home: Path, number: signal.Signals
) -> None:
    """Within ten seconds, one sentence, exit code 4; the same command again fetches the rest and nothing twice."""

    async def slow(request: web.Request) -> web.StreamResponse:
        import asyncio

        await asyncio.sleep(60)
        return web.Response(body=jpeg(5))

    for n in range(5, PHOTOS + 1):
        upstream.pages[f"/photos/{n}/medium.jpg"] = slow
    command = [sys.executable, "-m", "counteranimal.cli", "crawl"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 200
    while len(photos_of(upstream)) < 8 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.02)
    assert len(photos_of(upstream)) >= 8
    stopped = time.monotonic()
    process.send_signal(number)
    _, told = process.communicate(timeout=30)
    assert time.monotonic() - stopped < 10
    assert process.returncode == 4, told
    assert told.startswith(f"error: stopped by {number.name}")
    assert "run the same command again" in told
    offer(upstream, {n: jpeg(n) for n in range(1, PHOTOS + 1)})
    asked = photos_of(upstream)
    result = CliRunner().invoke(app, ["crawl", "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["stored"] == PHOTOS
    assert not set(photos_of(upstream)[len(asked) :]) & {f"/photos/{n}/medium.jpg" for n in range(1, 5)}


@pytest.mark.case("B10")
def test_upstream_names_stay_out_of_paths_and_lines(upstream: CrawledSite, home: Path, run: Verb) -> None:
    """Names with line feeds, NUL, `..` and right-to-left marks: photos lie under digests, the log has one line a step."""
    odd = ["..%2f..%2fx.jpg", "C%3a%5cx.jpg", "CON.jpg", "%00.jpg", "a%0ab.jpg", "-rf.jpg", "x" * 300, "%e2%80%8fx.jpg"]
    records = []
    for number, name in enumerate(odd, 1):
        photo = {"id": number, "license_code": "cc0", "url": f"{upstream.url}/odd/{name}"}
        records.append(record(number, photos=[photo], user={"id": number, "login": "a\nb\x00\u202e"}))
    upstream.pages[API] = listing(records)
    for name in ("CON.jpg", "-rf.jpg"):
        upstream.pages[f"/odd/{name}"] = upstream.pages["/photos/1/medium.jpg"]
    result = run("crawl")
    assert len(result.stdout.strip().splitlines()) == 1
    assert len((home / "logs" / "steps.jsonl").read_text().splitlines()) == 1
    assert {path.name for path in home.parent.iterdir()} == {"home", "recipe.toml"}
    stored = [path.name for path in (home / "blobs").glob("??/*") if path.suffix != ".json"]
    assert all(len(name) == 64 for name in stored)


def test_a_dry_run_asks_nobody(upstream: CrawledSite, home: Path, run: Verb) -> None:
    """What is pending, from which host and how long it takes is said without one request; so are photos to try again."""
    upstream.pages["/photos/3/medium.jpg"] = answer(b"no image")
    run("crawl --limit 8")
    seen, before = len(upstream.seen), Workspace(home).journal.positions()
    told = json.loads(run("crawl --dry-run --json").stdout)
    assert (told["photos"], told["hosts"]) == (PHOTOS - 8, {upstream.pair: PHOTOS - 8})
    assert told["sources"]["site"]["photos"] == PHOTOS - 8
    assert json.loads(run("crawl --dry-run --retry rejected --json").stdout)["photos"] == PHOTOS - 7
    assert json.loads(run("crawl --dry-run --limit 2 --json").stdout)["photos"] == 2
    assert "second" in run("crawl --dry-run").stdout
    assert len(upstream.seen) == seen
    assert Workspace(home).journal.positions() == before
    run("crawl")
    assert "nothing to fetch" in run("crawl --dry-run").stdout


def test_gc_removes_what_nothing_refers_to(home: Path, run: Verb) -> None:
    """Temporary files, unknown photos, crops and parts of earlier versions go, after a dry run that only names them; photos stay."""
    run("crawl")
    workspace = Workspace(home)
    kept = set(workspace.blobs.ids())
    [unknown] = workspace.blobs.put_many([Blob(b"nobody's")])
    [withdrawn] = workspace.blobs.put_many([Blob(b"withdrawn")])
    workspace.journal.append("withdrawals", [{"photo_id": withdrawn, "why": "asked"}])
    temporary = write_temporary(workspace.blobs.path(photo_id_of(b"x")).parent / "x", b"x", 0o444) if kept else None
    unsealed = write_temporary(home / "journal.sqlite.seal", b"half a seal", 0o644)
    parts = home / "tables" / "fingerprints" / "an-earlier-version"
    parts.mkdir(parents=True)
    (parts / "part-0.parquet").write_bytes(b"old")
    crops = home / "crops" / "crop224-224-bicubic.crops"
    crops.parent.mkdir()
    crops.write_bytes(b"a cache")
    told = run("gc --dry-run").stdout
    assert all(str(path) in told for path in (workspace.blobs.path(unknown), temporary, unsealed, parts, crops))
    assert workspace.blobs.has(unknown)
    assert json.loads(run("gc --json").stdout)["photo"] == 1
    assert set(workspace.blobs.ids()) == kept | {withdrawn}
    assert not parts.exists()
    assert not crops.exists()
    assert not unsealed.exists()
    assert "nothing" in run("gc").stdout
    assert len(workspace.journal.rows("withdrawals")) == 1


@pytest.mark.case("B12")
def test_ten_changed_bytes_are_found_wherever_they_are(home: Path, run: Verb) -> None:
    """Twenty times ten random bytes of the journal are changed: found twenty times, and the file put back is sound again."""
    run("crawl")
    file = home / "journal.sqlite"
    sound, chance = file.read_bytes(), random.Random(9)
    for _ in range(20):
        changed = bytearray(sound)
        for place in chance.sample(range(len(sound)), 10):
            changed[place] ^= chance.randint(1, 255)
        file.write_bytes(changed)
        assert seal.damage(file)
    file.write_bytes(sound)
    assert seal.damage(file) == ""
    run("crawl")


@pytest.mark.case("B12")
@pytest.mark.parametrize("harm", ["text", "header", "all", "deleted"])
def test_a_damaged_or_deleted_journal_is_rebuilt(upstream: CrawledSite, home: Path, run: Verb, harm: str) -> None:
    """The next verb stops with one sentence; `recover` lists every photo again, and the crawl goes on without a download."""
    run("crawl")
    file = home / "journal.sqlite"
    asked, stored = len(photos_of(upstream)), set(Workspace(home).blobs.ids())
    data = bytearray(file.read_bytes())
    if harm == "deleted":
        for path in home.glob("journal.sqlite*"):
            path.unlink()
    else:
        places = {
            "text": [data.rindex(b"CC-BY-4.0") + n for n in range(9)],
            "header": range(10),
            "all": range(len(data)),
        }
        for place in places[harm]:
            data[place] ^= 0x15
        file.write_bytes(data)
    assert "counteranimal recover" in run("crawl", 3).stderr
    told = json.loads(run("recover --json").stdout)
    if harm != "deleted":
        assert Path(told["kept_aside"]).read_bytes() == bytes(data)
    listed = {row["photo_id"] for row in Workspace(home).journal.rows("stored")}
    assert listed == stored
    assert json.loads(run("crawl --json").stdout)["stored"] == PHOTOS
    assert len(photos_of(upstream)) == asked


def test_a_backup_made_while_nothing_ran_is_a_workspace(upstream: CrawledSite, home: Path, run: Verb) -> None:
    """A copy of the whole folder goes on where it was: nothing is downloaded, the tables are the same."""
    run("crawl")
    before, asked = digests(home), len(photos_of(upstream))
    shutil.copytree(home, home.parent / "copy")
    run(f"crawl --home {home.parent / 'copy'}")
    assert digests(home.parent / "copy") == before
    assert len(photos_of(upstream)) == asked


def test_a_journal_older_than_the_photos_learns_of_them(upstream: CrawledSite, home: Path, run: Verb) -> None:
    """Photos that were stored after the journal's copy was made are recorded from their side records, not downloaded."""
    run("crawl --limit 5")
    older = (home / "journal.sqlite").read_bytes(), (home / "journal.sqlite.seal").read_bytes()
    run("crawl")
    asked = len(photos_of(upstream))
    (home / "journal.sqlite").write_bytes(older[0])
    (home / "journal.sqlite.seal").write_bytes(older[1])
    told = json.loads(run("crawl --json").stdout)
    assert (told["adopted"], told["stored"]) == (PHOTOS - 5, PHOTOS)
    assert len(photos_of(upstream)) == asked


def test_photos_older_than_the_journal_are_missed_and_fetched_again_on_request(
    upstream: CrawledSite, home: Path, run: Verb
) -> None:
    """Listed photos that are not there stop the crawl; after `recover` they, and only they, are fetched again."""
    run("crawl")
    workspace = Workspace(home)
    gone = sorted(workspace.blobs.ids())[:3]
    for photo_id in gone:
        workspace.blobs.remove(photo_id)
    asked = len(photos_of(upstream))
    assert f"3 photos that the journal lists are not in {home / 'blobs'}" in run("crawl", 3).stderr
    assert "recover" in run("gc", 3).stderr
    assert len(photos_of(upstream)) == asked
    told = json.loads(run("recover --json").stdout)
    assert (told["lost"], told["to_fetch_again"]) == (3, 3)
    assert "journal and store agree" in run("recover").stdout
    assert json.loads(run("crawl --json").stdout)["stored"] == PHOTOS
    assert len(photos_of(upstream)) == asked + 3
    assert set(gone) <= set(workspace.blobs.ids())


def test_another_store_under_a_journal_is_not_taken_for_a_loss(home: Path, run: Verb) -> None:
    """A store that is not mounted is named as such; nothing is recorded as gone."""
    run("crawl")
    (home / "blobs").rename(home / "elsewhere")
    assert "is not the store that the journal tells of" in run("crawl", 4).stderr
    shutil.rmtree(home / "blobs")
    (home / "elsewhere").rename(home / "blobs")
    run("crawl")


def test_recover_waits_for_nobody(home: Path, run: Verb) -> None:
    """While another process holds the workspace, its pid is named."""
    run("crawl")
    with Workspace(home).lock():
        assert f"in use by pid {os.getpid()}" in run("recover", 4).stderr
