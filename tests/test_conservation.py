"""Every candidate is in exactly one state, whatever has happened to it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from counteranimal import tables
from counteranimal.conservation import STATES, Conservation, account, states
from counteranimal.errors import IntegrityError

FETCHED = ("stored", "rejected", "deferred", "failed")


@st.composite
def histories(draw: st.DrawFn) -> dict[str, Any]:
    """Draw candidates with fetches, photos shared by several candidates, clusters, withdrawals, and stages not yet run."""
    n = draw(st.integers(0, 12))
    candidates, fetches = [], []
    holders: dict[str, list[str]] = {}
    for i in range(n):
        candidate = f"s:{i:02}"
        status = draw(st.sampled_from(["ok", "ok", "ok", "rejected"]))
        candidates.append(
            {"candidate_id": candidate, "status": status, "reason": "E_LICENSE" if status != "ok" else None}
        )
        for attempt in range(draw(st.integers(0, 3))):
            outcome = draw(st.sampled_from(FETCHED))
            photo = f"p{draw(st.integers(0, 4))}" if outcome == "stored" else None
            reason = None if outcome == "stored" else "E_TIMEOUT"
            fetches.append(
                {"candidate_id": candidate, "attempt": attempt, "status": outcome, "photo_id": photo, "reason": reason}
            )
            if photo and candidate not in holders.setdefault(photo, []):
                holders[photo].append(candidate)
            if photo:
                break
    known = draw(st.sets(st.sampled_from(sorted(holders)))) if holders else set()
    photos, clusters = [], []
    for photo in sorted(known):
        fine = draw(st.booleans())
        status, reason = ("ok", None) if fine else ("rejected", "class_conflict")
        photos.append({"photo_id": photo, "candidate_ids": holders[photo], "status": status, "reason": reason})
        if draw(st.booleans()):
            kept = draw(st.booleans())
            clusters.append({"photo_id": photo, "kept": kept, "reason": "unique" if kept else "near"})
    return {
        "candidates": tables.conform("candidates", candidates),
        "fetches": tables.conform("fetches", fetches),
        "photos": tables.conform("photos", photos),
        "clusters": tables.conform("clusters", clusters),
        "withdrawn": draw(st.sets(st.sampled_from(sorted(holders)))) if holders else set(),
    }


@settings(max_examples=150, deadline=None)
@given(histories())
def test_the_states_always_add_up(history: dict[str, Any]) -> None:
    """Discovered equals the sum of the states, every state is a known one, and the sentence says the same."""
    counted = account(**history)
    counted.require_balance()
    assert set(counted.states) <= set(STATES)
    assert counted.discovered == len(history["candidates"]) == sum(counted.states.values())
    for state in STATES:
        with_reason = sum(n for key, n in counted.reasons.items() if key.split(" ", 1)[0] == state)
        assert with_reason <= counted.states.get(state, 0)
    assert counted.sentence().startswith(f"discovered {counted.discovered} = ")


@settings(max_examples=50, deadline=None)
@given(histories())
def test_a_photo_is_stored_once(history: dict[str, Any]) -> None:
    """Of the candidates that share one known photo, at most one counts as stored."""
    found = states(**history)
    for row in history["photos"].to_pylist():
        assert sum(found[candidate][0] == "stored" for candidate in row["candidate_ids"]) <= 1


def test_each_state_is_reached() -> None:
    """One candidate in every state, with its reason."""
    candidates = tables.conform(
        "candidates",
        [
            {
                "candidate_id": f"s:{i}",
                "status": "rejected" if i == 0 else "ok",
                "reason": "E_LICENSE" if i == 0 else None,
            }
            for i in range(9)
        ],
    )
    fetches = tables.conform(
        "fetches",
        [
            {"candidate_id": f"s:{i}", "attempt": 1, "status": status, "photo_id": photo, "reason": reason}
            for i, status, photo, reason in (
                (1, "stored", "p1", None), (2, "stored", "p1", None), (3, "stored", "p3", None), (4, "deferred", None, "E_RATE"),
                (5, "failed", None, "E_HTTP"), (6, "stored", "p6", None), (8, "stored", "p8", None),
            )
        ],
    )  # fmt: skip
    photos = tables.conform(
        "photos",
        [
            {"photo_id": "p1", "candidate_ids": ["s:1", "s:2"], "status": "ok"},
            {"photo_id": "p3", "candidate_ids": ["s:3"], "status": "ok"},
            {"photo_id": "p8", "candidate_ids": ["s:8"], "status": "rejected", "reason": "class_conflict"},
        ],
    )
    clusters = tables.conform("clusters", [{"photo_id": "p3", "kept": False, "reason": "near"}])
    found = states(candidates, fetches, photos, clusters, {"p6"})
    assert found == {
        "s:0": ("rejected", "E_LICENSE"), "s:1": ("stored", ""), "s:2": ("duplicate", "exact"), "s:3": ("duplicate", "near"),
        "s:4": ("deferred", "E_RATE"), "s:5": ("failed", "E_HTTP"), "s:6": ("withdrawn", ""), "s:7": ("pending", ""),
        "s:8": ("rejected", "class_conflict"),
    }  # fmt: skip


def test_a_lost_candidate_is_an_integrity_error() -> None:
    """A count that does not balance is never shown as if it did."""
    with pytest.raises(IntegrityError, match="3 candidates discovered, 2 accounted for"):
        Conservation(3, {"stored": 2}).require_balance()
