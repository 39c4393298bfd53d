"""The queue of pairs that may be one photo: which are asked, and what the answers settle.

Decides, from the journal alone, so that the same votes always settle the same pairs:

* Asked is every pair of `unsure_pairs` (hashes agree, pixels leave it open) and `similar_pairs` (close in a model's features) that
  is not settled, and that no open round asks about already.
* A round settles a pair when as many people answered as it planned and more than half of them say *same*, or more than half
  *different*; without such a majority, the latest answer of the person who adjudicates the round does. *Not sure* settles nothing.
* What a later round settles replaces what an earlier one did; every vote stays on record.

Leaves what follows for the photos to the next `dedupe`, which reads table `settled_pairs`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np

from counteranimal import tables
from counteranimal.annotate.pairs import pair_id, pair_page, photos_of
from counteranimal.annotate.plan import existing, round_key, summary
from counteranimal.annotate.rounds import Assignment, Round, adjudication_of, check_round_id, known_rounds, record_event
from counteranimal.annotate.sampling import assign
from counteranimal.annotate.votes import judged_votes
from counteranimal.errors import UsageError
from counteranimal.recipe import Recipe
from counteranimal.workspace import Workspace

__all__ = ["open_pairs", "plan_pairs", "settle", "undecided"]

_SETTLES = frozenset({"same", "different"})


def plan_pairs(  # noqa: PLR0913 - a round is named, staffed, dated and drawn at once
    recipe: Recipe,
    workspace: Workspace,
    *,
    round_id: str,
    workers: Sequence[str],
    now: datetime,
    rng: np.random.Generator,
) -> dict[str, Any]:
    """Plan a round over all open pairs; a round that is planned already is left as it is.

    Returns
    -------
    dict
        As `plan` does; `photos` counts pairs.

    Raises
    ------
    UsageError
        If the round is planned for other workers, there are too few workers, or no pair is open.
    """
    rounds = known_rounds(workspace.journal)
    if round_id in rounds:
        return existing(rounds[round_id], workers)
    pairs = open_pairs(recipe, workspace)
    if not pairs:
        raise UsageError("no pair of photos is left to ask about; `counteranimal dedupe` and `score` fill the queue")
    wanted = recipe.annotate.votes_per_photo
    dealt = assign(pairs, workers, votes_per_photo=wanted, rng=rng)
    planned = Round(
        round_id=check_round_id(round_id),
        key=round_key(recipe, workspace, round_id, now, (*pairs, *workers)),
        workers=tuple(workers),
        votes_per_photo=wanted,
        page=pair_page(),
        photos=dict.fromkeys(pairs, 1.0),
        assignments={worker: tuple(Assignment(pair) for pair in own) for worker, own in dealt.items()},
    )
    record_event(workspace.journal, round_id, "planned", planned.content(), now=now)
    return summary(planned, already=False)


def open_pairs(recipe: Recipe, workspace: Workspace) -> list[str]:
    """Return the pairs that wait for people and are in no open round, sorted."""
    settled = {pair_id(row["photo_a"], row["photo_b"]) for row in settle(recipe, workspace)}
    asked = {
        item for known in known_rounds(workspace.journal).values() if known.asks_pairs and not known.closed
        for item in known.photos
    }  # fmt: skip
    listed = {
        pair_id(row["photo_a"], row["photo_b"])
        for name in ("unsure_pairs", "similar_pairs")
        for row in workspace.table_or_empty(name).select(["photo_a", "photo_b"]).to_pylist()
    }
    return sorted(listed - settled - asked)


def settle(recipe: Recipe, workspace: Workspace) -> list[dict[str, Any]]:
    """Write table `settled_pairs` from the journal and return its rows."""
    journal = workspace.journal
    rounds = known_rounds(journal)
    votes = judged_votes(journal.rows("votes"), rounds, recipe.annotate)
    by_round = _votes_by_round(votes)
    found: dict[str, dict[str, Any]] = {}
    for name, item in rounds.items():
        if not item.asks_pairs or item.role == "adjudication":
            continue
        for pair in item.photos:
            answer = _settled(item, by_round[name][pair], by_round[adjudication_of(name)][pair])
            if answer is not None:
                found[pair] = answer | {"round": name}
    rows = [dict(zip(("photo_a", "photo_b"), photos_of(pair), strict=True)) | row for pair, row in found.items()]
    workspace.write_table("settled_pairs", tables.conform("settled_pairs", rows))
    return rows


def undecided(recipe: Recipe, workspace: Workspace, asked: Round) -> list[str]:
    """Return the pairs of a round that got all their votes without a majority and that nobody has settled, sorted."""
    journal = workspace.journal
    votes = judged_votes(journal.rows("votes"), known_rounds(journal), recipe.annotate)
    own = _votes_by_round(votes)[asked.round_id]
    settled = {pair_id(row["photo_a"], row["photo_b"]) for row in settle(recipe, workspace)}
    return sorted(pair for pair in asked.photos if len(own[pair]) >= asked.votes_per_photo and pair not in settled)


def _votes_by_round(votes: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, list[Mapping[str, Any]]]]:
    """Return round -> pair -> counted votes, each worker's one, in the order given."""
    found: dict[str, dict[str, list[Mapping[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    for vote in sorted(votes, key=lambda vote: (vote["answered_at"], vote["annotation_id"])):
        if vote["status"] == "counted":
            found[vote["round"]][vote["photo_id"]].append(vote)
    return found


def _settled(
    asked: Round, votes: Sequence[Mapping[str, Any]], adjudicated: Sequence[Mapping[str, Any]]
) -> dict[str, Any] | None:
    """Return answer, method and n_votes of one pair in one round, None while it is open."""
    counted = Counter(vote["codes"][0] for vote in votes)
    if len(votes) >= asked.votes_per_photo:
        answer, number = counted.most_common(1)[0]
        if answer in _SETTLES and 2 * number > len(votes):
            method = "unanimous" if number == len(votes) else "majority"
            return {"answer": answer, "method": method, "n_votes": len(votes)}
    last = adjudicated[-1]["codes"][0] if adjudicated else None
    return {"answer": last, "method": "adjudicated", "n_votes": len(votes)} if last in _SETTLES else None
