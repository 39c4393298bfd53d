"""What the votes about a photo add up to: one verdict a photo, with the reason where there is none.

Decides by strict majority over counted votes of different people; a tie is no majority until somebody named settles it
(`adjudicate`). One person naming a code that rejects (a recognisable person) keeps a photo out whatever the others say. Leaves
what a background means for groups to `discovery`: mixed, other and not sure are honest verdicts that never form one.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from counteranimal import tables
from counteranimal.annotate.codes import codes
from counteranimal.annotate.rounds import Round, known_rounds
from counteranimal.annotate.votes import votes_table
from counteranimal.errors import Reason
from counteranimal.recipe import Recipe
from counteranimal.workspace import Workspace

__all__ = ["judge", "verdicts"]


def verdicts(recipe: Recipe, workspace: Workspace) -> dict[str, Any]:
    """Write the tables `votes` and `verdicts` from the journal.

    Every photo that any round asked about has a row, whether or not somebody answered; gold items have none.

    Returns
    -------
    dict
        photos, ok, by method (unanimous, majority, adjudicated) and by reason (unusable, no_majority, too_few_votes, ...),
        votes (counted).
    """
    journal = workspace.journal
    rounds = known_rounds(journal)
    votes = workspace.write_table("votes", votes_table(journal.rows("votes"), rounds, recipe.annotate))
    asked = {
        photo: chance
        for item in rounds.values()
        for photo, chance in item.photos.items()
        if item.role != "adjudication" and not item.asks_pairs
    }
    by_photo: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in votes.to_pylist():
        if row["status"] == "counted":
            by_photo[row["photo_id"]].append(row)
    rows = [
        _row(photo, by_photo[photo], chance, rounds, recipe.annotate.votes_per_photo) for photo, chance in asked.items()
    ]
    table = workspace.write_table("verdicts", tables.conform("verdicts", rows))
    outcome = Counter(row["reason"] or row["method"] for row in table.to_pylist())
    ok = sum(row["status"] == "ok" for row in rows)
    return {"photos": len(rows), "ok": ok, **dict(sorted(outcome.items())), "votes": sum(map(len, by_photo.values()))}


def judge(votes: Sequence[Mapping[str, Any]], *, wanted: int) -> dict[str, Any]:
    """Return background, usable, codes, n_votes, method, status and reason of one photo.

    Parameters
    ----------
    votes : sequence of mappings
        Counted votes of different people: background, usable, codes.
    wanted : int
        Fewer votes than this are too few.

    Examples
    --------
    >>> vote = {"background": "sand", "usable": True, "codes": []}
    >>> judge([vote, vote], wanted=2)["method"], judge([vote], wanted=2)["reason"]
    ('unanimous', 'too_few_votes')
    """
    background = _majority([vote["background"] for vote in votes])
    usable = _majority([vote["usable"] for vote in votes])
    one_voice = len({(vote["background"], vote["usable"]) for vote in votes}) == 1
    verdict: dict[str, Any] = {
        "background": background,
        "usable": usable,
        "codes": _agreed_codes(votes),
        "n_votes": len(votes),
        "method": "unanimous" if one_voice else "majority",
        "status": "rejected",
        "reason": None,
    }
    barred = {name for name, code in codes().items() if code.rejects}
    if any(barred.intersection(vote["codes"]) for vote in votes):
        return verdict | {"reason": Reason.PERSON.value}
    if len(votes) < wanted:
        return verdict | {"method": None, "reason": Reason.TOO_FEW_VOTES.value}
    if usable is False:
        return verdict | {"reason": Reason.UNUSABLE.value}
    if usable is None or background is None:
        return verdict | {"method": None, "reason": Reason.NO_MAJORITY.value}
    return verdict | {"status": "ok"}


def _row(
    photo: str, votes: Sequence[Mapping[str, Any]], chance: float, rounds: Mapping[str, Round], wanted: int
) -> dict[str, Any]:
    voted = [vote for vote in votes if rounds[vote["round"]].role != "adjudication"]
    settled = [vote for vote in votes if rounds[vote["round"]].role == "adjudication"]
    verdict = judge(_one_a_worker(voted), wanted=wanted)
    if settled and verdict["reason"] == Reason.NO_MAJORITY.value:
        latest = max(settled, key=lambda vote: (vote["answered_at"], vote["annotation_id"]))
        verdict = judge([latest], wanted=1) | {"n_votes": verdict["n_votes"], "method": "adjudicated"}
    return {"photo_id": photo, "inclusion_probability": chance, **verdict}


def _one_a_worker(votes: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return each worker's first vote over all rounds."""
    first: dict[str, Mapping[str, Any]] = {}
    for vote in sorted(votes, key=lambda vote: (vote["answered_at"], vote["annotation_id"])):
        first.setdefault(vote["worker"], vote)
    return list(first.values())


def _majority(values: Sequence[Any]) -> Any:
    """Return the value that more than half name, None if there is none."""
    if not values:
        return None
    value, number = Counter(values).most_common(1)[0]
    return value if 2 * number > len(values) else None


def _agreed_codes(votes: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the codes that at least half of the votes name, and those that reject however few name them."""
    barred = {name for name, code in codes().items() if code.rejects}
    named = Counter(code for vote in votes for code in vote["codes"])
    return sorted(code for code, number in named.items() if 2 * number >= len(votes) or code in barred)
