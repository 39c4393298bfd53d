"""The gates: everything that stands between a workspace and a release, found in one go.

Decides what refuses a freeze. No flag turns a gate off: what a gate names is mended in the workspace, and the freeze is run
again. Each gate is a function of values that returns sentences, so that a curator sees all of them at once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import date
from typing import Any

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


def problems(inputs: Inputs, terms: Terms, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return every reason not to freeze, as sentences that say what to do.

    Parameters
    ----------
    rows : sequence of mapping
        The rows of `entries` as `entries.entry_rows` makes them, complete or not.
    """
    found = [f"table {name} is missing; run the stage that writes it" for name in inputs.missing]
    if not rows:
        found.append("no verified photo is in the pool; label some and run the rebuild again")
    found += _terms(inputs, terms)
    found += _labelling(inputs, terms)
    found += _duplicates(inputs, terms, {row["photo_id"] for row in rows})
    found += _photos(inputs, rows)
    found += _upstream(inputs, [row["photo_id"] for row in rows])
    found += _incomplete(rows)
    found += _licences(rows, inputs.recipe.licences.allow)
    found += _selection(inputs, terms, [row["photo_id"] for row in rows])
    return found


def _named(photo_ids: Iterable[str]) -> str:
    """Return the first ids, short, and how many more there are."""
    ordered = sorted(photo_ids)
    more = f" and {len(ordered) - _NAMED_AT_MOST} more" if len(ordered) > _NAMED_AT_MOST else ""
    return ", ".join(photo_id[:12] for photo_id in ordered[:_NAMED_AT_MOST]) + more


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


def _duplicates(inputs: Inputs, terms: Terms, published: Collection[str]) -> list[str]:
    settled = {frozenset(pair) for pair in terms.settled_pairs}
    kept_for = {row["photo_id"]: row["cluster"] for row in inputs.tables["clusters"].to_pylist()}
    group_of: dict[str, set[tuple[str, str]]] = defaultdict(set)
    for row in inputs.tables["splits"].to_pylist():
        group_of[row["photo_id"]].add((row["split"], row["group"]))

    def unresolved(name: str, *, across: bool) -> list[str]:
        found = []
        for row in inputs.tables[name].to_pylist():
            # A question about a dropped photo is one about the photo that was kept for it.
            a, b = (kept_for.get(photo, photo) for photo in (row["photo_a"], row["photo_b"]))
            open_pair = frozenset((row["photo_a"], row["photo_b"])) not in settled and {a, b} <= set(published)
            if open_pair and a != b and (not across or _across(group_of[a], group_of[b])):
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


def _across(a: Collection[tuple[str, str]], b: Collection[tuple[str, str]]) -> bool:
    """Return whether some split has one photo in common and the other in counter."""
    return any(split == other and {group, its} == {"common", "counter"} for split, group in a for other, its in b)


def _photos(inputs: Inputs, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    kept = {row["photo_id"] for row in inputs.tables["clusters"].to_pylist() if row["kept"]}
    sound = {row["photo_id"] for row in inputs.tables["photos"].to_pylist() if row["status"] == "ok"}
    agreed = {
        row["photo_id"]: row["background"] for row in inputs.tables["verdicts"].to_pylist() if row["status"] == "ok"
    }
    raw_units = {row["photo_id"]: row["fold_unit"] for row in inputs.tables["pool"].to_pylist()}
    vocabulary = backgrounds()
    found: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        photo_id = row["photo_id"]
        checks = {
            "withdrawn; run the rebuild again": photo_id in inputs.withdrawn,
            "left out by a list; run the rebuild again": photo_id in inputs.left_out,
            "a duplicate or rejected; run the rebuild again": photo_id not in kept or photo_id not in sound,
            "without an accepted verdict; run the rebuild again": photo_id not in agreed,
            "on another background than its verdict; run the rebuild again": agreed.get(photo_id, row["background"])
            != row["background"],
            "on a background outside the vocabulary; correct the verdicts": row["background"] not in vocabulary,
            "showing a recognisable person; reject them": Reason.PERSON in row["codes"],
            "in the wrong fold; run the rebuild again": ids.fold_of(inputs.recipe.seed, raw_units[photo_id] or "")
            != row["fold"],
        }
        for what, wrong in checks.items():
            if wrong:
                found[what].append(photo_id)
    return [f"{len(photo_ids)} photo(s) are {what} ({_named(photo_ids)})" for what, photo_ids in found.items()]


def _upstream(inputs: Inputs, photo_ids: Sequence[str]) -> list[str]:
    """What upstream said since the crawl: gone for good, or not to be kept. What it was not asked is a caveat and no gate."""
    stood, opted_out = inputs.upstream, inputs.upstream.opted_out
    checks = {
        "gone upstream, by two answers a day apart": [photo_id for photo_id in photo_ids if photo_id in stood.gone],
        "not to be kept any more, as their server now says (X-Robots-Tag)": [
            photo_id for photo_id in photo_ids if photo_id in opted_out
        ],
    }
    return [
        f"{len(found)} photo(s) are {what} ({_named(found)}); leave them out with `--without {LEFT_OUT_LIST}`"
        for what, found in checks.items()
        if found
    ]


def _incomplete(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    """Provenance: every column that a release fills must be known of every photo."""
    found: dict[str, list[str]] = defaultdict(list)
    for row in rows:
        for column, value in row.items():
            if column not in OPTIONAL["entries"] | _OF_THE_COPY and (value is None or value == ""):
                found[column].append(row["photo_id"])
        if str(row["url"] or "").startswith(("/", "file:/")):
            found["url that others can read"].append(row["photo_id"])
    return [
        f"{len(photo_ids)} photo(s) have no known {column} ({_named(photo_ids)}); mend their source or leave them out"
        for column, photo_ids in found.items()
    ]


def _licences(rows: Sequence[Mapping[str, Any]], allowed: Collection[str]) -> list[str]:
    refused: dict[str, list[str]] = defaultdict(list)
    nameless = []
    for row in rows:
        if row["licence"] not in allowed:
            refused[row["licence"] or "unknown"].append(row["photo_id"])
        elif asks_for_attribution(row["licence"]) and not row["author"]:
            nameless.append(row["photo_id"])
    found = [
        f"{len(photo_ids)} photo(s) are under the licence {licence}, which the recipe does not allow ({_named(photo_ids)})"
        for licence, photo_ids in sorted(refused.items())
    ]
    if nameless:
        found.append(
            f"{len(nameless)} photo(s) have a licence that asks for a name and no author ({_named(nameless)}); leave them out"
        )
    return found


def _selection(inputs: Inputs, terms: Terms, photo_ids: Sequence[str]) -> list[str]:
    found = []
    predicted: dict[str, set[str]] = defaultdict(set)
    for row in inputs.tables["predictions"].select(["photo_id", "model", "protocol"]).to_pylist():
        if row["protocol"] == "1v1000":
            predicted[row["model"]].add(row["photo_id"])
    for rule in inputs.recipe.splits:
        record = terms.selectors.get(rule.name) or {}
        if not record.get("spec") or not record.get("weights_sha256"):
            found.append(f"split {rule.name} has no identity of its selecting model; evaluate {rule.selector} first")
        without = set(photo_ids) - predicted[rule.selector]
        if without:
            found.append(
                f"{len(without)} photo(s) have no prediction by {rule.selector} ({_named(without)}); run the rebuild again"
            )
    return found
