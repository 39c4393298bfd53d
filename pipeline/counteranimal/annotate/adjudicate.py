"""Settle disagreements: the photos on which a round found no majority become a queue for one named person.

Decides what is queued: every photo whose verdict is `no_majority`, and in a round about pairs every pair without a majority,
once. The queue is a round of its own on the same server, so pushing, pulling and the record work as for any other. Its answers
are not votes: they enter verdicts as `adjudicated` and stay out of every agreement figure.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from counteranimal.annotate.duplicates import undecided
from counteranimal.annotate.interface import interface
from counteranimal.annotate.port import Studio
from counteranimal.annotate.push import push
from counteranimal.annotate.rounds import Assignment, Round, adjudication_of, known_rounds, load_round, record_event
from counteranimal.annotate.verdicts import verdicts
from counteranimal.errors import Reason, UsageError
from counteranimal.ids import digest_of
from counteranimal.recipe import Recipe
from counteranimal.workspace import Workspace

__all__ = ["adjudicate", "queue"]


def queue(recipe: Recipe, workspace: Workspace, *, round_id: str) -> list[str]:
    """Return the kept photos, or the pairs, of a round whose votes have no majority and that nobody has settled, sorted."""
    source = load_round(workspace.journal, round_id)
    if source.asks_pairs:
        return undecided(recipe, workspace, source)
    asked = source.photos
    verdicts(recipe, workspace)
    kept = workspace.kept_photos()
    return [
        row["photo_id"]
        for row in workspace.table("verdicts").to_pylist()
        if row["reason"] == Reason.NO_MAJORITY.value and row["photo_id"] in asked and row["photo_id"] in kept
    ]


def adjudicate(  # noqa: PLR0913 - as push, and who settles
    recipe: Recipe,
    workspace: Workspace,
    studio: Studio,
    *,
    round_id: str,
    adjudicator: str,
    link: Callable[[str], str],
    now: datetime,
) -> dict[str, Any]:
    """Put a round's unsettled photos into a project for `adjudicator`; asking again adds only new ones.

    Answers are fetched by `pull` with the round that the result names, and enter at the next `verdicts`.

    Returns
    -------
    dict
        round (of the queue), queued, and what `push` returns.

    Raises
    ------
    UsageError
        If the round is unknown, is an adjudication itself, or already has another adjudicator.
    """
    source = load_round(workspace.journal, round_id)
    if source.role == "adjudication":
        raise UsageError(f"round {round_id} settles another round; adjudicate {source.settles} instead")
    name = adjudication_of(round_id)
    earlier = known_rounds(workspace.journal).get(name)
    if earlier is not None and earlier.workers != (adjudicator,):
        raise UsageError(f"round {round_id} is settled by {earlier.workers[0]}; name the same person")
    waiting = queue(recipe, workspace, round_id=round_id)
    asked = earlier.assignments[adjudicator] if earlier else ()
    known = {item.photo_id for item in asked}
    fresh = [photo for photo in waiting if photo not in known]
    if not waiting and earlier is None:
        return {"round": name, "queued": 0}
    if fresh:
        planned = Round(
            round_id=name,
            key=earlier.key if earlier else digest_of(recipe.name, name, source.key, adjudicator)[:16],
            workers=(adjudicator,),
            votes_per_photo=1,
            page=(earlier or source).page if earlier or source.asks_pairs else interface(recipe),
            photos={item.photo_id: 1.0 for item in asked} | dict.fromkeys(fresh, 1.0),
            assignments={adjudicator: (*asked, *(Assignment(photo) for photo in fresh))},
            role="adjudication",
            settles=round_id,
        )
        record_event(workspace.journal, name, "planned", planned.content(), now=now)
    sent = push(recipe, workspace, studio, round_id=name, link=link, now=now)
    return {"queued": len(fresh), **sent}
