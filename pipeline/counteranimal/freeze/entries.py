"""One row of `entries` per verified photo: joined from the tables, with what must not be published taken out.

Decides which author is named (only where the licence asks), how a person behind a fold unit is hidden, and which of several
finds of one photo is its source (the first, as everywhere). Leaves refusing incomplete rows to `gates`.
Whole columns at a time: a release may have a million rows, and as dicts they would take gigabytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from counteranimal import ids, tables
from counteranimal.freeze.inputs import Inputs, Terms
from counteranimal.release.layout import PERSON
from counteranimal.release.licences import asks_for_attribution

__all__ = ["COPIES", "entries_table", "published_unit"]

COPIES = pa.schema([("photo_id", pa.string()), ("published_sha256", pa.string()), ("published_bytes", pa.int64())])
"""Digest and length in bytes of each photo's metadata-free copy."""


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


def entries_table(inputs: Inputs, terms: Terms, copies: pa.Table) -> pa.Table:
    """Return the table `entries`, one row a photo of the pool; what is not known is null.

    Parameters
    ----------
    copies : pa.Table
        The published copies, as `COPIES` says.
    """
    pool = inputs.tables["pool"]
    photo = _looked_up(inputs.tables["photos"], "photo_id", pool["photo_id"])
    first = _first(photo["candidate_ids"])
    candidate = _looked_up(inputs.tables["candidates"], "candidate_id", first)
    verdict = _looked_up(inputs.tables["verdicts"], "photo_id", pool["photo_id"])
    copy = _looked_up(copies, "photo_id", pool["photo_id"])
    columns = {
        **{name: pool[name] for name in ("photo_id", "class_id", "background", "fold", "inclusion_probability")},
        "imagenet_indices": _indices(inputs, pool["class_id"]),
        "fold_unit": _units(inputs.recipe.seed, pool["fold_unit"], candidate["kind"]),
        **{name: candidate[name] for name in ("source", "native_id", "url", "page_url", "kind", "licence")},
        **_credited(candidate),
        **{name: photo[name] for name in ("mime", "bytes", "width", "height")},
        "retrieved_at": pc.coalesce(_retrieved(inputs.tables["fetches"], first), photo["stored_at"]),
        "codes": pa.array([sorted(found or ()) for found in verdict["codes"].to_pylist()], pa.list_(pa.string())),
        **{name: verdict[name] for name in ("n_votes", "method")},
        **{name: copy[name] for name in ("published_sha256", "published_bytes")},
        **{name: pa.array([value] * len(pool), pa.string()) for name, value in _selectors(inputs, terms).items()},
    }
    return tables.conform("entries", pa.table(columns))


def _looked_up(table: pa.Table, key: str, wanted: pa.ChunkedArray) -> pa.Table:
    """Return the rows of a table by key, in the wanted order; one of nulls where there is none."""
    return table.take(pc.index_in(wanted, value_set=table[key].combine_chunks()))


def _first(lists: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the first item of each list, null where there is none."""
    whole = pa.concat_arrays(lists.chunks) if lists.num_chunks else pa.array([], lists.type)
    there = pc.fill_null(pc.greater(pc.list_value_length(whole), 0), fill_value=False)
    places = pc.if_else(there, whole.offsets[: len(whole)], None)
    return pa.chunked_array([whole.values.take(places)], pa.string())


def _mapped(column: pa.ChunkedArray, function: Callable[[str], Any], kind: pa.DataType | None = None) -> pa.Array:
    """Return `function` of every text, asked once a distinct one; null stays null."""
    encoded = column.combine_chunks().dictionary_encode()
    made = [function(value) for value in encoded.dictionary.to_pylist()]
    return pa.array(made, kind or pa.string()).take(encoded.indices)


def _indices(inputs: Inputs, classes: pa.ChunkedArray) -> pa.Array:
    known = {item.id: list(item.imagenet) for item in inputs.recipe.classes}
    return _mapped(classes, known.get, pa.list_(pa.int32()))


def _units(seed: str, units: pa.ChunkedArray, kinds: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return every unit as published, null for an empty one; what has no kind is a photo."""
    as_photo, as_composite = (
        _mapped(units, lambda unit, kind=kind: published_unit(seed, unit, kind) if unit else None)  # type: ignore[misc]
        for kind in ("photo", "composite")
    )
    return pc.if_else(pc.fill_null(pc.equal(kinds, "composite"), fill_value=False), as_composite, as_photo)


def _retrieved(fetches: pa.Table, candidates: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return when the bytes of each candidate were last stored."""
    stored = fetches.select(["candidate_id", "attempt", "at", "status"])
    stored = stored.filter(pc.equal(stored["status"], "stored")).sort_by([("attempt", "descending")])
    return _looked_up(stored, "candidate_id", candidates)["at"]


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


def _credited(candidate: pa.Table) -> dict[str, pa.ChunkedArray]:
    """Return author and attribution: a name only where the licence asks for one, and what to print beside the photo."""
    licence = candidate["licence"]
    asked = pc.fill_null(
        _mapped(licence, lambda text: bool(text) and asks_for_attribution(text), pa.bool_()), fill_value=False
    )
    author = pc.if_else(asked, _mapped(candidate["author"], _one_line), None)
    by_author = pc.binary_join_element_wise(author, licence, ", ")
    nameless = _mapped(licence, lambda text: f"no name asked for ({text})" if text else None)
    named = pc.coalesce(_mapped(candidate["attribution"], _one_line), by_author)
    return {"author": author, "attribution": pc.if_else(asked, named, nameless)}


def _one_line(text: str) -> str | None:
    return " ".join(text.split()) or None
