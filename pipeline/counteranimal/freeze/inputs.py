"""What a freeze stands on: the tables of a workspace and the terms that a person sets.

Decides what is read and from where. Nothing after this module touches the journal, so that a draft is a function of values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa

from counteranimal.recipe import Recipe
from counteranimal.workspace import Journal, Workspace
from counteranimal.workspace.upstream import Standing, standing

__all__ = ["REQUIRED_TABLES", "Inputs", "Terms", "gather", "open_tasks"]

REQUIRED_TABLES = (
    "candidates",
    "fetches",
    "photos",
    "clusters",
    "verdicts",
    "pool",
    "predictions",
    "pairs",
    "splits",
    "groups",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What the tables do not say about a release.

    Parameters
    ----------
    version, date : str
        MAJOR.MINOR.PATCH, and the day of publication as YYYY-MM-DD.
    agreement : mapping
        The round's agreement figures with their `gate`; workers' names are replaced before they are published.
    selectors : mapping of str to mapping
        Split -> identity record of the model that selected (`ModelIdentity.record()`).
    candidates_1v20 : mapping of str to sequence of int
        Class id -> 20 ImageNet-1K indices; empty where the 1-vs-20 protocol is not offered.
    covariates : mapping of str to mapping
        Split -> how its groups differ besides the background, as `discovery.covariates` returns it.
    settled_pairs : collection of (str, str)
        Pairs of photo ids, in either order, that a person looked at and found to be different photos.
    predecessor : str, optional
        Version that this one follows.
    changes, caveats : sequence of str
        Lines for CHANGES.md; sentences to add to the caveats that follow from the data.
    homepage, publisher : str
        For croissant.json; may be empty.
    """

    version: str
    date: str
    agreement: Mapping[str, Any]
    selectors: Mapping[str, Mapping[str, Any]]
    candidates_1v20: Mapping[str, Sequence[int]] = field(default_factory=dict)
    covariates: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    settled_pairs: Collection[tuple[str, str]] = ()
    predecessor: str | None = None
    changes: Sequence[str] = ("First release.",)
    caveats: Sequence[str] = ()
    homepage: str = ""
    publisher: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Inputs:
    """Everything a draft is a function of, beside the photos' bytes.

    `tables` holds the views by name, empty where a stage has not run; those are listed in `missing`. `open_tasks` counts
    unanswered labelling tasks by round, `withdrawn` holds ids of photos and candidates that a takedown removed, `simulated` names the rounds in
    which programs voted in the place of people. `upstream` is what was said of the photos when they were asked for again,
    `left_out` holds photos that a curator's list leaves out.
    """

    recipe: Recipe
    tables: Mapping[str, pa.Table]
    missing: tuple[str, ...] = ()
    open_tasks: Mapping[str, int] = field(default_factory=dict)
    withdrawn: frozenset[str] = frozenset()
    simulated: tuple[str, ...] = ()
    upstream: Standing = field(default_factory=Standing)
    left_out: frozenset[str] = frozenset()


def gather(recipe: Recipe, workspace: Workspace) -> Inputs:
    """Read the tables that a release is made of."""
    names = (*REQUIRED_TABLES, "unsure_pairs", "similar_pairs", "references")
    return Inputs(
        recipe=recipe,
        tables={name: workspace.table_or_empty(name) for name in names},
        missing=tuple(name for name in REQUIRED_TABLES if not workspace.table_path(name).exists()),
        open_tasks=open_tasks(workspace.journal),
        withdrawn=frozenset(workspace.journal.withdrawn()),
        simulated=tuple(sorted({row["round"] for row in workspace.journal.rows("rounds", event="simulated")})),
        upstream=standing(workspace.journal),
        left_out=frozenset(row["photo_id"] for row in workspace.journal.rows("left_out")),
    )


def open_tasks(journal: Journal) -> dict[str, int]:
    """Return round -> labelling tasks that nobody has answered, over the rounds that are not closed.

    Tasks that were planned count before they are pushed. A draft that was never submitted is no answer; a skipped task is one.
    Nobody is asked about a withdrawn photo any more, alone or in a pair (whose name joins two ids by a plus).
    """
    withdrawn = journal.withdrawn()
    closed = {row["round"] for row in journal.rows("rounds", event="closed")}
    planned = {row["round"]: row["content"] for row in journal.rows("rounds", event="planned")}
    wanted = {(row["round"], row["worker"], row["photo_id"]) for row in journal.rows("tasks")}
    for name, plan in planned.items():
        for worker, assigned in plan.get("assignments", {}).items():
            wanted |= {(name, worker, photo_id) for photo_id, *_ in assigned}
    answered = {
        (row["round"], row["worker"], row["photo_id"]) for row in journal.rows("votes") if row["status"] != "draft"
    }
    counted = Counter(
        name for name, _, item in wanted - answered if name not in closed and withdrawn.isdisjoint(item.split("+"))
    )
    return dict(sorted(counted.items()))
