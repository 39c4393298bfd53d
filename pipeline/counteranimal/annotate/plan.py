"""Plan a round: draw the photos, deal them to people, fix the page, and write all of it to the journal before anything is sent.

Decides a round's content once and for all: `push` only carries it out, so a plan that was interrupted, pushed twice or pushed by
newer code asks the same people the same questions. Leaves the draw and the deal to `sampling`.
"""

from __future__ import annotations

import csv
import functools
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from counteranimal.annotate.interface import interface
from counteranimal.annotate.rounds import Assignment, Round, check_round_id, known_rounds, record_event
from counteranimal.annotate.sampling import assign, blind_or_shown, fitting, sample
from counteranimal.errors import UsageError
from counteranimal.ids import digest_of, fold_of, is_photo_id
from counteranimal.recipe import AnnotateRules, Recipe, backgrounds
from counteranimal.workspace import Workspace

__all__ = [
    "SECONDS_A_VOTE",
    "doubts",
    "existing",
    "gold_items",
    "plan",
    "proposals",
    "round_key",
    "summary",
    "with_gold",
]

SECONDS_A_VOTE = 10
"""What a practised annotator needs for one photo; used to tell the curator how long a round takes."""


def plan(  # noqa: PLR0913 - a round is named, staffed, dated and drawn at once
    recipe: Recipe,
    workspace: Workspace,
    *,
    round_id: str,
    workers: Sequence[str],
    now: datetime,
    rng: np.random.Generator,
    hours: float | None = None,
) -> dict[str, Any]:
    """Plan a round over the kept photos that no earlier round could have drawn.

    A round that is planned already is left as it is and reported with `already` True.

    Parameters
    ----------
    hours : float, optional
        What each person has: fewer photos of each stratum are drawn until the longest share fits. None draws as the recipe says.

    Returns
    -------
    dict
        round, photos, votes_per_photo, votes, blind, shown, gold, workers (name -> photos), hours (for the longest share), page
        (digest), already.

    Raises
    ------
    UsageError
        If the round is planned for other workers, there are too few workers, no photo is left to ask about, or the hours do
        not reach for one photo of each stratum.
    """
    rounds = known_rounds(workspace.journal)
    if round_id in rounds:
        return existing(rounds[round_id], workers)
    gold = gold_items(workspace)
    frame = _frame(workspace.kept_photos(), gold, rounds)
    proposed = proposals(recipe, workspace)
    rules = recipe.annotate
    strata = {photo: (row["class_id"], proposed.get(photo, "unknown")) for photo, row in frame.items()}
    per_cell = _per_cell(rules, strata, hours=hours, gold=len(gold), people=len(workers))
    drawn = sample(strata, photos_per_cell=per_cell, random_share=rules.random_share, rng=rng)
    dealt = assign(list(drawn), workers, votes_per_photo=rules.votes_per_photo, rng=rng)
    dealt = _doubtful_first(dealt, doubts(workspace))
    in_select = {photo for photo in drawn if fold_of(recipe.seed, frame[photo]["fold_unit"]) == "select"}
    known = {photo for photo, word in proposed.items() if backgrounds()[word].decides}
    shown = blind_or_shown(dealt, may_show=in_select & known, rng=rng)
    planned = Round(
        round_id=check_round_id(round_id),
        key=round_key(recipe, workspace, round_id, now, (*sorted(drawn), *workers)),
        workers=tuple(workers),
        votes_per_photo=rules.votes_per_photo,
        page=interface(recipe),
        photos=drawn,
        assignments={
            worker: with_gold([Assignment(photo, shown[worker, photo]) for photo in photos], gold, rules.gold, rng)
            for worker, photos in dealt.items()
        },
        gold=gold,
        left_out=tuple(sorted(set(frame) - set(drawn))),
    )
    record_event(workspace.journal, round_id, "planned", planned.content(), now=now)
    return summary(planned, already=False)


def round_key(recipe: Recipe, workspace: Workspace, round_id: str, now: datetime, names: Sequence[str]) -> str:
    """Return what tells this round's projects on a server from those of any other; `names` are what it asks about, then its people."""
    return digest_of(str(workspace.home), recipe.name, round_id, now.isoformat(), *names)[:16]


def _per_cell(
    rules: AnnotateRules, strata: Mapping[str, tuple[str, str]], *, hours: float | None, gold: int, people: int
) -> int | None:
    """Return how many photos of each stratum are drawn: the recipe's number (None: all), or fewer where the hours do not reach."""
    if hours is None:
        return rules.photos_per_cell
    affordable = (hours * 3600 / SECONDS_A_VOTE - min(rules.gold, gold)) * people / rules.votes_per_photo
    return fitting(strata, rules.photos_per_cell, random_share=rules.random_share, photos=affordable)


