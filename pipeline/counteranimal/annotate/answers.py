"""One answer about one photo, and its spelling in Label Studio's regions.

Decides what a valid answer is: Label Studio accepts values that its own page never offered, so nothing it returns is taken
unchecked. Leaves which answers count to `votes`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from counteranimal.errors import Reason, Rejected

__all__ = ["Answer", "Question", "read_result", "to_result"]

Question = Mapping[str, Sequence[str]]
"""The values that each control of the page offers: background, usable, reject_reason, note; rules, which is no question."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one person said about one photo; `codes` sorted, each at most once."""

    background: str
    usable: bool = True
    codes: tuple[str, ...] = field(default=())


def to_result(answer: Answer, offered: Question) -> list[dict[str, Any]]:
    """Return the answer as Label Studio's list of regions, one a control."""
    chosen = {
        "background": [answer.background],
        "usable": ["usable" if answer.usable else "reject"],
        "reject_reason": [code for code in answer.codes if code in offered["reject_reason"] and not answer.usable],
        "note": [code for code in answer.codes if code in offered["note"]],
    }
    return [
        {"from_name": name, "to_name": "image", "type": "choices", "value": {"choices": values}}
        for name, values in chosen.items()
        if values
    ]


def read_result(result: Sequence[Mapping[str, Any]], offered: Question) -> Answer:
    """Return the answer that regions spell.

    Raises
    ------
    Rejected
        With E_ANSWER if a control or value is not on the page, a required one is missing, or one is answered twice.
    """
    chosen: dict[str, list[str]] = {}
    for region in result:
        name = str(region.get("from_name"))
        values = (region.get("value") or {}).get("choices")
        if name not in offered or not isinstance(values, list):
            raise Rejected(Reason.ANSWER, f"the page has no question {name!r} answered by choices")
        strange = [value for value in values if value not in offered[name]]
        if strange:
            raise Rejected(Reason.ANSWER, f"{name}: the page does not offer {strange[0]!r}")
        if name in chosen:
            raise Rejected(Reason.ANSWER, f"{name} is answered twice")
        chosen[name] = [str(value) for value in values]
    for name in ("background", "usable"):
        if len(chosen.get(name, [])) != 1:
            raise Rejected(Reason.ANSWER, f"{name} has {len(chosen.get(name, []))} answers instead of one")
    usable = chosen["usable"] == ["usable"]
    reasons = [] if usable else chosen.get("reject_reason", [])
    return Answer(chosen["background"][0], usable, tuple(sorted({*reasons, *chosen.get("note", [])})))
