"""Checks between the tables and release.json: nothing points nowhere, and every count is that of its rows.

Decides what holds between entries, splits, pairs, groups and predictions in a release that may be believed. Pure: takes the
manifest and the tables, yields sentences. Long tables are walked beside each other in the order of photo ids; only `pairs` and
`groups`, which do not grow with the photos, are held whole.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from itertools import groupby
from operator import itemgetter
from typing import Any

from counteranimal.release.manifest import Manifest
from counteranimal.release.stream import StoredTable, joined

__all__ = [
    "conservation_problems",
    "count_problems",
    "covariate_problems",
    "group_problems",
    "prediction_problems",
    "split_problems",
]

Tables = Mapping[str, StoredTable]
Cell = tuple[str, str, str, str]


def count_problems(manifest: Manifest, tables: Tables) -> Iterator[str]:
    """Hold the counts of release.json against the tables."""
    entries = tables["entries"]
    actual: dict[str, Any] = {name: table.length for name, table in tables.items()}
    actual["votes"] = entries.total("n_votes")
    actual["kinds"] = entries.counted("kind")
    actual["licences"] = entries.counted("licence")
    for name, stated in manifest.counts.model_dump().items():
        if stated != actual[name]:
            yield f"release.json counts {name} {stated}, the tables have {actual[name]}"


def conservation_problems(manifest: Manifest) -> Iterator[str]:
    """Hold the conservation count against itself and against what is published."""
    conserved, photos = manifest.conservation, manifest.photos
    total = sum(conserved.states.values())
    if total != conserved.discovered:
        yield f"conservation is broken: {conserved.discovered} candidates discovered, {total} accounted for"
    if photos.published + sum(photos.left_out.values()) != photos.kept:
        yield f"conservation is broken: {photos.kept} photos kept are not those published and left out"
    if photos.published != manifest.counts.entries:
        yield f"release.json publishes {photos.published} photos and counts {manifest.counts.entries} entries"
    overlaps = conserved.reasons.get("duplicate reference_overlap", 0)
    stated = sum(item.overlaps for item in manifest.references)
    if overlaps > stated:
        yield f"release.json drops {overlaps} photos for reference sets, its hash lists account for {stated}"
    if photos.kept > conserved.states.get("stored", 0):
        yield "release.json keeps more photos than were stored"


def split_problems(manifest: Manifest, tables: Tables) -> Iterator[str]:
    """Hold splits and pairs against the entries: the same photos, classes, backgrounds and folds, in the groups of their pair."""
    yield from tables["splits"].missing_values()
    yield from _pair_problems(manifest, tables["pairs"])
    pairs = {(row["split"], row["class_id"]): row for row in tables["pairs"].records()}
    names = {item.name for item in manifest.splits}
    rows = tables["splits"].tuples("photo_id", "class_id", "background", "fold", "group", "split")
    seen = set()
    for split, members in groupby(rows, key=itemgetter(5)):
        seen.add(split)
        if split not in names:
            yield f"split {split} is not in release.json"
        entries = tables["entries"].tuples("photo_id", "class_id", "background", "fold")
        for photo_id, entry, member in joined(entries, members):
            yield from _member_problems(split, photo_id, entry, member)
            if member is not None:
                yield from _group_problem(split, photo_id, member, pairs)
    for name in sorted(names - seen):
        if tables["entries"].length:
            yield f"split {name} lacks all photos"


def covariate_problems(manifest: Manifest, tables: Tables) -> Iterator[str]:
    """Hold the photos that covariates were compared on against the two groups of their split, on the fold that estimates."""
    rules = {item.name: item.rule for item in manifest.splits}
    grouped = Counter(
        split
        for split, group, fold in tables["splits"].tuples("split", "group", "fold")
        if group != "other" and (fold == "report" or rules.get(split, {}).get("rule") == "paper")
    )
    for name, found in manifest.covariates.items():
        compared = found.n + found.without_measures
        if name not in rules or compared != grouped[name]:
            yield f"release.json compares the covariates of {compared} photos in split {name}, its groups have {grouped[name]}"


def _member_problems(
    split: str, photo_id: str, entry: tuple[Any, ...] | None, member: tuple[Any, ...] | None
) -> Iterator[str]:
    if member is None:
        yield f"split {split} lacks photo {photo_id}"
    elif entry is None:
        yield f"split {split} lists photo {photo_id}, which is no entry"
    elif entry != member[:4]:
        yield f"split {split} and entries disagree about class, background or fold of photo {photo_id}"


def _group_problem(
    split: str, photo_id: str, member: tuple[Any, ...], pairs: Mapping[tuple[str, str], Mapping[str, Any]]
) -> Iterator[str]:
    _, class_id, background, _, group, _ = member
    pair = pairs.get((split, class_id)) or pairs.get((split, "*"))
    if pair is None:
        yield f"split {split} says nothing about the pair of class {class_id}"
    elif group != _group(background, pair):
        yield f"split {split}: photo {photo_id} on {background} is in the group {group}"


def _group(background: str, pair: Mapping[str, Any]) -> str:
    """Return the group of a photo on a background, by the pair that holds for its class."""
    if pair["status"] != "pair":
        return "other"
    return {pair["common"]: "common", pair["counter"]: "counter"}.get(background, "other")


def _pair_problems(manifest: Manifest, pairs: StoredTable) -> Iterator[str]:
    yield from pairs.missing_values()
    names = {item.name for item in manifest.splits}
    classes = {item.id for item in manifest.classes} | {"*"}
    for row in pairs.records():
        what = f"pair of {row['class_id']} in split {row['split']}"
        if row["split"] not in names or row["class_id"] not in classes:
            yield f"{what}: its split or class is not in release.json"
        if row["status"] not in {"pair", "no_pair"}:
            yield f"{what}: status {row['status']!r} is neither pair nor no_pair"
        chosen = {row["common"], row["counter"]}
        if row["status"] == "pair" and (len(chosen) < 2 or not chosen <= set(manifest.backgrounds)):
            yield f"{what}: {row['common']!r} and {row['counter']!r} are not two backgrounds of the vocabulary"


def prediction_problems(manifest: Manifest, tables: Tables) -> Iterator[str]:
    """Hold the selectors' predictions against the entries: one for each photo, right exactly when its indices say so."""
    yield from tables["predictions"].missing_values()
    # An archive that gives its groups has no predictions of whoever chose them.
    selectors = sorted({str(item.rule["selector"]) for item in manifest.splits if item.rule.get("selector")})
    answers = _answers(tables["predictions"], "model", "protocol", "predicted", "tied", "correct")
    for photo_id, entry, found in joined(tables["entries"].tuples("photo_id", "imagenet_indices"), answers):
        rows = found[1] if found else []
        asked = {model for model, protocol, *_ in rows if protocol == "1v1000"}
        if entry is None:
            for model, *_ in rows:
                yield f"predictions of {model} name photo {photo_id}, which is no entry"
            continue
        right = set(entry[1] or ())
        for model, _, predicted, tied, correct in rows:
            if not tied and correct != (predicted in right):
                yield f"prediction of {model} for photo {photo_id} is not what its label says about it"
        for model in selectors:
            if model not in asked:
                yield f"{model} has no prediction for photo {photo_id}"


