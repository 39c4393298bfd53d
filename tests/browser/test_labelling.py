"""What an annotator lives through: log in, read, look, answer by keyboard, submit."""

from __future__ import annotations

import pytest

from counteranimal import tables
from counteranimal.annotate.duplicates import plan_pairs
from counteranimal.annotate.pull import pull
from counteranimal.recipe import backgrounds
from tests.fakes.labelling_room import Room, Seat

pytestmark = [pytest.mark.browser, pytest.mark.studio, pytest.mark.xdist_group("label-studio")]

EVIL = "<img src=x onerror=alert(1)><script>alert(2)</script> javascript:alert(3)"
WIDTH = "Math.max(...[...document.images].map(image => image.getBoundingClientRect().width))"
PHOTOS = 30


@pytest.mark.case("F06")
def test_two_annotators_work_at_once_and_one_answers_thirty_photos_by_keyboard(room: Room) -> None:
    """Thirty photos seen, zoomed, answered without a mouse and pulled, while somebody else answers theirs; markup in names and
    credits stays text; no request leaves loopback.
    """
    room.store(PHOTOS)
    evil = [{"candidate_id": f"folder:{number}", "attribution": EVIL, "seen_at": room.now} for number in range(PHOTOS)]
    room.workspace.journal.append("candidates", evil)
    named = tuple(
        item.model_copy(update={"name": f"{item.id} {EVIL}", "look_for": EVIL}) for item in room.recipe.classes
    )
    room.recipe = room.recipe.model_copy(update={"classes": named})
    planned = room.open_round("seen")
    anna, ben = (room.seat(worker, account=room.invited(worker)) for worker in planned.workers)
    words = [name for name, item in backgrounds().items() if item.decides]
    given: dict[str, dict[str, str]] = {"anna": {}, "ben": {}}
    for number, item in enumerate(planned.assignments["anna"], start=1):
        anna.see(f"Photo {number} of {PHOTOS} · {PHOTOS - number} left after this one")
        anna.see_ticked(*(["grass"] if item.shown else []))
        if number == 1:
            tools_and_mistakes(anna)
        word = words[number % len(words)]
        given["anna"][item.photo_id] = word
        if anna.checked()[:1] != [word]:  # a shown proposal that is right is left as it is; its key would take it away
            anna.press(backgrounds()[word].key)
        anna.press(*("xl" if number == 1 else "q"))
        anna.submit()
        if number <= 4:
            other = planned.assignments["ben"][number - 1].photo_id
            ben.see(f"Photo {number} of {PHOTOS}")
            ben.press("m" if number % 2 else "n", "q")
            ben.submit()
            given["ben"][other] = "mixed" if number % 2 else "not_sure"
    assert room.dialogs == []
    assert room.hosts - {""} == {"127.0.0.1"}
    pulled = pull(room.workspace, room.studio, round_id="seen", now=room.now)
    assert (pulled["counted"], pulled["set_aside"], pulled["changed_pages"], pulled["shared_accounts"]) == (34, 0, 0, 0)
    votes = [row for row in room.workspace.journal.rows("votes") if row["status"] == "counted"]
    for worker, own in given.items():
        assert {row["photo_id"]: row["background"] for row in votes if row["worker"] == worker} == own
    first = planned.assignments["anna"][0].photo_id
    turned_down = [row for row in votes if row["usable"] is False]
    assert [(row["worker"], row["photo_id"], row["codes"]) for row in turned_down] == [
        ("anna", first, ["drawing_or_statue", "hand_or_body"])
    ]
    shown = {worker: {item.photo_id: item.shown for item in own} for worker, own in planned.assignments.items()}
    assert all(row["shown"] == shown[row["worker"]][row["photo_id"]] for row in votes)


def tools_and_mistakes(seat: Seat) -> None:
    """Markup as text, zoom, guidelines, undo, and a rejection that lacks its reason; leaves the photo rejected, without one."""
    page = seat.page
    for place in (f"cat {EVIL}", f"dog {EVIL}"):
        if page.get_by_text(place).count():
            break
    else:
        raise AssertionError("the species is not on the page as text")
    assert page.get_by_text(EVIL, exact=True).count() == 2  # what to look for, and the credit
    assert page.locator("script", has_text="alert(2)").count() == page.locator("img[onerror]").count() == 0
    before = page.evaluate(WIDTH)
    seat.press("Control++")
    page.wait_for_function(f"{WIDTH} > {before}")
    zoomed = page.evaluate(WIDTH)
    seat.press("Control+-")
    page.wait_for_function(f"{WIDTH} < {zoomed}")
    rules = page.locator(".ca-rules")
    seat.press("r")
    rules.get_by_text("The surface the animal stands, sits or lies on wins").wait_for()
    seat.press("r")
    rules.wait_for(state="hidden")
    ticked = seat.checked()
    seat.press("6")
    seat.see_ticked("snow")
    seat.press("Control+z")
    seat.see_ticked(*ticked)
    seat.press("5", "e", "Control+Enter")
    sentence = page.get_by_text("Choose at least one reason")
    sentence.wait_for()
    page.get_by_role("button", name="OK").click()
    sentence.wait_for(state="detached")


def test_a_pair_is_answered_by_keyboard(room: Room) -> None:
    """Both photos of a pair are in sight, and one key and Ctrl+Enter answer it."""
    names = sorted(room.store(4))
    rows = [{"photo_a": a, "photo_b": b, "why": "open"} for a, b in (names[:2], names[2:])]
    room.workspace.write_table("unsure_pairs", tables.conform("unsure_pairs", rows))
    own = room.open_round("pairs", planned=plan_pairs).assignments["anna"]
    seat = room.seat("anna", guidelines="Same photo or not")
    for place, key in ((1, "s"), (2, "d")):
        seat.page.get_by_text(f"Pair {place} of 2").wait_for()
        seat.page.wait_for_function("[...document.images].filter(image => image.naturalWidth >= 800).length >= 2")
        seat.press(key)
        seat.submit()
    assert pull(room.workspace, room.studio, round_id="pairs", now=room.now)["counted"] == 2
    votes = {
        row["photo_id"]: row["codes"] for row in room.workspace.journal.rows("votes") if row["status"] == "counted"
    }
    assert votes == {own[0].photo_id: ["same"], own[1].photo_id: ["different"]}
