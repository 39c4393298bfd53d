"""The gates: everything that stands between a workspace and a release, found in one go.

Decides what refuses a freeze. No flag turns a gate off: what a gate names is mended in the workspace, and the freeze is run
again. Each gate is a function of values that returns sentences, so that a curator sees all of them at once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Sequence
from datetime import date

import pyarrow as pa
import pyarrow.compute as pc

from counteranimal import ids
from counteranimal.errors import PolicyError, Reason, UsageError
from counteranimal.freeze.inputs import Inputs, Terms
from counteranimal.recipe import backgrounds
from counteranimal.release.columns import OPTIONAL
from counteranimal.release.layout import parse_version
from counteranimal.release.licences import asks_for_attribution

__all__ = ["LEFT_OUT_LIST", "FreezeRefused", "problems", "require_none"]

LEFT_OUT_LIST = "leave-out.txt"
"""The list of photos for `--without` that a re-check writes into the workspace."""
_NAMED_AT_MOST = 5
_SAID_AT_MOST = 20
# Known from the published copy; a photo without one has its own sentence.
_OF_THE_COPY = frozenset({"published_sha256", "published_bytes"})


class FreezeRefused(PolicyError):  # noqa: N818 - a refusal, named like the others in the error tree
    """A freeze that its gates refuse; `problems` holds one sentence each."""

    def __init__(self, found: Sequence[str]) -> None:
        listed = "; ".join(f"({number}) {sentence}" for number, sentence in enumerate(found[:_SAID_AT_MOST], start=1))
        more = f"; and {len(found) - _SAID_AT_MOST} more" if len(found) > _SAID_AT_MOST else ""
        super().__init__(f"the freeze is refused for {len(found)} reason(s), nothing was written: {listed}{more}")
        self.problems = tuple(found)


def require_none(found: Sequence[str]) -> None:
    """Raise FreezeRefused if there is a problem."""
    if found:
        raise FreezeRefused(found)


def problems(inputs: Inputs, terms: Terms, entries: pa.Table) -> list[str]:
    """Return every reason not to freeze, as sentences that say what to do.

    Parameters
    ----------
    entries : pa.Table
        As `entries.entries_table` makes it, complete or not.
    """
    found = [f"table {name} is missing; run the stage that writes it" for name in inputs.missing]
    if not len(entries):
        found.append("no verified photo is in the pool; label some and run the rebuild again")
    found += _terms(inputs, terms)
    found += _labelling(inputs, terms)
    found += _duplicates(inputs, terms, entries["photo_id"])
    found += _photos(inputs, entries)
    found += _upstream(inputs, entries)
    found += _incomplete(entries)
    found += _licences(entries, inputs.recipe.licences.allow)
    found += _selection(inputs, terms, entries)
    return found


def _named(photos: pa.ChunkedArray) -> str:
    """Return the first ids, short, and how many more there are."""
    more = f" and {len(photos) - _NAMED_AT_MOST} more" if len(photos) > _NAMED_AT_MOST else ""
    return ", ".join(sorted(photo_id[:12] for photo_id in photos[:_NAMED_AT_MOST].to_pylist())) + more


def _where(entries: pa.Table, fits: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return the photo ids of the rows that a condition fits, in order; an unknown condition does not fit."""
    return entries["photo_id"].filter(pc.fill_null(fits, fill_value=False))


def _among(column: pa.ChunkedArray, values: Collection[str]) -> pa.ChunkedArray:
    return pc.is_in(column, value_set=pa.array(sorted(values), pa.string()))


def _terms(inputs: Inputs, terms: Terms) -> list[str]:
    found = []
    for version in filter(None, (terms.version, terms.predecessor)):
        try:
            parse_version(version)
        except UsageError as error:
            found.append(str(error))
    try:
        date.fromisoformat(terms.date)
    except ValueError:
        found.append(f"{terms.date!r} is no date; give YYYY-MM-DD")
    if not inputs.recipe.text:
        found.append("the recipe was not read from a file, and a release publishes that file; load it with load_recipe")
    return found


def _labelling(inputs: Inputs, terms: Terms) -> list[str]:
    found = [
        f"round {name} has {count} task(s) without an answer; finish and pull them, or close the round"
        for name, count in inputs.open_tasks.items()
    ]
    gate = terms.agreement.get("gate")
    alpha = (terms.agreement.get("background") or {}).get("alpha")
    shown = f"{alpha:.2f}" if isinstance(alpha, float) else "not defined"
    if gate == "block":
        found.append(f"the agreement on backgrounds is too low (alpha {shown}); revise the guidelines and label again")
    elif gate not in {"pass", "warn"}:
        found.append("no agreement figures were given; run `counteranimal annotate agreement` first")
    return found


