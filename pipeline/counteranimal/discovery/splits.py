"""Turns chosen pairs into groups of photos, and groups into published accuracies.

Decides which photo is common, counter or other. A photo stays in the release whatever its group.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from counteranimal import tables
from counteranimal.discovery.outcomes import FoldName, Outcomes, join
from counteranimal.discovery.rule import ALL_CLASSES
from counteranimal.errors import IntegrityError
from counteranimal.recipe import SplitRule
from counteranimal.stats import Photos, group_accuracies

__all__ = ["assign", "group_figures", "sides_of"]

_SIDES = {1: "common", -1: "counter", 0: "other"}


def assign(pool: pa.Table, pairs: pa.Table) -> pa.Table:
    """Return the table `splits`: every photo of the pool once for each split that `pairs` names.

    With one pair for the whole pool (`*`), the pair holds for every class.
    """
    parts = [tables.empty("splits")]
    for split in sorted(set(pairs.column("split").to_pylist())):
        chosen = {
            row["class_id"]: (row["common"], row["counter"])
            for row in pairs.to_pylist()
            if row["split"] == split and row["status"] == "pair"
        }
        common, counter = (_named(pool.column("class_id"), chosen, place) for place in (0, 1))
        background = pool.column("background")
        group = pc.case_when(
            pc.make_struct(
                pc.fill_null(pc.equal(background, common), fill_value=False),
                pc.fill_null(pc.equal(background, counter), fill_value=False),
            ),
            pa.scalar("common"),
            pa.scalar("counter"),
            pa.scalar("other"),
        )
        part = pool.select(["photo_id", "class_id", "background", "fold"]).append_column("group", group)
        parts.append(tables.conform("splits", part.append_column("split", pa.array([split] * len(pool), pa.string()))))
    return tables.conform("splits", pa.concat_tables(parts))


def _named(classes: pa.ChunkedArray, chosen: dict[str, tuple[str, str]], place: int) -> pa.ChunkedArray:
    """Return the background that each photo's class has in this place of its pair, null without a pair."""
    if ALL_CLASSES in chosen:
        return pa.chunked_array([pa.array([chosen[ALL_CLASSES][place]] * len(classes), pa.string())])
    keys = pa.array(list(chosen), pa.string())
    values = pa.array([pair[place] for pair in chosen.values()], pa.string())
    return pa.chunked_array(values.take(pc.index_in(classes, value_set=keys).combine_chunks()))


def sides_of(photos: pa.Table, splits: pa.Table, split: str) -> NDArray[np.int8]:
    """Return 1 (common), -1 (counter) or 0 (other) for each row of `photos` in a named split.

    Raises
    ------
    IntegrityError
        If a photo is not in the split.
    """
    one = splits.filter(pc.equal(splits.column("split"), split))
    place = pc.index_in(photos.column("photo_id"), value_set=one.column("photo_id").combine_chunks())
    if place.null_count:
        raise IntegrityError(f"split {split} lacks {place.null_count} of the photos; rebuild the splits")
    group = one.column("group").take(place)
    common, counter = (
        np.asarray(pc.equal(group, name).to_numpy(zero_copy_only=False), dtype=np.int8)
        for name in ("common", "counter")
    )
    side: NDArray[np.int8] = common - counter
    return side


def group_figures(
    splits: pa.Table, predictions: pa.Table, photos: pa.Table, rules: Sequence[SplitRule], *, protocol: str = "1v1000"
) -> pa.Table:
    """Return the table `groups`: each class and background in each fold, for every model that has predictions.

    Parameters
    ----------
    splits : pa.Table
        As `assign` returns it.
    predictions : pa.Table
        Of one or more models, for every photo.
    photos : pa.Table
        `pool` or `entries`: fold units and inclusion probabilities.
    rules : sequence of SplitRule
        The rules of the splits; the paper's has one fold, `all`, and no weights.

    Raises
    ------
    IntegrityError
        If a photo lacks a prediction, or a split its rule.
    """
    by_name = {rule.name: rule for rule in rules}
    offered = predictions.filter(pc.equal(predictions.column("protocol"), protocol)).column("model")
    joined = {
        model: join(photos, predictions, model, protocol=protocol)
        for model in sorted(set(pc.unique(offered).to_pylist()))
    }
    rows: list[dict[str, Any]] = []
    for split in sorted(set(splits.column("split").to_pylist())):
        if split not in by_name:
            raise IntegrityError(f"split {split} has no rule; name it in the recipe")
        side = sides_of(photos, splits, split)
        for model, outcomes in joined.items():
            rows += _rows(outcomes, side, {"split": split, "model": model}, paper=by_name[split].rule == "paper")
    return tables.conform("groups", rows)


def _rows(outcomes: Outcomes, side: NDArray[np.int8], key: dict[str, Any], *, paper: bool) -> list[dict[str, Any]]:
    if paper:
        outcomes = replace(outcomes, weights=np.ones_like(outcomes.weights))
    folds: tuple[FoldName, ...] = ("all",) if paper else ("select", "report")
    rows = []
    for fold in folds:
        inside = outcomes.in_fold(fold)
        part, part_side = outcomes.where(inside), side[inside]
        correlation = part.correlation()
        code = part.class_of * len(part.backgrounds) + part.background_of
        present, first, cell = np.unique(code, return_index=True, return_inverse=True)
        photos = Photos(part.correct, part.weights, part.unit_of, cell)
        found = group_accuracies(photos, present.size, correlation=correlation)
        for figures, member in zip(found, first.tolist(), strict=True):
            place = {
                "class_id": part.classes[part.class_of[member]],
                "background": part.backgrounds[part.background_of[member]],
                "group": _SIDES[int(part_side[member])],
                "fold": fold,
            }
            rows.append(key | place | figures._asdict())
    return rows
