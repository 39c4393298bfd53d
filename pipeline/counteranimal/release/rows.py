"""Checks of the entries, row by row: complete, within the vocabulary, licensed, in the right fold.

Decides what is true of every row of `entries` in a release that may be believed. Pure: takes the manifest and the rows, yields
sentences that name the photo. Leaves what holds between tables to `crossrefs`.
"""

from __future__ import annotations

from array import array
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np

from counteranimal import ids
from counteranimal.errors import Reason
from counteranimal.release.layout import GIVEN, PERSON
from counteranimal.release.licences import asks_for_attribution
from counteranimal.release.manifest import Manifest
from counteranimal.release.photos import EXTENSIONS
from counteranimal.release.stream import StoredTable

__all__ = ["entry_problems", "fold_problems"]

_POSITIVE = ("bytes", "width", "height", "published_bytes")


def entry_problems(manifest: Manifest, entries: StoredTable) -> Iterator[str]:
    """Yield one sentence for everything wrong with a single entry."""
    classes = {item.id: item.imagenet_indices for item in manifest.classes}
    words = {*manifest.backgrounds, *manifest.undecided}
    yield from entries.missing_values()
    for row in entries.records():
        for what in (*_identity(row), *_description(row, classes, words), *_credit(row, manifest.licences)):
            yield f"photo {row['photo_id']}: {what}"


def _identity(row: Mapping[str, Any]) -> Iterator[str]:
    if not ids.is_photo_id(str(row["photo_id"])):
        yield "its id is no sha256"
    weights = [] if row["method"] == GIVEN else str(row["selector_sha256"]).split(",")
    if not all(map(ids.is_photo_id, (str(row["published_sha256"]), *weights))):
        yield "a digest beside its id is no sha256"
    if str(row["url"]).startswith(("/", "file:/")):
        yield "its url is a path of somebody's machine"
    if row["mime"] not in EXTENSIONS:
        yield "its media type is none that is published"


def _description(row: Mapping[str, Any], classes: Mapping[str, list[int]], words: Collection[str]) -> Iterator[str]:
    if row["class_id"] not in classes:
        yield f"class {row['class_id']!r} is not in release.json"
    if row["imagenet_indices"] != classes.get(str(row["class_id"])):
        yield "its ImageNet indices are not its class's"
    if row["background"] not in words:
        yield f"background {row['background']!r} is not in the vocabulary"
    if row["kind"] not in {"photo", "composite"}:
        yield f"kind {row['kind']!r} is neither photo nor composite"
    if Reason.PERSON in (row["codes"] or ()):
        yield "it shows a recognisable person"
    if not 0 < (row["inclusion_probability"] or 0) <= 1:
        yield "its inclusion probability is not in (0, 1]"
    counted = _POSITIVE if row["method"] == GIVEN else (*_POSITIVE, "n_votes")
    if not all((row[name] or 0) > 0 for name in counted):
        yield "a size or count of it is not positive"


def _credit(row: Mapping[str, Any], allowed: Collection[str]) -> Iterator[str]:
    licence, author = row["licence"], row["author"]
    asks = bool(licence) and asks_for_attribution(licence)
    if licence not in allowed:
        yield f"licence {licence!r} is not in the release's list"
    if asks and not author:
        yield "its licence asks for an author and none is named"
    if author and not asks:
        yield "an author is named whom its licence does not ask for"
    if not row["attribution"]:
        yield "it has no line of attribution"


def fold_problems(seed: str, entries: StoredTable) -> Iterator[str]:
    """Yield one sentence for every fold that is not the one its unit falls into.

    Units are published as they are, and their folds computed again, unless the unit is a person: those stand under pseudonyms,
    and what can be checked is that one person never stands in two folds.
    """
    people = {"select": array("q"), "report": array("q")}
    for photo_id, unit, fold in entries.tuples("photo_id", "fold_unit", "fold"):
        if fold not in people:
            yield f"photo {photo_id}: fold {fold!r} is neither select nor report"
        elif str(unit).startswith(PERSON):
            people[fold].append(hash(unit))
        elif ids.fold_of(seed, str(unit)) != fold:
            yield f"photo {photo_id}: its unit {unit} falls into the other fold than {fold}"
    # Eight bytes a photo instead of its unit's text; whoever seems to stand in both folds is looked at once more, by name.
    select, report = (np.array(people[fold], dtype=np.int64) for fold in ("select", "report"))
    suspects = set(np.intersect1d(select, report).tolist())
    if suspects:
        yield from _in_two_folds(entries, suspects)


def _in_two_folds(entries: StoredTable, suspects: Collection[int]) -> Iterator[str]:
    fold_of_unit: dict[str, str] = {}
    for photo_id, unit, fold in entries.tuples("photo_id", "fold_unit", "fold"):
        if hash(unit) in suspects and fold_of_unit.setdefault(unit, fold) != fold:
            yield f"photo {photo_id}: its unit {unit} stands in both folds"