def _duplicates(inputs: Inputs, terms: Terms, published: pa.ChunkedArray) -> list[str]:
    settled = {frozenset(pair) for pair in terms.settled_pairs}

    def unresolved(name: str, *, across: bool) -> list[str]:
        pairs = inputs.tables[name].select(["photo_a", "photo_b"]).to_pylist()
        # A question about a dropped photo is one about the photo that was kept for it.
        kept_for = _kept_for(inputs, {photo for pair in pairs for photo in pair.values()})
        asked = {kept_for.get(photo, photo) for pair in pairs for photo in pair.values()}
        out = set(published.filter(_among(published, asked)).to_pylist())
        group_of = _groups_of(inputs, out) if across else {}
        found = []
        for row in pairs:
            a, b = (kept_for.get(photo, photo) for photo in (row["photo_a"], row["photo_b"]))
            open_pair = frozenset((row["photo_a"], row["photo_b"])) not in settled and {a, b} <= out
            if open_pair and a != b and (not across or _across(group_of.get(a, set()), group_of.get(b, set()))):
                found.append(f"{row['photo_a'][:12]} and {row['photo_b'][:12]}")
        return found

    asked = {
        "may be the same photo": unresolved("unsure_pairs", across=False),
        "lie close in a model's features, one in common and one in counter": unresolved("similar_pairs", across=True),
    }
    return [
        f"{len(pairs)} pair(s) of photos {what} ({', '.join(pairs[:_NAMED_AT_MOST])}"
        f"{f' and {len(pairs) - _NAMED_AT_MOST} more' if len(pairs) > _NAMED_AT_MOST else ''}); look at each pair and record "
        "the answer: `counteranimal annotate plan --queue duplicates`, then `counteranimal rebuild`"
        for what, pairs in asked.items()
        if pairs
    ]


def _kept_for(inputs: Inputs, photo_ids: Collection[str]) -> dict[str, str]:
    clusters = inputs.tables["clusters"]
    named = clusters.filter(_among(clusters["photo_id"], photo_ids))
    return dict(zip(named["photo_id"].to_pylist(), named["cluster"].to_pylist(), strict=True))


def _groups_of(inputs: Inputs, photo_ids: Collection[str]) -> dict[str, set[tuple[str, str]]]:
    splits = inputs.tables["splits"]
    found: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for row in splits.filter(_among(splits["photo_id"], photo_ids)).to_pylist():
        found[row["photo_id"]].add((row["split"], row["group"]))
    return found


def _across(a: Collection[tuple[str, str]], b: Collection[tuple[str, str]]) -> bool:
    """Return whether some split has one photo in common and the other in counter."""
    return any(split == other and {group, its} == {"common", "counter"} for split, group in a for other, its in b)


def _photos(inputs: Inputs, entries: pa.Table) -> list[str]:
    photo_ids, seen = entries["photo_id"], inputs.tables
    kept, sound, verdicts, pool = seen["clusters"], seen["photos"], seen["verdicts"], seen["pool"]
    kept = kept.filter(pc.fill_null(kept["kept"], fill_value=False))["photo_id"].combine_chunks()
    sound = sound.filter(pc.equal(sound["status"], "ok"))["photo_id"].combine_chunks()
    verdicts = verdicts.filter(pc.equal(verdicts["status"], "ok"))
    verdict = pc.index_in(photo_ids, value_set=verdicts["photo_id"].combine_chunks())
    # As they are in the workspace: those of the entries hide people.
    units = pool["fold_unit"].take(pc.index_in(photo_ids, value_set=pool["photo_id"].combine_chunks()))
    checks = {
        "withdrawn; run the rebuild again": _among(photo_ids, inputs.withdrawn),
        "left out by a list; run the rebuild again": _among(photo_ids, inputs.left_out),
        "a duplicate or rejected; run the rebuild again": pc.invert(
            pc.and_(pc.is_in(photo_ids, value_set=kept), pc.is_in(photo_ids, value_set=sound))
        ),
        "without an accepted verdict; run the rebuild again": pc.is_null(verdict),
        "on another background than its verdict; run the rebuild again": pc.not_equal(
            verdicts["background"].take(verdict), entries["background"]
        ),
        "on a background outside the vocabulary; correct the verdicts": pc.invert(
            _among(entries["background"], backgrounds().keys())
        ),
        "showing a recognisable person; reject them": _with_code(entries["codes"], Reason.PERSON.value),
        "in the wrong fold; run the rebuild again": pc.not_equal(_folds(inputs.recipe.seed, units), entries["fold"]),
    }
    found = {what: _where(entries, wrong) for what, wrong in checks.items()}
    return [f"{len(photos)} photo(s) are {what} ({_named(photos)})" for what, photos in found.items() if len(photos)]


