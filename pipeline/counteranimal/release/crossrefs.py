"""Checks between the tables and release.json: nothing points nowhere, and every count is that of its rows.

Decides what holds between entries, splits, pairs, groups and predictions in a release that may be believed. Pure: takes the
manifest and the tables, returns sentences.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from counteranimal.release.manifest import Manifest
from counteranimal.release.rows import missing_values, rows_of

__all__ = [
    "conservation_problems",
    "count_problems",
    "covariate_problems",
    "group_problems",
    "prediction_problems",
    "split_problems",
]

Tables = Mapping[str, pa.Table]
Cell = tuple[str, str, str, str]


def count_problems(manifest: Manifest, tables: Tables) -> list[str]:
    """Hold the counts of release.json against the tables."""
    entries = tables["entries"]
    stated = manifest.counts.model_dump()
    actual: dict[str, Any] = {name: len(table) for name, table in tables.items()}
    actual["votes"] = sum(value or 0 for value in entries.column("n_votes").to_pylist())
    actual["kinds"] = dict(Counter(entries.column("kind").to_pylist()))
    actual["licences"] = dict(Counter(entries.column("licence").to_pylist()))
    return [
        f"release.json counts {name} {stated[name]}, the tables have {actual[name]}"
        for name in stated
        if stated[name] != actual[name]
    ]


def conservation_problems(manifest: Manifest) -> list[str]:
    """Hold the conservation count against itself and against what is published."""
    found = []
    conserved, photos = manifest.conservation, manifest.photos
    total = sum(conserved.states.values())
    if total != conserved.discovered:
        found.append(f"conservation is broken: {conserved.discovered} candidates discovered, {total} accounted for")
    if photos.published + sum(photos.left_out.values()) != photos.kept:
        found.append(f"conservation is broken: {photos.kept} photos kept are not those published and left out")
    if photos.published != manifest.counts.entries:
        found.append(f"release.json publishes {photos.published} photos and counts {manifest.counts.entries} entries")
    overlaps = conserved.reasons.get("duplicate reference_overlap", 0)
    stated = sum(item.overlaps for item in manifest.references)
    if overlaps > stated:
        found.append(f"release.json drops {overlaps} photos for reference sets, its hash lists account for {stated}")
    if photos.kept > conserved.states.get("stored", 0):
        found.append("release.json keeps more photos than were stored")
    return found


def split_problems(manifest: Manifest, tables: Tables) -> list[str]:
    """Hold splits and pairs against the entries: the same photos, classes, backgrounds and folds, in the groups of their pair."""
    found = [*missing_values("splits", tables["splits"]), *_pair_problems(manifest, tables["pairs"])]
    pairs = {(row["split"], row["class_id"]): row for row in tables["pairs"].to_pylist()}
    entries = _entry_cells(tables["entries"])
    covered: dict[str, set[str]] = defaultdict(set)
    for row in rows_of(tables["splits"]):
        photo_id, split = row["photo_id"], row["split"]
        covered[split].add(photo_id)
        entry = entries.get(photo_id)
        if entry is None:
            found.append(f"split {split} lists photo {photo_id}, which is no entry")
        elif entry != (row["class_id"], row["background"], row["fold"]):
            found.append(f"split {split} and entries disagree about class, background or fold of photo {photo_id}")
        pair = pairs.get((split, row["class_id"])) or pairs.get((split, "*"))
        if pair is None:
            found.append(f"split {split} says nothing about the pair of class {row['class_id']}")
        elif row["group"] != _group(row["background"], pair):
            found.append(f"split {split}: photo {photo_id} on {row['background']} is in the group {row['group']}")
    names = {item.name for item in manifest.splits}
    found += [f"split {name} is not in release.json" for name in sorted(set(covered) - names)]
    for name in sorted(names):
        lacking = sorted(set(entries) - covered[name])
        found += [f"split {name} lacks photo {photo_id}" for photo_id in lacking]
    return found


def covariate_problems(manifest: Manifest, tables: Tables) -> list[str]:
    """Hold the photos that covariates were compared on against the two groups of their split, on the fold that estimates."""
    rules = {item.name: item.rule for item in manifest.splits}
    grouped = Counter(
        row["split"]
        for row in rows_of(tables["splits"])
        if row["group"] != "other" and (row["fold"] == "report" or rules.get(row["split"], {}).get("rule") == "paper")
    )
    return [
        f"release.json compares the covariates of {found.n + found.without_measures} photos in split {name}, its groups have "
        f"{grouped[name]}"
        for name, found in manifest.covariates.items()
        if name not in rules or found.n + found.without_measures != grouped[name]
    ]


def _entry_cells(entries: pa.Table) -> dict[str, tuple[str, str, str]]:
    columns = entries.select(["photo_id", "class_id", "background", "fold"])
    return {row["photo_id"]: (row["class_id"], row["background"], row["fold"]) for row in rows_of(columns)}


def _group(background: str, pair: Mapping[str, Any]) -> str:
    """Return the group of a photo on a background, by the pair that holds for its class."""
    if pair["status"] != "pair":
        return "other"
    return {pair["common"]: "common", pair["counter"]: "counter"}.get(background, "other")


def _pair_problems(manifest: Manifest, pairs: pa.Table) -> list[str]:
    found = missing_values("pairs", pairs)
    names = {item.name for item in manifest.splits}
    classes = {item.id for item in manifest.classes} | {"*"}
    for row in pairs.to_pylist():
        what = f"pair of {row['class_id']} in split {row['split']}"
        if row["split"] not in names or row["class_id"] not in classes:
            found.append(f"{what}: its split or class is not in release.json")
        if row["status"] not in {"pair", "no_pair"}:
            found.append(f"{what}: status {row['status']!r} is neither pair nor no_pair")
        chosen = {row["common"], row["counter"]}
        if row["status"] == "pair" and (len(chosen) < 2 or not chosen <= set(manifest.backgrounds)):
            found.append(f"{what}: {row['common']!r} and {row['counter']!r} are not two backgrounds of the vocabulary")
    return found


def prediction_problems(manifest: Manifest, tables: Tables) -> list[str]:
    """Hold the selectors' predictions against the entries: one for each photo, right exactly when its indices say so."""
    found = missing_values("predictions", tables["predictions"])
    indices = {row["photo_id"]: set(row["imagenet_indices"] or ()) for row in rows_of(tables["entries"])}
    covered: dict[str, set[str]] = defaultdict(set)
    for row in rows_of(tables["predictions"]):
        photo_id, model = row["photo_id"], row["model"]
        if row["protocol"] == "1v1000":
            covered[model].add(photo_id)
        if photo_id not in indices:
            found.append(f"predictions of {model} name photo {photo_id}, which is no entry")
        elif not row["tied"] and row["correct"] != (row["predicted"] in indices[photo_id]):
            found.append(f"prediction of {model} for photo {photo_id} is not what its label says about it")
    for model in sorted({str(item.rule.get("selector")) for item in manifest.splits}):
        found += [
            f"{model} has no prediction for photo {photo_id}" for photo_id in sorted(set(indices) - covered[model])
        ]
    return found