def _doubtful_first(dealt: Mapping[str, Sequence[str]], doubtful: Mapping[str, int]) -> dict[str, list[str]]:
    """Return each worker's photos with the most doubtful ones first, since they show a bad source or crop at once; others as dealt."""
    return {worker: sorted(own, key=lambda photo: -doubtful.get(photo, 0)) for worker, own in dealt.items()}


def _frame(
    kept: Mapping[str, dict[str, Any]], gold: Mapping[str, str], rounds: Mapping[str, Round]
) -> dict[str, dict[str, Any]]:
    """Return the kept photos that this round can draw: neither gold nor on the frame of an earlier round."""
    earlier = (item for item in rounds.values() if item.role != "adjudication")
    asked = {photo for item in earlier for photo in (*item.photos, *item.left_out)}
    frame = {photo: row for photo, row in kept.items() if photo not in asked and photo not in gold}
    if not frame:
        raise UsageError("no photo is left to ask about; every kept photo is in an earlier round, or none is kept yet")
    return frame


def proposals(recipe: Recipe, workspace: Workspace) -> dict[str, str]:
    """Return photo id -> the machine's background of the recipe's scoring model; empty before scoring.

    A photo for which it proposed none (`not_sure`) has that word: it is a stratum of its own and never on the screen.
    """
    scores = workspace.table_or_empty("scores", ["photo_id", "model", "view", "background", "status"])
    wanted = {"model": recipe.score.model, "view": recipe.score.view, "status": "ok"}
    fits = functools.reduce(pc.and_, (pc.equal(scores[name], word) for name, word in wanted.items()))
    scores = scores.filter(pc.and_(fits, pc.is_in(scores["background"], value_set=pa.array(backgrounds()))))
    return dict(zip(scores["photo_id"].to_pylist(), scores["background"].to_pylist(), strict=True))


def doubts(workspace: Workspace) -> dict[str, int]:
    """Return photo id -> how many things may be wrong with it by the machine's measures; empty before scoring."""
    scores = workspace.table_or_empty("scores", ["photo_id", "proposals"])
    numbers = pc.fill_null(pc.list_value_length(scores["proposals"]), 0)
    return dict(zip(scores["photo_id"].to_pylist(), numbers.to_pylist(), strict=True))


def gold_items(workspace: Workspace) -> dict[str, str]:
    """Return photo id -> background of the workspace's gold items that are kept; raises UsageError as `read_gold` does."""
    gold = read_gold(workspace.folder("rounds") / "gold.csv")
    kept = workspace.kept_photos() if gold else {}
    return {photo: word for photo, word in gold.items() if photo in kept}


def read_gold(path: Path) -> dict[str, str]:
    """Return photo id -> background of the gold items; empty where there is no file.

    Raises
    ------
    UsageError
        With the line, for an id that is none or an unknown background.
    """
    if not path.exists():
        return {}
    found: dict[str, str] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.DictReader(file), start=2):
            photo, word = row.get("photo_id") or "", row.get("background") or ""
            if not is_photo_id(photo) or word not in backgrounds():
                raise UsageError(
                    f"{path}, line {number}: {photo!r},{word!r} is no photo id and background; mend the line"
                )
            found[photo] = word
    return found


def with_gold(
    items: list[Assignment], gold: Mapping[str, str], wanted: int, rng: np.random.Generator
) -> tuple[Assignment, ...]:
    """Mix gold items in at random places: as many as wanted, blind, in no recognisable order."""
    chosen = sorted(gold)
    picked = rng.permutation(len(chosen))[:wanted]
    mixed = list(items)
    for index in picked:
        mixed.insert(int(rng.integers(len(mixed) + 1)), Assignment(chosen[index], gold=True))
    return tuple(mixed)


def existing(found: Round, workers: Sequence[str]) -> dict[str, Any]:
    """Return the summary of a round that is planned already; raises UsageError where it is planned for others."""
    if set(found.workers) != set(workers):
        raise UsageError(
            f"round {found.round_id} is planned for {', '.join(found.workers)}; name the same workers or plan another round"
        )
    return summary(found, already=True)


def summary(planned: Round, *, already: bool) -> dict[str, Any]:
    """Return what `plan` returns of a round."""
    items = [item for own in planned.assignments.values() for item in own]
    longest = max((len(own) for own in planned.assignments.values()), default=0)
    return {
        "round": planned.round_id,
        "photos": len(planned.photos),
        "votes_per_photo": planned.votes_per_photo,
        "votes": sum(not item.gold for item in items),
        "blind": sum(not item.shown and not item.gold for item in items),
        "shown": sum(item.shown for item in items),
        "gold": sum(item.gold for item in items),
        "workers": {worker: len(own) for worker, own in planned.assignments.items()},
        "hours": round(longest * SECONDS_A_VOTE / 3600, 2),
        "page": planned.page.digest if planned.page else None,
        "already": already,
    }