def _with_code(codes: pa.ChunkedArray, code: str) -> pa.Array:
    """Return which of the lists hold a code."""
    flat, parents = pc.list_flatten(codes), pc.list_parent_indices(codes)
    holders = parents.filter(pc.equal(flat, code))
    return pc.is_in(pa.array(range(len(codes)), pa.int64()), value_set=holders.combine_chunks().cast(pa.int64()))


def _folds(seed: str, units: pa.ChunkedArray) -> pa.Array:
    encoded = pc.fill_null(units, "").combine_chunks().dictionary_encode()
    folds = pa.array([ids.fold_of(seed, unit) for unit in encoded.dictionary.to_pylist()], pa.string())
    return folds.take(encoded.indices)


def _upstream(inputs: Inputs, entries: pa.Table) -> list[str]:
    """What upstream said since the crawl: gone for good, or not to be kept. What it was not asked is a caveat and no gate."""
    checks = {
        "gone upstream, by two answers a day apart": inputs.upstream.gone,
        "not to be kept any more, as their server now says (X-Robots-Tag)": inputs.upstream.opted_out,
    }
    found = {what: _where(entries, _among(entries["photo_id"], photos)) for what, photos in checks.items()}
    return [
        f"{len(photos)} photo(s) are {what} ({_named(photos)}); leave them out with `--without {LEFT_OUT_LIST}`"
        for what, photos in found.items()
        if len(photos)
    ]


def _incomplete(entries: pa.Table) -> list[str]:
    """Provenance: every column that a release fills must be known of every photo."""
    found = {}
    for column in entries.column_names:
        if column not in OPTIONAL["entries"] | _OF_THE_COPY:
            values = entries[column]
            text = pa.types.is_string(values.type)
            found[column] = _where(
                entries, pc.fill_null(pc.equal(values, ""), fill_value=True) if text else pc.is_null(values)
            )
    unreadable = pc.or_(*(pc.starts_with(entries["url"], start) for start in ("/", "file:/")))
    found["url that others can read"] = _where(entries, unreadable)
    return [
        f"{len(photos)} photo(s) have no known {column} ({_named(photos)}); mend their source or leave them out"
        for column, photos in found.items()
        if len(photos)
    ]


def _licences(entries: pa.Table, allowed: Collection[str]) -> list[str]:
    licences = pc.fill_null(entries["licence"], "")
    offered = sorted(pc.unique(licences).to_pylist())
    refused = {name: _where(entries, pc.equal(licences, name)) for name in offered if name not in allowed}
    found = [
        f"{len(photos)} photo(s) are under the licence {name or 'unknown'}, which the recipe does not allow ({_named(photos)})"
        for name, photos in refused.items()
    ]
    asking = _among(licences, [name for name in offered if name in allowed and asks_for_attribution(name)])
    nameless = _where(entries, pc.and_(asking, pc.is_null(entries["author"])))
    if len(nameless):
        found.append(
            f"{len(nameless)} photo(s) have a licence that asks for a name and no author ({_named(nameless)}); leave them out"
        )
    return found


def _selection(inputs: Inputs, terms: Terms, entries: pa.Table) -> list[str]:
    found = []
    predictions = inputs.tables["predictions"].select(["photo_id", "model", "protocol"])
    predictions = predictions.filter(pc.equal(predictions["protocol"], "1v1000"))
    for rule in inputs.recipe.splits:
        record = terms.selectors.get(rule.name) or {}
        if not record.get("spec") or not record.get("weights_sha256"):
            found.append(f"split {rule.name} has no identity of its selecting model; evaluate {rule.selector} first")
        predicted = predictions.filter(pc.equal(predictions["model"], rule.selector))["photo_id"].combine_chunks()
        without = _where(entries, pc.invert(pc.is_in(entries["photo_id"], value_set=predicted)))
        if len(without):
            found.append(
                f"{len(without)} photo(s) have no prediction by {rule.selector} ({_named(without)}); run the rebuild again"
            )
    return found
