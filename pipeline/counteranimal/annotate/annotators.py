"""What the votes say about the people who gave them: speed, sameness, gold items, and errors that two people share.

Decides the figures of each annotator and of each two of them; none of them gates or sets anything aside by itself. Gold items and
photos that a named person settled are the truth that errors are counted against. Two people who err alike far more often than
their own rates explain have read the guidelines alike, or each other's answers.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from counteranimal.annotate.coefficients import cohen, cohen_interval, contingency

__all__ = ["of_pairs", "of_workers"]

Vote = Mapping[str, Any]


def of_workers(votes: Sequence[Vote], counted: Sequence[Vote], truth: Mapping[str, str]) -> dict[str, Any]:
    """Return worker -> figures.

    Parameters
    ----------
    votes : sequence of mappings
        All that were answered, also about gold items and those set aside.
    counted : sequence of mappings
        Those that count, one a person and photo.

    Returns
    -------
    dict
        n_votes and set_aside; raw (agreement with everyone else about the same photo); seconds (median); most_common (background,
        share) and longest_run (equal backgrounds one after another), which show a constant answer; gold (right, answered) or None.
    """
    said: dict[str, list[str]] = defaultdict(list)
    for vote in counted:
        said[vote["photo_id"]].append(vote["background"])
    tally = {photo: Counter(words) for photo, words in said.items()}
    own: dict[str, list[Vote]] = defaultdict(list)
    for vote in votes:
        own[vote["worker"]].append(vote)
    counts: dict[str, list[Vote]] = defaultdict(list)
    for vote in counted:
        counts[vote["worker"]].append(vote)
    return {worker: _worker(own[worker], counts[worker], tally, truth) for worker in sorted(own)}


def _worker(
    given: Sequence[Vote], counted: Sequence[Vote], tally: Mapping[str, Counter[str]], truth: Mapping[str, str]
) -> dict[str, Any]:
    met = sum(tally[vote["photo_id"]][vote["background"]] - 1 for vote in counted)
    others = sum(tally[vote["photo_id"]].total() - 1 for vote in counted)
    seconds = [vote["seconds"] for vote in given if vote["seconds"] is not None]
    ordered = [vote["background"] for vote in sorted(given, key=lambda vote: vote["answered_at"])]
    answer, number = Counter(ordered).most_common(1)[0]
    gold = [truth.get(vote["photo_id"]) == vote["background"] for vote in given if vote["status"] == "gold"]
    return {
        "n_votes": len(counted),
        "set_aside": sum(vote["status"] == "set_aside" for vote in given),
        "raw": met / others if others else None,
        "seconds": float(np.median(seconds)) if seconds else None,
        "most_common": {"background": answer, "share": number / len(ordered)},
        "longest_run": max(len(list(run)) for _, run in itertools.groupby(ordered)),
        "gold": {"right": sum(gold), "answered": len(gold)} if gold else None,
    }


def of_pairs(
    by_photo: Mapping[str, Sequence[Vote]],
    votes: Sequence[Vote],
    truth: Mapping[str, str],
    *,
    rng: np.random.Generator,
) -> list[dict[str, Any]]:
    """Return a row for every two people who answered one photo blind.

    Returns
    -------
    list of dict
        workers (two names); kappa (Cohen's, of the background) with low and high, n; errors: n photos of known truth that both
        answered, both_wrong, same_wrong (with the same word), expected (both wrong, were their errors independent).
    """
    met: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
    for own in by_photo.values():
        for a, b in itertools.combinations(sorted(own, key=lambda vote: vote["worker"]), 2):
            met[a["worker"], b["worker"]].append((a["background"], b["background"]))
    known: dict[str, dict[str, str]] = defaultdict(dict)
    for vote in votes:
        if vote["photo_id"] in truth:
            known[vote["worker"]].setdefault(vote["photo_id"], vote["background"])
    rows = []
    for (first, second), answers in sorted(met.items()):
        table = contingency(answers)
        low, high = cohen_interval(table, rng=rng)
        figures = {"kappa": cohen(table), "low": low, "high": high}
        rows.append(
            {
                "workers": [first, second],
                **{name: value if math.isfinite(value) else None for name, value in figures.items()},
                "n": len(answers),
                "errors": _shared_errors(known[first], known[second], truth),
            }
        )
    return rows


def _shared_errors(first: Mapping[str, str], second: Mapping[str, str], truth: Mapping[str, str]) -> dict[str, Any]:
    both = sorted(first.keys() & second.keys())
    wrong = [(first[photo] != truth[photo], second[photo] != truth[photo]) for photo in both]
    by_first, by_second = sum(a for a, _ in wrong), sum(b for _, b in wrong)
    return {
        "n": len(both),
        "both_wrong": sum(a and b for a, b in wrong),
        "same_wrong": sum(first[photo] == second[photo] != truth[photo] for photo in both),
        "expected": by_first * by_second / len(both) if both else None,
    }
