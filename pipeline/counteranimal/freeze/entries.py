"""One row of `entries` per verified photo: joined from the tables, with what must not be published taken out.

Decides which author is named (only where the licence asks), how a person behind a fold unit is hidden, and which of several
finds of one photo is its source (the first, as everywhere). Leaves refusing incomplete rows to `gates`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from counteranimal import ids
from counteranimal.freeze.inputs import Inputs, Terms
from counteranimal.release.layout import PERSON
from counteranimal.release.licences import asks_for_attribution

__all__ = ["PublishedCopy", "entry_rows", "published_unit"]


@dataclass(frozen=True, slots=True)
class PublishedCopy:
    """Digest and length in bytes of a photo's metadata-free copy."""

    sha256: str
    bytes: int


def published_unit(seed: str, unit: str, kind: str) -> str:
    """Return the fold unit as published: a person's as a pseudonym, all others as they are.

    A composite's observer is its cut-out and no person, so its unit stays readable and its fold can be computed again.

    Examples
    --------
    >>> published_unit("s", "demo:observer:ostrich", "composite")
    'demo:observer:ostrich'
    >>> published_unit("s", "inaturalist:observer:7", "photo").startswith("person:")
    True
    """
    _, found, _ = unit.partition(":observer:")
    if found and kind != "composite":
        return PERSON + ids.pseudonym(seed, "observer", unit)
    return unit


def entry_rows(inputs: Inputs, terms: Terms, copies: Mapping[str, PublishedCopy]) -> list[dict[str, Any]]:
    """Return the rows of `entries` in the order of the pool; what is not known stays None.

    Parameters
    ----------
    copies : mapping of str to PublishedCopy
        Photo id -> its published copy.
    """
    photos = _by(inputs.tables["photos"], "photo_id")
    verdicts = _by(inputs.tables["verdicts"], "photo_id")
    candidates = _by(inputs.tables["candidates"], "candidate_id")
    retrieved = _retrieved(inputs.tables["fetches"])
    selected = _selectors(inputs, terms)
    rows = []
    for pooled in inputs.tables["pool"].to_pylist():
        photo = photos.get(pooled["photo_id"], {})
        first = next(iter(photo.get("candidate_ids") or ()), "")
        candidate = candidates.get(first, {})
        photo = {**photo, "retrieved_at": retrieved.get(first) or photo.get("stored_at")}
        copy = copies.get(pooled["photo_id"])
        rows.append(
            {
                **_pooled(inputs, pooled, candidate),
                **_credited(candidate),
                **{name: photo.get(name) for name in ("mime", "bytes", "width", "height", "retrieved_at")},
                **_verified(verdicts.get(pooled["photo_id"], {})),
                "published_sha256": copy.sha256 if copy else None,
                "published_bytes": copy.bytes if copy else None,
                **selected,
            }
        )
    return rows


def _by(table: pa.Table, key: str) -> dict[str, dict[str, Any]]:
    return {row[key]: row for row in table.to_pylist()}


def _retrieved(fetches: pa.Table) -> dict[str, Any]:
    """Return candidate id -> when its bytes were last stored."""
    stored = [row for row in fetches.to_pylist() if row["status"] == "stored"]
    return {row["candidate_id"]: row["at"] for row in sorted(stored, key=lambda row: row["attempt"])}


def _selectors(inputs: Inputs, terms: Terms) -> dict[str, str | None]:
    records = [terms.selectors.get(split.name, {}) for split in inputs.recipe.splits]
    unique = list(
        dict.fromkeys((str(record.get("spec") or ""), str(record.get("weights_sha256") or "")) for record in records)
    )
    if not all(spec and digest for spec, digest in unique):
        return {"selector_model": None, "selector_sha256": None}
    return {
        "selector_model": ",".join(spec for spec, _ in unique),
        "selector_sha256": ",".join(digest for _, digest in unique),
    }


def _pooled(inputs: Inputs, pooled: Mapping[str, Any], candidate: Mapping[str, Any]) -> dict[str, Any]:
    known = {item.id: item for item in inputs.recipe.classes}
    chosen = known.get(pooled["class_id"])
    unit = pooled["fold_unit"]
    return {
        "photo_id": pooled["photo_id"],
        "class_id": pooled["class_id"],
        "imagenet_indices": list(chosen.imagenet) if chosen else None,
        "background": pooled["background"],
        "fold_unit": published_unit(inputs.recipe.seed, unit, candidate.get("kind") or "photo") if unit else None,
        "fold": pooled["fold"],
        "inclusion_probability": pooled["inclusion_probability"],
    }


def _credited(candidate: Mapping[str, Any]) -> dict[str, Any]:
    licence = candidate.get("licence")
    named = bool(licence) and asks_for_attribution(str(licence))
    author = _one_line(candidate.get("author")) if named else None
    if named:
        attribution = _one_line(candidate.get("attribution")) or (f"{author}, {licence}" if author else None)
    else:
        attribution = f"no name asked for ({licence})" if licence else None
    return {
        **{name: candidate.get(name) for name in ("source", "native_id", "url", "page_url", "kind", "licence")},
        "author": author or None,
        "attribution": attribution,
    }


def _one_line(text: str | None) -> str:
    return " ".join((text or "").split())


def _verified(verdict: Mapping[str, Any]) -> dict[str, Any]:
    codes: Sequence[str] = verdict.get("codes") or ()
    return {"codes": sorted(codes), "n_votes": verdict.get("n_votes"), "method": verdict.get("method")}
