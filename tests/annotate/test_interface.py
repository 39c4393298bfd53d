"""The labelling page: what is on it, and what can never be."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest
from label_studio_sdk.label_interface import LabelInterface

from counteranimal.annotate.answers import Answer, read_result, to_result
from counteranimal.annotate.codes import codes
from counteranimal.annotate.interface import as_html, as_plain_text, interface, task_data
from counteranimal.errors import Rejected
from counteranimal.recipe import Recipe, RecipeClass, SourceSpec, backgrounds
from tests.fakes.photo_pool import a_recipe


def test_every_background_and_code_has_a_key_of_its_own() -> None:
    """No two choices of the page share a hotkey, so one key never answers two questions."""
    page = ET.fromstring(interface(a_recipe()).xml)  # noqa: S314 - our own page
    keys = [choice.attrib["hotkey"] for choice in page.iter("Choice")]
    # Label Studio's own tools for a photo listen to these (pan, move, unselect), and would take the key away from a choice.
    assert not set(keys) & {"h", "v", "u"}
    assert len(keys) == len(set(keys)) == len(backgrounds()) + 2 + len(codes()) + 1


def test_label_studio_reads_the_page_as_meant() -> None:
    """Label Studio's own parser finds the four questions and the guidelines, and accepts an answer that the page offers."""
    page = interface(a_recipe())
    parsed = LabelInterface(page.xml)
    assert {control.name for control in parsed.controls} == set(page.offered)
    parsed.validate()
    result = to_result(Answer("sand", usable=False, codes=("hand_or_body", "too_small")), page.offered)
    assert parsed.validate_annotation({"result": result})


def test_page_offers_the_backgrounds_in_use_and_the_open_answers() -> None:
    """A recipe with two backgrounds asks for those, or other, mixed, not sure."""
    recipe = Recipe(
        name="two",
        classes=(RecipeClass(id="cat", name="cat", imagenet=(281,)),),
        sources=(SourceSpec(name="folder", kind="folder"),),
        backgrounds=("snow", "grass"),
    )
    assert interface(recipe).offered["background"] == ["grass", "snow", "other", "mixed", "not_sure"]


def test_page_digest_follows_the_vocabulary() -> None:
    """The same recipe gives the same digest, and another vocabulary another one."""
    other = a_recipe().model_copy(update={"backgrounds": ("grass", "sand")})
    assert interface(a_recipe()).digest == interface(a_recipe()).digest != interface(other).digest


def test_page_reads_only_known_data_and_never_source() -> None:
    """The page names only keys of the task data, and none is called source, which Label Studio renders as the whole task."""
    named = {
        value[1:]
        for tag in ET.fromstring(interface(a_recipe()).xml).iter()  # noqa: S314 - our own page
        for value in tag.attrib.values()
        if value.startswith("$")
    }
    data = task_data("ab", a_recipe().classes[0], image="http://x/", credit="c", place=(1, 2))
    assert named == set(data) - {"photo_id"}
    assert set(data) == {"photo_id", "image", "species", "look_for", "credit", "place"}


@pytest.mark.case("F06")
def test_guidelines_and_credit_carry_no_markup_of_others() -> None:
    """Markup in text is shown as typed, not obeyed, and control characters are gone."""
    assert "<script>" not in as_html("a <script>alert(1)</script> b")
    assert as_plain_text("<b>\u202eevil\u0000\n</b>") == "<b>evil </b>"
    assert len(as_plain_text("x" * 1000)) == 300


@pytest.mark.parametrize(
    "change",
    [
        {"background": ["blue"]},
        {"background": ["sand", "grass"]},
        {"background": []},
        {"usable": ["perhaps"]},
        {"note": ["too_small"]},
        {"group": ["common"]},
    ],
)
def test_answers_off_the_page_are_refused(change: dict[str, list[str]]) -> None:
    """Whatever the server accepted, an answer that the page does not offer is no answer."""
    given = {"background": ["sand"], "usable": ["usable"]} | change
    result = [{"from_name": name, "type": "choices", "value": {"choices": values}} for name, values in given.items()]
    with pytest.raises(Rejected, match="E_ANSWER"):
        read_result(result, interface(a_recipe()).offered)


def test_reasons_left_from_a_changed_mind_do_not_count() -> None:
    """Reasons given before the photo was found usable after all are dropped; notes stay."""
    result = [
        {"from_name": "background", "value": {"choices": ["sand"]}},
        {"from_name": "usable", "value": {"choices": ["usable"]}},
        {"from_name": "reject_reason", "value": {"choices": ["too_small"]}},
        {"from_name": "note", "value": {"choices": ["hand_or_body"]}},
    ]
    assert read_result(result, interface(a_recipe()).offered) == Answer("sand", codes=("hand_or_body",))
