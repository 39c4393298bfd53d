"""The preview: what the machine alone would split, before anyone has looked at a photo.

Decides nothing that is published. Machine backgrounds and machine class scores share their errors (with the stand-in they come
from the same logits), so a drop seen here may be the machine's own making. It tells a curator where photos are plentiful and
which classes are worth a round. Leaves the rule itself to `discovery`, which for a release runs on people's verdicts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from counteranimal import tables
from counteranimal.discovery import assign, choose_pairs, pool_table
from counteranimal.errors import Reason, Rejected
from counteranimal.models import load_model
from counteranimal.recipe import Recipe, SplitRule
from counteranimal.score.run import embedded_photos
from counteranimal.settings import Settings
from counteranimal.workspace import Workspace
from counteranimal.zeroshot import class_logits, top_one

__all__ = ["STATEMENT", "preview"]

STATEMENT = (
    "A preview for planning. Machine backgrounds decide nothing: the published pairs are chosen on people's verdicts, and a "
    "drop between machine backgrounds may be the machine's own error."
)


def preview(recipe: Recipe, workspace: Workspace, *, settings: Settings) -> dict[str, Any]:
    """Write table `preview` under the recipe's first split: machine background, right or wrong, proposed group.

    Returns
    -------
    dict
        `photos`, `left_out` (why kept photos are not among them -> n), `statement`, `split`, `selector`, `groups` (photos in
        common, counter, other), `pairs` (one dict a class or `*`: status, common, counter, and the drop on the report fold as
        a fraction), `cells` (class -> background -> n) and `doubts` (what may be wrong with photos -> n).

    Raises
    ------
    IntegrityError
        If `photos`, `clusters` or `scores` has not been made yet.
    """
    rule = recipe.splits[0]
    photos = workspace.kept_photos()
    scored, left_out = _scored(recipe, workspace, photos)
    asked = {photo_id: photos[photo_id]["class_id"] for photo_id in scored}
    predictions, rejected = _predictions(recipe, rule, asked, workspace=workspace, settings=settings)
    left_out.update(found.reason.value for found in rejected.values())
    correct = dict(zip(*(predictions.column(name).to_pylist() for name in ("photo_id", "correct")), strict=True))
    pool = _pool({name: word for name, word in scored.items() if name in correct}, workspace, seed=recipe.seed)
    classes = [item.id for item in recipe.classes]
    pairs = choose_pairs(pool, predictions, rule, recipe.vocabulary(), classes)
    splits = assign(pool, pairs).to_pylist()
    rows = [
        {name: row[name] for name in ("photo_id", "class_id", "background", "group")}
        | {"correct": correct[row["photo_id"]]}
        for row in splits
    ]
    workspace.write_table("preview", tables.conform("preview", rows))
    return {
        "photos": len(rows),
        "left_out": {reason: number for reason, number in sorted(left_out.items()) if number},
        "statement": STATEMENT,
        "split": rule.name,
        "selector": rule.selector,
        "groups": dict(Counter(row["group"] for row in rows)),
        "pairs": [
            {name: row[name] for name in ("class_id", "status", "reason", "common", "counter", "drop_report")}
            for row in pairs.to_pylist()
        ],
        "cells": _cells(rows),
        "doubts": _doubts(workspace, correct),
    }


def _scored(
    recipe: Recipe, workspace: Workspace, photos: Mapping[str, Mapping[str, Any]]
) -> tuple[dict[str, str], Counter[str]]:
    """Return photo id -> machine background of the kept photos with a score and a class of the recipe, and what the others lack."""
    classes = {item.id for item in recipe.classes}
    found: dict[str, str] = {}
    lacking: Counter[str] = Counter()
    for row in workspace.table("scores").to_pylist():
        photo = photos.get(row["photo_id"])
        if photo is None or row["model"] != recipe.score.model:
            continue
        if row["status"] != "ok":
            lacking[row["reason"]] += 1
        elif photo["class_id"] not in classes:
            lacking[Reason.CLASS.value] += 1
        else:
            found[row["photo_id"]] = row["background"]
    lacking["not_scored"] = len(photos) - len(found) - lacking.total()
    return found, lacking


def _predictions(
    recipe: Recipe, rule: SplitRule, asked: Mapping[str, str], *, workspace: Workspace, settings: Settings
) -> tuple[pa.Table, dict[str, Rejected]]:
    """Return the selector's 1-vs-1000, one-template predictions in the columns that discovery reads, and whom it turned away.

    `asked` is photo id -> class, a class of the recipe.
    """
    right = {item.id: item.imagenet for item in recipe.classes}
    model = load_model(rule.selector, settings=settings)
    found, _ = embedded_photos(model, sorted(asked), workspace, settings=settings, view="centre")
    names = recipe.evaluate.names
    top = top_one(class_logits(model, found.features, names=names, templates="paper", cache=settings.cache_folder))
    rows = [
        {
            "photo_id": photo_id,
            "model": rule.selector,
            "protocol": "1v1000",
            "predicted": int(winner),
            "tied": bool(tied),
            "correct": bool(np.isin(winner, right[asked[photo_id]])),
        }
        for photo_id, winner, tied in zip(found.photo_ids, top.winner, top.tied, strict=True)
    ]
    return tables.conform("predictions", rows), found.rejected


def _pool(scored: Mapping[str, str], workspace: Workspace, *, seed: str) -> pa.Table:
    as_verdicts = [
        {"photo_id": photo_id, "background": word, "status": "ok", "inclusion_probability": 1.0}
        for photo_id, word in scored.items()
    ]
    return pool_table(tables.conform("verdicts", as_verdicts), workspace.table("photos"), seed=seed)


def _doubts(workspace: Workspace, shown: Collection[str]) -> dict[str, int]:
    rows = workspace.table("scores").select(["photo_id", "proposals"]).to_pylist()
    return dict(Counter(name for row in rows if row["photo_id"] in shown for name in row["proposals"] or ()))


def _cells(rows: list[dict[str, Any]]) -> dict[str, dict[str, int]]:
    cells: dict[str, dict[str, int]] = {}
    for row in rows:
        own = cells.setdefault(row["class_id"], {})
        own[row["background"]] = own.get(row["background"], 0) + 1
    return cells
