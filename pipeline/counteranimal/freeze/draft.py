"""The draft of a release: every table, count and sentence of it, as values.

Decides what is published, after the gates. Pure but for reading the photos whose copies it digests: the same inputs give the
same draft on any machine. Leaves files, signature and the rename to `write`.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

import counteranimal
from counteranimal import conservation, ids, tables
from counteranimal.freeze import gates
from counteranimal.freeze.caveats import caveats, not_checked, rechecked, simulated_votes
from counteranimal.freeze.entries import entries_table
from counteranimal.freeze.inputs import Inputs, Terms, gather
from counteranimal.freeze.photos import copies_of
from counteranimal.pool import Pool
from counteranimal.recipe import Recipe, backgrounds
from counteranimal.workspace import Workspace

__all__ = ["Draft", "assemble", "counted", "draft"]

_HERE = Pool()


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """A release before it has files.

    `manifest` holds what release.json will hold but for the files and the signing key; `tables` the published tables by name,
    in key order; `agreement` is free of workers' names and of numbers that JSON lacks.
    """

    manifest: Mapping[str, Any]
    tables: Mapping[str, pa.Table]
    agreement: Mapping[str, Any]
    terms: Terms
    recipe_text: str

    @property
    def version(self) -> str:
        """MAJOR.MINOR.PATCH."""
        return self.terms.version


def draft(recipe: Recipe, workspace: Workspace, terms: Terms, *, pool: Pool = _HERE) -> Draft:
    """Draft a release from a workspace.

    Parameters
    ----------
    pool : Pool
        Where the published copies are made; the draft does not depend on it.

    Raises
    ------
    FreezeRefused
        A PolicyError that lists every reason at once; nothing was written.
    """
    inputs = gather(recipe, workspace)
    photo_ids = inputs.tables["pool"].column("photo_id").to_pylist()
    copies, lost = copies_of(workspace.blobs, photo_ids, pool=pool)
    return assemble(inputs, terms, copies, lost=lost)


def assemble(inputs: Inputs, terms: Terms, copies: pa.Table, *, lost: list[str] | None = None) -> Draft:
    """Return the draft of values that are already read; the pure part of `draft`.

    Parameters
    ----------
    copies : pa.Table
        The published copies, as `entries.COPIES` says.
    lost : list of str, optional
        Sentences about photos that could not be copied; each refuses the freeze.
    """
    entries = entries_table(inputs, terms, copies)
    gates.require_none([*gates.problems(inputs, terms, entries), *(lost or [])])
    published = _published_tables(inputs, entries)
    selectors = {split.name: dict(terms.selectors[split.name]) for split in inputs.recipe.splits}
    found = caveats(published["entries"], published["pairs"], selectors, inputs.recipe.splits)
    found += [
        *not_checked(inputs.tables["references"].column("name").to_pylist()),
        *rechecked(inputs.upstream, published["entries"].column("photo_id").to_pylist()),
        *simulated_votes(inputs.simulated),
        *terms.caveats,
    ]
    return Draft(
        manifest=_manifest(inputs, terms, published) | {"caveats": list(dict.fromkeys(found))},
        tables=published,
        agreement=_publishable(terms.agreement, inputs.recipe.seed),
        terms=terms,
        recipe_text=inputs.recipe.text,
    )


def _published_tables(inputs: Inputs, entries: pa.Table) -> dict[str, pa.Table]:
    splits = pa.array(sorted({split.name for split in inputs.recipe.splits}), pa.string())
    models = pa.array(sorted({split.selector for split in inputs.recipe.splits}), pa.string())
    photo_ids = entries["photo_id"].combine_chunks()
    published = {
        "entries": entries,
        "splits": _only(inputs.tables["splits"], split=splits),
        "pairs": _only(inputs.tables["pairs"], split=splits),
        "groups": _only(inputs.tables["groups"], split=splits, model=models),
        "predictions": _only(inputs.tables["predictions"], model=models, photo_id=photo_ids),
    }
    # One chunk each: where a table was cut in memory would otherwise show in the Parquet file.
    return {name: tables.conform(name, table).combine_chunks() for name, table in published.items()}


def _only(table: pa.Table, **allowed: pa.Array) -> pa.Table:
    for column, values in allowed.items():
        table = table.filter(pc.is_in(table.column(column), value_set=values))
    return table


def _manifest(inputs: Inputs, terms: Terms, published: Mapping[str, pa.Table]) -> dict[str, Any]:
    recipe = inputs.recipe
    entries = published["entries"]
    return {
        "name": recipe.name,
        "title": recipe.title,
        "version": terms.version,
        "date": terms.date,
        "predecessor": terms.predecessor,
        "made_with": {"counteranimal": counteranimal.__version__},
        "seed": recipe.seed,
        "classes": _classes(recipe, terms),
        "backgrounds": list(recipe.vocabulary()),
        "undecided": [name for name, item in backgrounds().items() if not item.decides],
        "licences": list(recipe.licences.allow),
        "splits": [
            {
                "name": rule.name,
                "selector": _publishable(terms.selectors[rule.name], recipe.seed),
                "rule": rule.model_dump(mode="json", exclude={"name"}),
            }
            for rule in recipe.splits
        ],
        "counts": {
            **{name: len(table) for name, table in published.items()},
            "votes": int(pc.sum(entries.column("n_votes")).as_py() or 0),
            "kinds": counted(entries, "kind"),
            "licences": counted(entries, "licence"),
        },
        "conservation": _conservation(inputs),
        "photos": _photos(inputs),
        "references": inputs.tables["references"].to_pylist(),
        "covariates": _rounded(_publishable(terms.covariates, recipe.seed)),
        "recipe": recipe.model_dump(mode="json"),
    }


def _classes(recipe: Recipe, terms: Terms) -> list[dict[str, Any]]:
    return [
        {
            "id": item.id,
            "name": item.name,
            "imagenet_indices": list(item.imagenet),
            "candidates_1v20": [int(index) for index in terms.candidates_1v20.get(item.id, ())],
        }
        for item in recipe.classes
    ]


def counted(table: pa.Table, column: str) -> dict[str, int]:
    """Return value -> rows that hold it, in the order of the values."""
    return dict(sorted((item["values"], item["counts"]) for item in pc.value_counts(table[column]).to_pylist()))


def _conservation(inputs: Inputs) -> dict[str, Any]:
    seen = inputs.tables
    found = conservation.account(
        seen["candidates"], seen["fetches"], seen["photos"], seen["clusters"], inputs.withdrawn
    )
    found.require_balance()
    return {
        "discovered": found.discovered,
        "states": {state: found.states.get(state, 0) for state in conservation.STATES},
        "reasons": dict(sorted(found.reasons.items())),
    }


def _photos(inputs: Inputs) -> dict[str, Any]:
    """Count what became of the photos that were kept: published, or left out and why."""
    seen = inputs.tables
    sound, kept = seen["photos"], seen["clusters"]
    sound = sound.filter(pc.equal(sound["status"], "ok"))["photo_id"].combine_chunks()
    kept = kept.filter(pc.fill_null(kept["kept"], fill_value=False))["photo_id"]
    kept = kept.filter(pc.is_in(kept, value_set=sound))
    absent = kept.filter(pc.invert(pc.is_in(kept, value_set=seen["pool"]["photo_id"].combine_chunks())))
    listed = pc.is_in(absent, value_set=pa.array(sorted(inputs.left_out), pa.string()))
    place = pc.index_in(absent, value_set=seen["verdicts"]["photo_id"].combine_chunks())
    reasons = seen["verdicts"]["reason"].take(place)
    reasons = pc.if_else(pc.fill_null(pc.not_equal(reasons, ""), fill_value=False), reasons, "not_pooled")
    reasons = pc.if_else(pc.is_null(place), "not_labelled", reasons)
    reasons = pc.if_else(listed, "left_out_by_list", reasons)
    return {
        "kept": len(kept),
        "published": len(kept) - len(absent),
        "left_out": counted(pa.table({"reason": reasons}), "reason"),
    }


def _rounded(value: Any) -> Any:
    """Return nested figures to 4 decimals: the last bits of a fitted regression differ between processors."""
    if isinstance(value, Mapping):
        return {name: _rounded(item) for name, item in value.items()}
    # Adding 0 makes the rounded -0.0 plain.
    return round(value, 4) + 0.0 if isinstance(value, float) else value


def _publishable(value: Any, seed: str, *, key: str = "") -> Any:
    """Return figures as JSON can hold them: undefined numbers as null, workers under pseudonyms."""
    if isinstance(value, Mapping):
        people = key == "workers"
        return {
            ids.pseudonym(seed, "worker", str(name)) if people else str(name): _publishable(item, seed, key=str(name))
            for name, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_publishable(item, seed, key="worker" if key == "workers" else "") for item in value]
    if key == "worker" and isinstance(value, str):
        return ids.pseudonym(seed, "worker", value)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else None
    if hasattr(value, "item"):  # a numpy scalar
        return _publishable(value.item(), seed)
    return value
