"""Checks of the entries, row by row: complete, within the vocabulary, licensed, in the right fold.

Decides what is true of every row of `entries` in a release that may be believed. Pure: takes the manifest and the table,
returns sentences that name the photo. Leaves what holds between tables to `crossrefs`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import pyarrow as pa

from counteranimal import ids
from counteranimal.errors import Reason
from counteranimal.release.columns import OPTIONAL
from counteranimal.release.layout import PERSON
from counteranimal.release.licences import asks_for_attribution
from counteranimal.release.manifest import Manifest
from counteranimal.release.photos import EXTENSIONS

__all__ = ["entry_problems", "fold_problems", "missing_values"]

_BATCH = 8192
_POSITIVE = ("bytes", "width", "height", "published_bytes", "n_votes")


def rows_of(table: pa.Table) -> Iterator[dict[str, Any]]:
    """Yield the rows of a table while holding few of them in memory."""
    for batch in table.to_batches(max_chunksize=_BATCH):
        yield from batch.to_pylist()


def missing_values(name: str, table: pa.Table) -> list[str]:
    """Return one sentence for every column that must be filled in every row and is not."""
    return [
        f"{name}: column {column} is empty in {table.column(column).null_count} row(s)"
        for column in table.column_names
        if column not in OPTIONAL[name] and table.column(column).null_count
    ]


def entry_problems(manifest: Manifest, entries: pa.Table) -> list[str]:
    """Return one sentence for everything wrong with a single entry."""
    classes = {item.id: item.imagenet_indices for item in manifest.classes}
    words = {*manifest.backgrounds, *manifest.undecided}
    found = missing_values("entries", entries)
    for row in rows_of(entries):
        checks = {
            **_identity(row),
            **_description(row, classes, words),
            **_credit(row, manifest.licences),
        }
        found += [f"photo {row['photo_id']}: {what}" for what, wrong in checks.items() if wrong]
    return found


def _identity(row: Mapping[str, Any]) -> dict[str, bool]:
    digests = (row["published_sha256"], *str(row["selector_sha256"]).split(","))
    return {
        "its id is no sha256": not ids.is_photo_id(str(row["photo_id"])),
        "a digest beside its id is no sha256": not all(ids.is_photo_id(str(digest)) for digest in digests),
        "its url is a path of somebody's machine": str(row["url"]).startswith(("/", "file:/")),
        "its media type is none that is published": row["mime"] not in EXTENSIONS,
    }


def _description(row: Mapping[str, Any], classes: Mapping[str, list[int]], words: Collection[str]) -> dict[str, bool]:
    probability = row["inclusion_probability"]
    return {
        f"class {row['class_id']!r} is not in release.json": row["class_id"] not in classes,
        "its ImageNet indices are not its class's": row["imagenet_indices"] != classes.get(str(row["class_id"])),
        f"background {row['background']!r} is not in the vocabulary": row["background"] not in words,
        f"kind {row['kind']!r} is neither photo nor composite": row["kind"] not in {"photo", "composite"},
        "it shows a recognisable person": Reason.PERSON in (row["codes"] or ()),
        "its inclusion probability is not in (0, 1]": probability is None or not 0 < probability <= 1,
        "a size or count of it is not positive": not all((row[name] or 0) > 0 for name in _POSITIVE),
    }


def _credit(row: Mapping[str, Any], allowed: Collection[str]) -> dict[str, bool]:
    licence = row["licence"]
    asks = bool(licence) and asks_for_attribution(licence)
    return {
        f"licence {licence!r} is not in the release's list": licence not in allowed,
        "its licence asks for an author and none is named": asks and not row["author"],
        "an author is named whom its licence does not ask for": not asks and bool(row["author"]),
        "it has no line of attribution": not row["attribution"],
    }


def fold_problems(seed: str, entries: pa.Table) -> list[str]:
    """Return one sentence for every fold that is not the one its unit falls into.

    Units are published as they are, and their folds computed again, unless the unit is a person: those stand under pseudonyms,
    and what can be checked is that one person never stands in two folds.
    """
    found = []
    fold_of_unit: dict[str, str] = {}
    for row in rows_of(entries.select(["photo_id", "fold_unit", "fold"])):
        photo_id, unit, fold = row["photo_id"], str(row["fold_unit"]), str(row["fold"])
        if fold not in {"select", "report"}:
            found.append(f"photo {photo_id}: fold {fold!r} is neither select nor report")
        elif fold_of_unit.setdefault(unit, fold) != fold:
            found.append(f"photo {photo_id}: its unit {unit} stands in both folds")
        elif not unit.startswith(PERSON) and ids.fold_of(seed, unit) != fold:
            found.append(f"photo {photo_id}: its unit {unit} falls into the other fold than {fold}")
    return found
