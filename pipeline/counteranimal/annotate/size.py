"""How many photos each class still needs before a drop of a wanted size is likely to be confirmed.

Decides what is counted: the best-filled two backgrounds of a class, in both folds, since discovery may pair any two; so the answer
is the least that can be enough. Backgrounds are verdicts where there are some, else the machine's proposals. No model's success is
read. The formula is `stats.photos_needed`, times the design effect of photos that share a fold unit.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

from counteranimal.annotate.plan import proposals
from counteranimal.errors import UsageError
from counteranimal.ids import fold_of
from counteranimal.recipe import Recipe, backgrounds
from counteranimal.stats import design_effect, mean_cluster_size, photos_needed
from counteranimal.workspace import Workspace

__all__ = ["COMMON_ACCURACY", "CORRELATION", "still_needed"]

COMMON_ACCURACY = 0.75
"""The common group's accuracy that a plan assumes."""
CORRELATION = 0.3
"""The correlation of correctness inside a fold unit that a plan assumes; what it is, `groups` tells after a round."""


def still_needed(recipe: Recipe, workspace: Workspace, *, drop: float) -> dict[str, dict[str, Any]]:
    """Return class id -> what it has and needs for a drop in percentage points.

    Returns
    -------
    dict of dict
        wanted (photos in each group and fold, design effect included), backgrounds (the two best filled), have (the fewest
        photos in one of their four cells) and missing (photos over all four cells), at least.

    Raises
    ------
    UsageError
        If the drop is not above 0 and at most 75 points.
    """
    if not 0 < drop <= 100 * COMMON_ACCURACY:
        raise UsageError(f"no size can be planned for a drop of {drop} points; give one above 0 and up to 75")
    plain = photos_needed(COMMON_ACCURACY, drop / 100, tests=len(recipe.classes))
    kept = workspace.kept_photos()
    words = _backgrounds_of(recipe, workspace)
    units: dict[str, list[str]] = defaultdict(list)
    cells: dict[str, Counter[tuple[str, str]]] = defaultdict(Counter)
    for photo, row in kept.items():
        units[row["class_id"]].append(row["fold_unit"])
        word = words.get(photo) or ""
        if word in backgrounds() and backgrounds()[word].decides:
            cells[row["class_id"]][word, fold_of(recipe.seed, row["fold_unit"])] += 1
    found: dict[str, dict[str, Any]] = {}
    for item in recipe.classes:
        size = mean_cluster_size(units[item.id]) if units[item.id] else 1.0
        wanted = math.ceil(plain * design_effect(size, CORRELATION))
        found[item.id] = {"wanted": wanted} | _best_two(cells[item.id], wanted)
    return found


def _backgrounds_of(recipe: Recipe, workspace: Workspace) -> dict[str, str | None]:
    """Return photo id -> background: the verdict, None where it turned the photo down, else the machine's proposal."""
    verdicts = {
        row["photo_id"]: row["background"] if row["status"] == "ok" else None
        for row in workspace.table_or_empty("verdicts")
        .select(["photo_id", "background", "status", "reason"])
        .to_pylist()
        if row["reason"] != "too_few_votes"
    }
    return {**proposals(recipe, workspace), **verdicts}


def _best_two(cells: Mapping[tuple[str, str], int], wanted: int) -> dict[str, Any]:
    folds = ("select", "report")
    names = sorted({word for word, _ in cells}, key=lambda word: (-min(cells.get((word, f), 0) for f in folds), word))
    held = [cells.get((word, fold), 0) for word in names[:2] for fold in folds] + [0] * 2 * (2 - len(names[:2]))
    return {"backgrounds": names[:2], "have": min(held), "missing": sum(max(0, wanted - number) for number in held)}
