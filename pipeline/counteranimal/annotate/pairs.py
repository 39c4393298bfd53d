"""Pairs of photos as things to ask about: how a pair is named, the page that shows it, and what an answer to it is.

Decides the spelling. A pair stands where a photo stands in a round, named by both ids, so that planning, pushing, pulling and the
record work as for any round. Leaves which pairs are asked, and what the answers settle, to `duplicates`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from counteranimal.annotate.interface import Interface, as_html, as_plain_text
from counteranimal.errors import Reason, Rejected
from counteranimal.resources import resource

__all__ = ["ANSWERS", "QUESTION", "pair_data", "pair_id", "pair_page", "photos_of", "read_pair", "to_pair_result"]

QUESTION = "pair"
ANSWERS = ("same", "different", "not_sure")
_JOINT = "+"


def pair_id(a: str, b: str) -> str:
    """Return the name of a pair, whichever photo comes first.

    Examples
    --------
    >>> pair_id("b", "a"), photos_of("a+b"), photos_of("a")
    ('a+b', ('a', 'b'), ('a',))
    """
    return _JOINT.join(sorted((a, b)))


def photos_of(item: str) -> tuple[str, ...]:
    """Return the photos that an item of a round shows: one, or the two of a pair."""
    return tuple(item.split(_JOINT))


def pair_page() -> Interface:
    """Return the page of a round about pairs; the same files give the same digest."""
    xml = resource("annotations/pairs.xml").read_text(encoding="utf-8")
    guidelines = resource("annotations/pairs.md").read_text(encoding="utf-8")
    return Interface(xml, as_html(guidelines), {QUESTION: list(ANSWERS)})


def pair_data(item: str, images: tuple[str, str], credit: tuple[str, str], place: tuple[int, int]) -> dict[str, str]:
    """Return the data of one task: where both photos load from, whom to credit, and how far the annotator is."""
    return {
        "photo_id": item,
        "image": images[0],
        "other": images[1],
        "credit": as_plain_text(credit[0]) or "credit unknown",
        "other_credit": as_plain_text(credit[1]) or "credit unknown",
        "place": f"Pair {place[0]} of {place[1]} · {place[1] - place[0]} left after this one",
    }


def to_pair_result(answer: str) -> list[dict[str, Any]]:
    """Return an answer as Label Studio's list of regions."""
    return [{"from_name": QUESTION, "to_name": "image", "type": "choices", "value": {"choices": [answer]}}]


def read_pair(result: Sequence[Mapping[str, Any]]) -> str:
    """Return the answer that regions spell.

    Raises
    ------
    Rejected
        With E_ANSWER unless it is one of `ANSWERS`, once.
    """
    if len(result) != 1 or result[0].get("from_name") != QUESTION:
        raise Rejected(Reason.ANSWER, f"a pair has one answer, to the question {QUESTION!r}")
    values = (result[0].get("value") or {}).get("choices")
    if not isinstance(values, list) or len(values) != 1 or values[0] not in ANSWERS:
        raise Rejected(Reason.ANSWER, f"{QUESTION}: the page does not offer {values!r}")
    return str(values[0])