def group_problems(tables: Tables) -> list[str]:
    """Count every group again from splits and predictions."""
    found = missing_values("groups", tables["groups"])
    right = {
        (row["model"], row["photo_id"])
        for row in rows_of(tables["predictions"])
        if row["protocol"] == "1v1000" and row["correct"]
    }
    members: dict[Cell, list[tuple[str, str]]] = defaultdict(list)
    for row in rows_of(tables["splits"]):
        # The paper's rule has no folds: its groups stand under the fold `all`.
        for fold in (row["fold"], "all"):
            members[row["split"], row["class_id"], row["background"], fold].append((row["photo_id"], row["group"]))
    for row in rows_of(tables["groups"]):
        cell = (row["split"], row["class_id"], row["background"], row["fold"])
        inside = members.get(cell, [])
        stated = (row["n"], row["correct"], {row["group"]})
        counted = (
            len(inside),
            sum((row["model"], photo_id) in right for photo_id, _ in inside),
            {group for _, group in inside},
        )
        if stated != counted:
            found.append(
                f"group {' / '.join(cell)} of {row['model']} says {row['correct']} of {row['n']} in {row['group']}, the tables "
                f"{counted[1]} of {counted[0]} in {', '.join(sorted(counted[2])) or 'none'}"
            )
    return found
