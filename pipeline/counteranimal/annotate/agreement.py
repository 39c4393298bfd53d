"""How far people agree, and whether a round is good enough to publish.

Decides the gate: Krippendorff's alpha of the background question, on blind first votes pooled over the round, under
`alpha_block` blocks and under `alpha_warn` warns. Everything else is shown and never gates: alpha misleads for rare answers, so
cleaning codes show positive agreement. Alpha without pairs, or with one answer throughout, is undefined; nothing is shown by it, so
it blocks. Leaves single annotators and pairs of them to `annotators`.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from counteranimal.annotate.annotators import of_pairs, of_workers
from counteranimal.annotate.codes import codes
from counteranimal.annotate.coefficients import (
    alpha,
    alpha_interval,
    count_values,
    fleiss,
    fleiss_interval,
    positive_agreement,
    positive_interval,
    raw_agreement,
    raw_interval,
)
from counteranimal.annotate.plan import proposals
from counteranimal.annotate.rounds import Round, known_rounds
from counteranimal.annotate.votes import judged_votes
from counteranimal.errors import UsageError
from counteranimal.recipe import AnnotateRules, Recipe
from counteranimal.workspace import Workspace

__all__ = ["agreement", "measure"]

Vote = Mapping[str, Any]
Votes = Sequence[Vote]
MEASURED = frozenset({"counted", "gold", "set_aside"})


def agreement(
    recipe: Recipe, workspace: Workspace, *, rng: np.random.Generator, round_id: str | None = None
) -> dict[str, Any]:
    """Return the agreement figures of a round, or of all rounds pooled; JSON values, None where a figure is undefined.

    Returns
    -------
    dict
        What `measure` returns, with rounds and proposals (shown, accepted: on the select fold, where proposals are shown).

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
    table = judged_votes(journal.rows("votes"), known, recipe.annotate)
    photos = workspace.table("photos")
    class_of = dict(zip(photos.column("photo_id").to_pylist(), photos.column("class_id").to_pylist(), strict=True))
    votes = [
        {**row, "class_id": class_of.get(row["photo_id"], "unknown")}
        for row in table
        if row["round"] in chosen and row["status"] in MEASURED and row["background"] is not None
    ]
    figures = measure(votes, recipe.annotate, rng=rng, truth=_truth(table, known))
    proposed = proposals(recipe, workspace)
    shown = [row for row in votes if row["shown"] and row["photo_id"] in proposed and row["status"] == "counted"]
    accepted = sum(row["background"] == proposed[row["photo_id"]] for row in shown)
    return {"rounds": sorted(chosen), **figures, "proposals": {"shown": len(shown), "accepted": accepted}}


def measure(
    votes: Votes, rules: AnnotateRules, *, rng: np.random.Generator, truth: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return the figures over votes.

    Parameters
    ----------
    votes : sequence of mappings
        Rows of the `votes` table that name a background, with `class_id`: counted ones are measured; of gold items and of votes that
        were set aside only the annotators' own figures tell.
    truth : mapping of str to str
        Photo id -> background that is known (gold) or was settled by a named person.

    Returns
    -------
    dict
        background and usable (alpha, low, high, raw with its interval, n_photos, n_votes), fleiss (of background, over photos with
        the most frequent number of votes), per_class (as background), codes (positive with its interval, alpha, raw, n_yes), workers
        and pairs (see `annotators`), gate (pass, warn, block), why.
    """
    counted = _first_of_each([vote for vote in votes if vote["status"] == "counted"])
    by_photo: dict[str, list[Vote]] = defaultdict(list)
    by_class: dict[str, list[str]] = defaultdict(list)
    for vote in counted:
        if not vote["shown"]:
            if vote["photo_id"] not in by_photo:
                by_class[vote["class_id"]].append(vote["photo_id"])
            by_photo[vote["photo_id"]].append(vote)
    answers = {photo: [vote["background"] for vote in own] for photo, own in by_photo.items()}
    background = _figures(answers.values(), rng)
    gate, why = _gate(background, rules)
    return {
        "background": background,
        "fleiss": _fleiss_figures(list(answers.values()), rng),
        "usable": _figures(([vote["usable"] for vote in own] for own in by_photo.values()), rng),
        "per_class": {
            name: _figures((answers[photo] for photo in photos), rng) for name, photos in sorted(by_class.items())
        },
        "codes": _code_figures(list(by_photo.values()), rng),
        "workers": of_workers(votes, counted, truth or {}),
        "pairs": of_pairs(by_photo, votes, truth or {}, rng=rng),
        "gate": gate,
        "why": why,
    }


def _truth(table: Votes, known: Mapping[str, Round]) -> dict[str, str]:
    """Return photo id -> background, of gold items and of photos that somebody named has settled (the latest word counts)."""
    settled = [
        row for row in table
        if row["status"] == "counted" and row["background"] and known[row["round"]].role == "adjudication"
    ]  # fmt: skip
    latest = {row["photo_id"]: row["background"] for row in sorted(settled, key=lambda row: row["answered_at"])}
    return latest | {photo: word for item in known.values() for photo, word in item.gold.items()}


def _first_of_each(votes: Votes) -> list[Vote]:
    """Return each worker's first vote about each photo, over all rounds: a photo that is asked again has one vote a person."""
    first: dict[tuple[str, str], Vote] = {}
    for vote in sorted(votes, key=lambda vote: (vote["answered_at"], vote["annotation_id"])):
        first.setdefault((vote["worker"], vote["photo_id"]), vote)
    return list(first.values())


def _figures(units: Iterable[Sequence[Hashable]], rng: np.random.Generator) -> dict[str, Any]:
    counts = count_values(units)
    low, high = alpha_interval(counts, rng=rng)
    raw_low, raw_high = raw_interval(counts, rng=rng)
    return {
        "alpha": _finite(alpha(counts)),
        "low": _finite(low),
        "high": _finite(high),
        "raw": _finite(raw_agreement(counts)),
        "raw_low": _finite(raw_low),
        "raw_high": _finite(raw_high),
        "n_photos": len(counts),
        "n_votes": int(counts.sum()),
    }


def _fleiss_figures(units: Sequence[Sequence[Hashable]], rng: np.random.Generator) -> dict[str, Any]:
    """Return Fleiss' kappa over the photos with the most frequent number of votes, which it needs to be equal."""
    sizes = [len(unit) for unit in units if len(unit) >= 2]
    each = max(set(sizes), key=lambda size: (sizes.count(size), size)) if sizes else 0
    counts = count_values(unit for unit in units if len(unit) == each)
    low, high = fleiss_interval(counts, rng=rng)
    return {
        "kappa": _finite(fleiss(counts)),
        "low": _finite(low),
        "high": _finite(high),
        "n_photos": len(counts),
        "votes_each": each,
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


def _code_figures(by_photo: Sequence[Votes], rng: np.random.Generator) -> dict[str, Any]:
    found: dict[str, Any] = {}
    named = {code for own in by_photo for vote in own for code in vote["codes"] or ()}
    for code in (code for code in codes() if code in named):
        units = [[code in (vote["codes"] or ()) for vote in own] for own in by_photo]
        low, high = positive_interval(units, rng=rng)
        counts = count_values(units)
        found[code] = {
            "positive": _finite(positive_agreement(units)),
            "low": _finite(low),
            "high": _finite(high),
            "alpha": _finite(alpha(counts)),
            "raw": _finite(raw_agreement(counts)),
            "n_yes": sum(map(sum, units)),
            "n_photos": len(counts),
        }
    return found


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
