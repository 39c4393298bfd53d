"""How far a round is, and its end.

Decides what is counted: for each worker `tasks = accepted + rejected + skipped + pending`, from the journal alone, so that the
same figures come out with the labelling server switched off. Accepted are photos found usable, rejected those turned down; an
answer that the page does not offer, or an empty one, leaves its task pending.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime
from typing import Any

from counteranimal.annotate.push import projects_of
from counteranimal.annotate.rounds import Round, known_rounds, load_round, record_event
from counteranimal.annotate.votes import judged_votes
from counteranimal.recipe import Recipe
from counteranimal.workspace import Workspace

__all__ = ["close", "status"]

ANSWERED = frozenset({"counted", "gold"})


def status(recipe: Recipe, workspace: Workspace) -> dict[str, Any]:
    """Return round -> role, closed, photos, pushed (tasks on record) and workers (name -> tasks, accepted, rejected, skipped, pending)."""
    journal = workspace.journal
    rounds = known_rounds(journal)
    votes = judged_votes(journal.rows("votes"), rounds, recipe.annotate)
    found: dict[str, Any] = {}
    for name, item in rounds.items():
        own = [row for row in votes if row["round"] == name]
        found[name] = {
            "role": item.role,
            "closed": item.closed,
            "photos": len(item.photos),
            "projects": projects_of(journal, name),
            "pushed": len({(row["worker"], row["photo_id"]) for row in journal.rows("tasks", round=name)}),
            "workers": _workers(item, own),
        }
    return found


def close(recipe: Recipe, workspace: Workspace, *, round_id: str, now: datetime) -> dict[str, Any]:
    """End a round, whether or not everyone has finished: no more tasks are pushed for it.

    Answers that arrive later are still pulled and kept. Photos left with too few votes stay without verdict.

    Returns
    -------
    dict
        round, workers (as `status` counts them), pending (tasks that nobody will be reminded of), already.
    """
    found = load_round(workspace.journal, round_id)
    workers = status(recipe, workspace)[round_id]["workers"]
    if not found.closed:
        record_event(workspace.journal, round_id, "closed", {"workers": workers}, now=now)
    pending = sum(counts["pending"] for counts in workers.values())
    return {"round": round_id, "workers": workers, "pending": pending, "already": found.closed}


def _workers(item: Round, votes: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    found: dict[str, dict[str, int]] = {}
    for worker, assigned in item.assignments.items():
        outcome: dict[str, str] = {}
        for row in votes:
            if row["worker"] != worker:
                continue
            if row["status"] in ANSWERED or row["reason"] == "gold":
                outcome[row["photo_id"]] = "rejected" if row["usable"] is False else "accepted"
            elif row["status"] == "skipped":
                outcome.setdefault(row["photo_id"], "skipped")
        counts = Counter(outcome.get(task.photo_id, "pending") for task in assigned)
        found[worker] = {"tasks": len(assigned)} | {
            kind: counts[kind] for kind in ("accepted", "rejected", "skipped", "pending")
        }
    return found
