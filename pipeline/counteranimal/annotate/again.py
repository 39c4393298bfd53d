"""Ask again about photos that came out of their rounds with too few votes.

Decides which: a kept photo of an earlier round whose counted votes, with those that people of open rounds still owe, do not reach
the number planned for it. That happens when somebody's votes were set aside for their gold items, when photos were skipped, or when
a round was closed early. The photos go to people who have not been asked about them, blind, with gold items of their own; they keep
the inclusion probability of the round that drew them. Leaves what the votes add up to, over all rounds, to `verdicts`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from counteranimal.annotate.codes import codes
from counteranimal.annotate.interface import interface
from counteranimal.annotate.plan import existing, gold_items, round_key, summary, with_gold
from counteranimal.annotate.rounds import Assignment, Round, check_round_id, known_rounds, record_event
from counteranimal.annotate.votes import judged_votes
from counteranimal.errors import UsageError
from counteranimal.recipe import Recipe
from counteranimal.workspace import Workspace

__all__ = ["lacking_votes", "plan_again"]


def plan_again(  # noqa: PLR0913 - a round is named, staffed, dated and drawn at once
    recipe: Recipe,
    workspace: Workspace,
    *,
    round_id: str,
    workers: Sequence[str],
    now: datetime,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Plan a round over the photos that lack votes; a round that is planned already is left as it is.

    Returns
    -------
    dict
        As `plan` does.

    Raises
    ------
    UsageError
        If the round is planned for other workers, no photo lacks votes, or too few of the workers are new to a photo.
    """
    rounds = known_rounds(workspace.journal)
    if round_id in rounds:
        return existing(rounds[round_id], workers)
    lacking = lacking_votes(recipe, workspace)
    if not lacking:
        raise UsageError("no photo lacks votes: all are answered, or somebody of an open round still owes an answer")
    chance = {photo: value for item in reversed(rounds.values()) for photo, value in item.photos.items()}
    dealt = _deal(lacking, workers, _asked(rounds), rng)
    gold = gold_items(workspace)
    planned = Round(
        round_id=check_round_id(round_id),
        key=round_key(recipe, workspace, round_id, now, (*sorted(lacking), *workers)),
        workers=tuple(workers),
        votes_per_photo=recipe.annotate.votes_per_photo,
        page=interface(recipe),
        photos={photo: chance[photo] for photo in sorted(lacking)},
        assignments={
            worker: with_gold([Assignment(photo) for photo in own], gold, recipe.annotate.gold, rng)
            for worker, own in dealt.items()
        },
        gold=gold,
    )
    record_event(workspace.journal, round_id, "planned", planned.content(), now=now)
    return summary(planned, already=False)


def lacking_votes(recipe: Recipe, workspace: Workspace) -> dict[str, int]:
    """Return photo id -> votes that are missing and that nobody owes any more."""
    rounds = known_rounds(workspace.journal)
    votes = judged_votes(workspace.journal.rows("votes"), rounds, recipe.annotate)
    kept = workspace.kept_photos()
    barred = {name for name, code in codes().items() if code.rejects}
    counted: dict[str, set[str]] = defaultdict(set)
    settled: set[str] = set()
    for row in votes:
        if row["status"] == "counted":
            counted[row["photo_id"]].add(row["worker"])
            if barred.intersection(row["codes"] or ()):
                settled.add(row["photo_id"])
    answered = {(row["round"], row["worker"], row["photo_id"]) for row in votes if row["status"] != "draft"}
    owed: Counter[str] = Counter()
    asked: set[str] = set()
    for name, item in rounds.items():
        if item.asks_pairs or item.role == "adjudication":
            continue
        asked |= item.photos.keys()
        if not item.closed:
            owed.update(
                task.photo_id
                for worker, own in item.assignments.items()
                for task in own
                if (name, worker, task.photo_id) not in answered
            )
    wanted = recipe.annotate.votes_per_photo
    missing = {photo: wanted - len(counted[photo]) - owed[photo] for photo in (asked & kept.keys()) - settled}
    return {photo: number for photo, number in sorted(missing.items()) if number > 0}


def _asked(rounds: Mapping[str, Round]) -> dict[str, set[str]]:
    """Return photo id -> everyone who was ever asked about it."""
    found: dict[str, set[str]] = defaultdict(set)
    for item in rounds.values():
        for worker, own in item.assignments.items():
            for task in own:
                found[task.photo_id].add(worker)
    return found


def _deal(
    lacking: Mapping[str, int], workers: Sequence[str], asked: Mapping[str, set[str]], rng: np.random.Generator
) -> dict[str, list[str]]:
    """Return worker -> photos new to them, the least loaded first, in an order of their own."""
    if len(set(workers)) < len(workers):
        raise UsageError("a worker is named twice; one person answers a photo once")
    dealt: dict[str, list[str]] = {worker: [] for worker in workers}
    for photo, number in lacking.items():
        new = [worker for worker in workers if worker not in asked[photo]]
        if len(new) < number:
            raise UsageError(
                f"photo {photo[:12]} lacks {number} votes and {len(new)} of the named people were never asked about it; "
                "name more people"
            )
        order = sorted(new, key=lambda worker: (len(dealt[worker]), rng.random()))
        for worker in order[:number]:
            dealt[worker].append(photo)
    return {worker: [own[index] for index in rng.permutation(len(own))] for worker, own in dealt.items()}