def _answers(predictions: StoredTable, *columns: str) -> Iterator[tuple[str, list[tuple[Any, ...]]]]:
    """Yield each photo id with the named columns of its predictions."""
    for photo_id, rows in groupby(predictions.tuples("photo_id", *columns), key=itemgetter(0)):
        yield photo_id, [row[1:] for row in rows]


def group_problems(tables: Tables) -> Iterator[str]:
    """Count every group again from splits and predictions."""
    yield from tables["groups"].missing_values()
    sizes, right = Counter[Cell](), Counter[tuple[Cell, str]]()
    groups: dict[Cell, set[str]] = defaultdict(set)
    rows = tables["splits"].tuples("photo_id", "class_id", "background", "fold", "group", "split")
    for split, members in groupby(rows, key=itemgetter(5)):
        answers = _answers(tables["predictions"], "model", "protocol", "correct")
        for _, member, found in joined(members, answers):
            if member is None:
                continue
            _, class_id, background, fold, group, _ = member
            models = [
                model for model, protocol, correct in (found[1] if found else []) if protocol == "1v1000" and correct
            ]
            # The paper's rule has no folds: its groups stand under the fold `all`.
            for cell in ((split, class_id, background, fold), (split, class_id, background, "all")):
                sizes[cell] += 1
                groups[cell].add(group)
                right.update((cell, model) for model in models)
    for row in tables["groups"].records():
        cell = (row["split"], row["class_id"], row["background"], row["fold"])
        counted = (sizes[cell], right[cell, row["model"]], groups[cell])
        if (row["n"], row["correct"], {row["group"]}) != counted:
            yield (
                f"group {' / '.join(cell)} of {row['model']} says {row['correct']} of {row['n']} in {row['group']}, the tables "
                f"{counted[1]} of {counted[0]} in {', '.join(sorted(counted[2])) or 'none'}"
            )
