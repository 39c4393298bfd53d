"""What an annotator lives through: log in, read, look, answer by keyboard, submit."""

from __future__ import annotations

import pytest

from counteranimal import tables
from counteranimal.annotate.duplicates import plan_pairs
from counteranimal.annotate.pull import pull
from counteranimal.recipe import backgrounds
from tests.browser.conftest import Desk

pytestmark = [pytest.mark.browser, pytest.mark.studio, pytest.mark.xdist_group("label-studio")]

EVIL = "<img src=x onerror=alert(1)><script>alert(2)</script> javascript:alert(3)"
CHECKED = "[...document.querySelectorAll('.lsf-choices input:checked')].map(box => box.name.split(' ')[0])"
WIDEST = "Math.max(0, ...[...document.images].map(image => image.naturalWidth))"


def photo_in_sight(desk: Desk, place: str) -> None:
    """Wait until the page shows the photo of this place, with its pixels loaded."""
    desk.page.get_by_text(place).wait_for()
    desk.page.wait_for_function(f"{WIDEST} >= 800")


@pytest.mark.case("F06")
def test_an_annotator_answers_a_round_by_keyboard(desk: Desk) -> None:
    """Six photos seen, answered without a mouse and pulled; markup in a credit stays text; no request leaves loopback."""
    desk.store(6)
    evil = [{"candidate_id": f"folder:{number}", "attribution": EVIL, "seen_at": desk.now} for number in range(6)]
    desk.workspace.journal.append("candidates", evil)
    own = desk.open_round("seen").assignments["anna"]
    assert {item.shown for item in own} == {True, False}
    words = [name for name, item in backgrounds().items() if item.decides]
    given = {}
    for number, item in enumerate(own, start=1):
        photo_in_sight(desk, f"Photo {number} of 6")
        assert desk.page.get_by_text(EVIL).is_visible()
        assert desk.page.evaluate(CHECKED) == (["grass"] if item.shown else [])
        given[item.photo_id] = words[number]
        desk.press(backgrounds()[words[number]].key, *("eg" if number == 6 else "q"))
        desk.submit()
    assert desk.dialogs == []
    assert desk.hosts - {""} == {"127.0.0.1"}
    assert pull(desk.workspace, desk.studio, round_id="seen", now=desk.now)["counted"] == 6
    votes = {row["photo_id"]: row for row in desk.workspace.journal.rows("votes") if row["status"] == "counted"}
    assert {name: row["background"] for name, row in votes.items()} == given
    assert [votes[item.photo_id]["usable"] for item in own] == [True] * 5 + [False]
    assert votes[own[-1].photo_id]["codes"] == ["too_small"]
    assert [votes[item.photo_id]["shown"] for item in own] == [item.shown for item in own]


def test_a_photo_turned_down_needs_a_reason(desk: Desk) -> None:
    """Rejecting without a reason brings a sentence instead of a submission; a reason then lets it through."""
    desk.store(2)
    desk.open_round("reason")
    photo_in_sight(desk, "Photo 1 of 2")
    desk.press("5", "e", "Control+Enter")
    sentence = desk.page.get_by_text("Choose at least one reason")
    sentence.wait_for()
    desk.page.get_by_role("button", name="OK").click()
    sentence.wait_for(state="detached")
    desk.press("x")
    desk.submit()
    assert pull(desk.workspace, desk.studio, round_id="reason", now=desk.now)["counted"] == 1
    votes = [row for row in desk.workspace.journal.rows("votes") if row["status"] == "counted"]
    assert [(row["background"], row["usable"], row["codes"]) for row in votes] == [
        ("sand", False, ["drawing_or_statue"])
    ]


def test_a_pair_is_answered_by_keyboard(desk: Desk) -> None:
    """Both photos of a pair are in sight, and one key and Ctrl+Enter answer it."""
    names = sorted(desk.store(4))
    rows = [{"photo_a": a, "photo_b": b, "why": "open"} for a, b in (names[:2], names[2:])]
    desk.workspace.write_table("unsure_pairs", tables.conform("unsure_pairs", rows))
    own = desk.open_round("pairs", planned=plan_pairs, guidelines="Same photo or not").assignments["anna"]
    for place, key in ((1, "s"), (2, "d")):
        desk.page.get_by_text(f"Pair {place} of 2").wait_for()
        desk.page.wait_for_function("[...document.images].filter(image => image.naturalWidth >= 800).length >= 2")
        desk.press(key)
        desk.submit()
    assert pull(desk.workspace, desk.studio, round_id="pairs", now=desk.now)["counted"] == 2
    votes = {
        row["photo_id"]: row["codes"] for row in desk.workspace.journal.rows("votes") if row["status"] == "counted"
    }
    assert votes == {own[0].photo_id: ["same"], own[1].photo_id: ["different"]}
