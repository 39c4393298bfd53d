"""Processes with homes of their own share one journal: no photo is fetched by two, and what a dead one left is taken over."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from counteranimal.crawl.crew import MOST_AT_ONCE
from counteranimal.crawl.intake import GROUP_ITEMS
from tests.store.conftest import NumberedSite, Nursery, workspace_of
from tests.store.ledger import Ledger

Make = Callable[..., Nursery]
PHOTOS = 160


def _prepare(site: NumberedSite, tmp_path: Path, journal: str) -> set[str]:
    rows = site.candidates(range(1, PHOTOS + 1))
    workspace_of(tmp_path, "a", journal).journal.append("candidates", rows)
    return {row["candidate_id"] for row in rows}


def _stored_once(tmp_path: Path, journal: str, wanted: set[str]) -> None:
    """Every candidate has one stored attempt, and each photo lies in a store that the journal names for it."""
    workspace = workspace_of(tmp_path, "a", journal)
    stored = Counter(row["candidate_id"] for row in workspace.journal.rows("fetches") if row["status"] == "stored")
    assert set(stored) == wanted
    assert set(stored.values()) == {1}


@pytest.mark.case("B07")
def test_two_at_once_fetch_every_photo_once(
    numbered: NumberedSite, nursery: Make, tmp_path: Path, journal_url: str
) -> None:
    """Two crawls that run side by side divide the photos: each is asked for once, both homes hold some, all are recorded."""
    wanted = _prepare(numbered, tmp_path, journal_url)
    first, second = (nursery(home, journal=journal_url, lease=8.0) for home in ("a", "b"))
    numbered.gate.clear()  # a process may take seconds to start
    first.begin()
    second.begin()
    numbered.gate.set()
    assert (first.end(), second.end()) == (0, 0)
    assert set(Counter(numbered.photos_asked()).values()) == {1}
    _stored_once(tmp_path, journal_url, wanted)
    held = [len(list(workspace_of(tmp_path, home, journal_url).blobs.ids())) for home in ("a", "b")]
    assert min(held) > 0
    seen = len(numbered.photos_asked())
    assert first.crawl() == 0
    assert len(numbered.photos_asked()) == seen


@pytest.mark.case("B07")
@pytest.mark.parametrize("shared_store", [False, True], ids=["own stores", "one store"])
def test_what_a_killed_run_left_is_taken_over(
    numbered: NumberedSite, nursery: Make, tmp_path: Path, journal_url: str, shared_store: bool
) -> None:
    """A run killed at any step is found dead by its missing signs; what reached its disk is never asked for again."""
    store = str(tmp_path / "store") if shared_store else ""
    wanted = _prepare(numbered, tmp_path, journal_url)
    killed = nursery("a", journal=journal_url, store=store)
    assert killed.crawl(point=random.Random(journal_url[:6]).randint(150, 400)) == -9
    ledger = Ledger(Path(store) if store else tmp_path / "a" / "blobs")
    ledger.look([], killed=True)
    asked = len(numbered.photos_asked())
    assert 0 < asked < PHOTOS
    survivor = nursery("b", journal=journal_url, store=store, lease=3.0)
    assert survivor.crawl() == 0
    ledger.look(numbered.photos_asked()[asked:], killed=False)
    asked = len(numbered.photos_asked())
    assert killed.crawl() == 0
    ledger.look(numbered.photos_asked()[asked:], killed=False)
    assert ledger.asked_again == set()
    assert len(numbered.photos_asked()) <= PHOTOS + 2 * MOST_AT_ONCE + GROUP_ITEMS
    _stored_once(tmp_path, journal_url, wanted)
    homes = [workspace_of(tmp_path, home, journal_url, Path(store) if store else None) for home in ("a", "b")]
    assert all(not list(home.blobs.temporary_files()) for home in homes)
    held = {name for home in homes for name in home.blobs.ids()}
    assert held == {row["photo_id"] for row in homes[0].journal.rows("stored")}
