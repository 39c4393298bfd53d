"""How far people agree, and whether a round is good enough to publish.

Decides the gate: Krippendorff's alpha of the background question, on blind first votes pooled over the round, under
`alpha_block` blocks and under `alpha_warn` warns. Everything else is shown and never gates: alpha misleads for rare answers, so
cleaning codes show positive agreement. Alpha without pairs, or with one answer throughout, is undefined; nothing is shown by it, so
it blocks.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from counteranimal.annotate.alpha import alpha, alpha_interval, count_values, positive_agreement, raw_agreement
from counteranimal.annotate.codes import codes
from counteranimal.annotate.plan import proposals
from counteranimal.annotate.rounds import known_rounds
from counteranimal.annotate.votes import gold_scores, votes_table
from counteranimal.errors import UsageError
from counteranimal.recipe import AnnotateRules, Recipe
from counteranimal.workspace import Workspace

__all__ = ["agreement", "measure"]

Votes = Sequence[Mapping[str, Any]]


def agreement(
    recipe: Recipe, workspace: Workspace, *, rng: np.random.Generator, round_id: str | None = None
) -> dict[str, Any]:
    """Return the agreement figures of a round, or of all rounds pooled; JSON values, None where a figure is undefined.

    Returns
    -------
    dict
        background and usable (alpha, low, high, raw, n_photos, n_votes), per_class (the same for background), codes
        (positive, n_yes), workers (n_votes, raw agreement with others, seconds, most_common, gold), proposals (shown,
        accepted), gate (pass, warn, block), why.

    Raises
    ------
    UsageError
        If the round is unknown.
    """
    journal = workspace.journal
    known = known_rounds(journal)
    if round_id in known and known[round_id].asks_pairs:
        raise UsageError(f"round {round_id} asks about pairs of photos; agreement is measured on backgrounds")
    rounds = {name: item for name, item in known.items() if item.role != "adjudication" and not item.asks_pairs}
    if round_id is not None and round_id not in rounds:
        raise UsageError(f"unknown round {round_id!r}; known are {', '.join(rounds) or 'none yet'}")
    chosen = {round_id} if round_id else set(rounds)
    table = votes_table(journal.rows("votes"), known, recipe.annotate).to_pylist()
    class_of = {row["photo_id"]: row["class_id"] for row in workspace.table("photos").to_pylist()}
    votes = [
        {**row, "class_id": class_of.get(row["photo_id"], "unknown")}
        for row in table
        if row["round"] in chosen and row["status"] in {"counted", "gold"}
    ]
    figures = measure([row for row in votes if row["status"] == "counted"], recipe.annotate, rng=rng)
    for (name, worker), (right, answered) in gold_scores(votes, rounds).items():
        if name in chosen and worker in figures["workers"]:
            figures["workers"][worker]["gold"] = {"right": right, "answered": answered}
    proposed = proposals(recipe, workspace)
    shown = [row for row in votes if row["shown"] and row["photo_id"] in proposed]
    accepted = sum(row["background"] == proposed[row["photo_id"]] for row in shown)
    return {"rounds": sorted(chosen), **figures, "proposals": {"shown": len(shown), "accepted": accepted}}


def measure(votes: Votes, rules: AnnotateRules, *, rng: np.random.Generator) -> dict[str, Any]:
    """Return the figures over counted votes (round, photo_id, worker, class_id, background, usable, codes, seconds, shown)."""
    blind = [vote for vote in votes if not vote["shown"]]
    by_class: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for vote in blind:
        by_class[vote["class_id"]].append(vote)
    background = _figures(blind, "background", rng)
    gate, why = _gate(background, rules)
    return {
        "background": background,
        "usable": _figures(blind, "usable", rng),
        "per_class": {name: _figures(own, "background", rng) for name, own in sorted(by_class.items())},
        "codes": _code_figures(blind),
        "workers": _worker_figures(votes),
        "gate": gate,
        "why": why,
    }


def _units(votes: Votes, question: str) -> list[list[Any]]:
    units: dict[tuple[str, str], list[Any]] = defaultdict(list)
    for vote in votes:
        units[vote["round"], vote["photo_id"]].append(vote[question])
    return list(units.values())


def _figures(votes: Votes, question: str, rng: np.random.Generator) -> dict[str, Any]:
    counts = count_values(_units(votes, question))
    low, high = alpha_interval(counts, rng=rng)
    return {
        "alpha": _finite(alpha(counts)),
        "low": _finite(low),
        "high": _finite(high),
        "raw": _finite(raw_agreement(counts)),
        "n_photos": len(counts),
        "n_votes": int(counts.sum()),
    }


def _gate(background: Mapping[str, Any], rules: AnnotateRules) -> tuple[str, str]:
    value = background["alpha"]
    if value is None:
        return "block", "alpha is undefined: no photo has two blind votes, or every vote names one background"
    if value < rules.alpha_block:
        return "block", f"alpha {value:.3f} is under {rules.alpha_block}"
    if value < rules.alpha_warn:
        return "warn", f"alpha {value:.3f} is under {rules.alpha_warn}"
    return "pass", f"alpha {value:.3f} is at least {rules.alpha_warn}"


def _code_figures(votes: Votes) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for code in codes():
        marks = [{**vote, "said": code in (vote["codes"] or [])} for vote in votes]
        said = sum(mark["said"] for mark in marks)
        if said:
            found[code] = {"positive": _finite(positive_agreement(_units(marks, "said"))), "n_yes": said}
    return found


def _worker_figures(votes: Votes) -> dict[str, Any]:
    """Return each worker's own figures; raw agreement is with everyone else who answered the same photo."""
    of_photo: dict[tuple[str, str], list[Mapping[str, Any]]] = defaultdict(list)
    own: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for vote in votes:
        of_photo[vote["round"], vote["photo_id"]].append(vote)
        own[vote["worker"]].append(vote)
    found: dict[str, Any] = {}
    for worker, mine in sorted(own.items()):
        pairs = [
            vote["background"] == other["background"]
            for vote in mine
            for other in of_photo[vote["round"], vote["photo_id"]]
            if other["worker"] != worker
        ]
        answer, number = Counter(vote["background"] for vote in mine).most_common(1)[0]
        found[worker] = {
            "n_votes": len(mine),
            "raw": _mean(pairs),
            "seconds": _median(vote["seconds"] for vote in mine if vote["seconds"] is not None),
            "most_common": {"background": answer, "share": number / len(mine)},
            "gold": None,
        }
    return found


def _mean(values: Sequence[bool]) -> float | None:
    return sum(values) / len(values) if values else None


def _median(values: Iterable[float]) -> float | None:
    listed = list(values)
    return float(np.median(listed)) if listed else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
