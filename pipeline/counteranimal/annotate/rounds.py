"""Rounds as the journal tells them: what was planned, where it was pushed, whether it is closed.

Decides how round events are spelled and read back. An adjudication is a round of its own, named after the round it settles.
Events of a round: `planned` (a later one of an adjudication extends the earlier), `drawn` (from which seed), `project`, `recorded`,
`simulated`, `pulled`, `removed` (tasks of withdrawn photos), `closed`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal

from counteranimal.annotate.interface import Interface
from counteranimal.errors import UsageError
from counteranimal.workspace import Journal

__all__ = [
    "Assignment",
    "Round",
    "adjudication_of",
    "check_round_id",
    "known_rounds",
    "load_round",
    "record_event",
    "seed_of",
]

_ROUND_ID = re.compile(r"[a-z0-9][a-z0-9_.-]{0,39}")


@dataclass(frozen=True, slots=True)
class Assignment:
    """One photo that one worker is to answer; `gold` is known only here and never reaches the page."""

    photo_id: str
    shown: bool = False
    gold: bool = False


@dataclass(frozen=True, slots=True)
class Round:
    """A planned round.

    `key` names it on a server: two workspaces that share a server never meet. `photos` maps each photo to its inclusion
    probability (in a round about pairs, their names stand for photos), `left_out` are photos that could have been drawn and were
    not, `gold` maps gold photos to their known background.
    """

    round_id: str
    key: str
    workers: tuple[str, ...]
    votes_per_photo: int
    page: Interface | None
    photos: dict[str, float]
    assignments: dict[str, tuple[Assignment, ...]]
    gold: dict[str, str] = field(default_factory=dict)
    left_out: tuple[str, ...] = ()
    role: Literal["round", "adjudication", "recorded"] = "round"
    settles: str = ""
    closed: bool = False

    @property
    def asks_pairs(self) -> bool:
        """Whether the round shows pairs of photos (see `pairs`); else it asks about backgrounds."""
        return self.page is not None and "pair" in self.page.offered

    def content(self) -> dict[str, Any]:
        """Return the plan as JSON values, for the journal."""
        return {
            "key": self.key,
            "workers": list(self.workers),
            "votes_per_photo": self.votes_per_photo,
            "page": self.page.record() if self.page else None,
            "photos": self.photos,
            "assignments": {
                worker: [[item.photo_id, item.shown, item.gold] for item in items]
                for worker, items in self.assignments.items()
            },
            "gold": self.gold,
            "left_out": list(self.left_out),
            "role": self.role,
            "settles": self.settles,
        }


def check_round_id(round_id: str) -> str:
    """Return the id; raises UsageError for one that cannot name a folder or a project."""
    if _ROUND_ID.fullmatch(round_id) is None:
        raise UsageError(f"round {round_id!r} is no name; use up to 40 of a-z, 0-9, dot, dash and underscore")
    return round_id


def adjudication_of(round_id: str) -> str:
    """Return the id of the round in which `round_id`'s disagreements are settled."""
    return f"{round_id}.settled"


def record_event(journal: Journal, round_id: str, event: str, content: Mapping[str, Any], *, now: datetime) -> None:
    """Append one event of a round."""
    journal.append("rounds", [{"round": round_id, "at": now, "event": event, "content": dict(content)}])


def seed_of(journal: Journal, round_id: str) -> str | None:
    """Return the text from which a round was drawn, None where none was recorded."""
    return next((row["content"]["seed"] for row in journal.rows("rounds", round=round_id, event="drawn")), None)


def known_rounds(journal: Journal) -> dict[str, Round]:
    """Return every round by id, in the order in which they were first planned or recorded."""
    found: dict[str, Round] = {}
    closed: set[str] = set()
    for row in journal.rows("rounds"):
        if row["event"] in {"planned", "recorded"}:
            found[row["round"]] = _of_content(row["round"], row["content"])
        elif row["event"] == "closed":
            closed.add(row["round"])
    return {name: _closed(item) if name in closed else item for name, item in found.items()}


def load_round(journal: Journal, round_id: str) -> Round:
    """Return one round; raises UsageError if it was never planned."""
    rounds = known_rounds(journal)
    if round_id not in rounds:
        known = ", ".join(rounds) or "none yet"
        raise UsageError(f"unknown round {round_id!r} (known: {known}); plan it with `counteranimal annotate plan`")
    return rounds[round_id]


def _of_content(round_id: str, content: Mapping[str, Any]) -> Round:
    return Round(
        round_id=round_id,
        key=content["key"],
        workers=tuple(content["workers"]),
        votes_per_photo=content["votes_per_photo"],
        page=Interface.of_record(content["page"]) if content["page"] else None,
        photos=dict(content["photos"]),
        assignments={
            worker: tuple(Assignment(*item) for item in items) for worker, items in content["assignments"].items()
        },
        gold=dict(content["gold"]),
        left_out=tuple(content["left_out"]),
        role=content["role"],
        settles=content["settles"],
    )


def _closed(item: Round) -> Round:
    return replace(item, closed=True)
