"""Killed at any moment and at any step, a crawl loses nothing, doubles nothing, and asks for nothing that reached the disk."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from counteranimal.crawl.crew import MOST_AT_ONCE
from tests.store.conftest import NumberedSite, Nursery, workspace_of
from tests.store.ledger import NO_FAULTS, Ledger, faults

Make = Callable[..., Nursery]


def _prepare(site: NumberedSite, tmp_path: Path, photos: int) -> set[str]:
    rows = site.candidates(range(1, photos + 1))
    workspace_of(tmp_path).journal.append("candidates", rows)
    return {row["candidate_id"] for row in rows}


def _kill_at_random_times(site: NumberedSite, nursery: Nursery, ledger: Ledger, kills: int, longest: float) -> None:
    moments = random.Random(11)
    left = 2 * (kills - ledger.kills)
    while ledger.kills < kills:
        # A crawl that has finished is not killed, and would be begun for ever.
        left -= 1
        assert left >= 0, f"{ledger.kills} of {kills} kills, and the crawl is done: give it more photos"
        seen = len(site.photos_asked())
        nursery.begin()
        time.sleep(moments.uniform(0.0, longest))
        nursery.kill()
        code = nursery.end()
        assert code in {0, -9}
        ledger.look(site.photos_asked()[seen:], killed=code == -9)


def _kill_at_points(site: NumberedSite, nursery: Nursery, ledger: Ledger, kills: int, furthest: int) -> None:
    points = random.Random(12)
    for _ in range(kills):
        seen = len(site.photos_asked())
        code = nursery.crawl(point=points.randint(1, furthest))
        assert code == -9
        ledger.look(site.photos_asked()[seen:], killed=True)


def _finish(site: NumberedSite, nursery: Nursery, ledger: Ledger, tmp_path: Path, wanted: set[str]) -> None:
    """One full run ends the work, and one more asks for nothing; then nothing is wrong anywhere."""
    seen = len(site.photos_asked())
    assert nursery.crawl() == 0
    ledger.look(site.photos_asked()[seen:], killed=False)
    seen = len(site.photos_asked())
    assert nursery.crawl() == 0
    assert site.photos_asked()[seen:] == []
    assert faults(workspace_of(tmp_path), wanted) == NO_FAULTS
    assert ledger.corrupt == set()
    assert ledger.asked_again == set()


@pytest.mark.case("B01")
@pytest.mark.case("B02")
def test_killed_a_hundred_times(numbered: NumberedSite, nursery: Make, tmp_path: Path) -> None:
    """A crawl of 1,000 photos killed at 50 random moments and right after 50 steps: no fault, and what reached the disk is never asked for again."""
    wanted = _prepare(numbered, tmp_path, 1000)
    ledger = Ledger(tmp_path / "home" / "blobs")
    crawls = nursery()
    _kill_at_points(numbered, crawls, ledger, 50, 300)
    _kill_at_random_times(numbered, crawls, ledger, 100, 0.12)
    assert 100 < len(numbered.photos_asked()) < 1000 + 100 * MOST_AT_ONCE
    _finish(numbered, crawls, ledger, tmp_path, wanted)


@pytest.mark.case("B03")
def test_crash_points_catch_a_careless_writer(numbered: NumberedSite, nursery: Make, tmp_path: Path) -> None:
    """A writer without temporary files and renames leaves short files, and the same harness finds them."""
    _prepare(numbered, tmp_path, 1000)
    ledger = Ledger(tmp_path / "home" / "blobs")
    _kill_at_points(numbered, nursery(careless=True), ledger, 15, 300)
    assert len(ledger.corrupt) >= 2


@pytest.mark.soak
@pytest.mark.timeout(3000)
@pytest.mark.case("B01")
@pytest.mark.case("B02")
@pytest.mark.case("B03")
def test_ten_thousand_photos(numbered: NumberedSite, nursery: Make, tmp_path: Path) -> None:
    """The same with 10,000 photos and decoder processes: 50 kills at random times, 50 at crash points; the careless writer is caught."""
    wanted = _prepare(numbered, tmp_path, 10_000)
    ledger = Ledger(tmp_path / "home" / "blobs")
    crawls = nursery(near=False)
    _kill_at_random_times(numbered, crawls, ledger, 50, 3.0)
    at_random, asked = ledger.kills, len(numbered.photos_asked())
    _kill_at_points(numbered, crawls, ledger, 50, 5000)
    _finish(numbered, crawls, ledger, tmp_path, wanted)
    print(f"{at_random} kills at random times ({asked} photos asked for), {ledger.kills - at_random} at crash points;")
    print(f"asked for in all: {len(numbered.photos_asked())}; faults: {faults(workspace_of(tmp_path), wanted)};")
    print(f"asked for again although on the disk: {len(ledger.asked_again)}")
    careless = tmp_path / "careless"
    workspace_of(tmp_path, "careless").journal.append("candidates", numbered.candidates(range(1, 10_001)))
    caught = Ledger(careless / "blobs")
    wrong = nursery("careless", careless=True, near=False)
    _kill_at_points(numbered, wrong, caught, 50, 5000)
    print(f"careless writer: {len(caught.corrupt)} short files found by 50 kills at crash points")
    assert len(caught.corrupt) >= 3
