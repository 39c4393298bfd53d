"""What a report is made from: the tables of one release, its evaluation, and the photos to show.

Decides the shape of the input only. Which rows mean what is said in `tables`; which numbers are shown is decided by `numbers`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from counteranimal import tables
from counteranimal.conservation import Conservation

__all__ = ["ExamplePhoto", "MergedPair", "Origin", "ReportContext"]


@dataclass(frozen=True, slots=True)
class Origin:
    """The release that the numbers come from: its name, version and root digest (sha256 of SHA256SUMS)."""

    name: str
    version: str
    digest: str


@dataclass(frozen=True, slots=True)
class ExamplePhoto:
    """One photo of a group, with the credit that its licence asks for; `path` is None where the bytes are not at hand."""

    split: str
    group: Literal["common", "counter"]
    class_name: str
    background: str
    path: Path | None
    author: str = ""
    licence: str = ""
    page_url: str = ""
    kind: str = "photo"


@dataclass(frozen=True, slots=True)
class MergedPair:
    """A dropped photo and the kept one it was merged with, or two that wait for people (`unsure`, `similar`) or that they settled.

    Distances are in bits of 64; `pixel_difference` is the mean absolute difference of aligned pixels, 0 to 1.
    """

    dropped: Path | None
    kept: Path | None
    dropped_id: str
    kept_id: str
    reason: str
    rule: str = ""
    phash_distance: int | None = None
    dhash_distance: int | None = None
    pixel_difference: float | None = None
    dropped_credit: str = ""
    kept_credit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportContext:
    """Everything a report shows.

    Parameters
    ----------
    title : str
        Heading of the page.
    release : Origin or None
        None while nothing is frozen yet.
    conservation : Conservation
        The count of candidates by state.
    cluster_reasons : mapping of str to int
        Photos by the reason column of `clusters`.
    agreement : mapping
        As `annotate.agreement` returns it; only figures are shown, never a worker's name.
    votes : mapping of str to int
        Votes by status.
    pairs, groups, splits, entries, results : pa.Table
        As in `tables.SCHEMAS`; empty ones give a page that says so. Accuracies and drops are fractions.
    identities : mapping of str to mapping
        Model as named in `results` -> its identity record (`ModelIdentity.record()`).
    selectors : mapping of str to mapping
        Split -> identity record of the model that chose its backgrounds.
    class_names : mapping of str to str
        Class id -> name for people.
    simulated_raters : bool
        True when votes were entered by programs that play annotators.
    per_class_rule : pa.Table
        Table `pairs` by the per-class rule, where the published split uses one pair for the whole pool; may be empty.
    covariates : mapping of str to mapping
        Split -> how its groups differ besides the background, as `discovery.covariates` returns it; may be empty.
    caveats : sequence of str
        Sentences to add to those that follow from the data.
    examples, merged : sequences
        Photos to show; both may be empty.
    merged_left_out : mapping of str to int
        Pairs of each kind (dropped, unsure, similar, settled, overlap) that are not shown.
    references : sequence of str
        Names of the hash lists that the photos were compared with before labelling.
    training_overlap : mapping
        What an evaluation found in hash lists, as results.json says it; empty where it was not checked.
    lines : sequence of mappings
        What drew the line of effective robustness for each split, fold and protocol, as results.json says it.
    worst_groups : mapping of (split, fold, protocol, model) to mapping
        The group with the lowest accuracy, as results.json says it.
    asked : mapping
        Names, templates and label space of the evaluation; empty without one.
    citation : str
        What to cite; shown on the page of an evaluation alone.
    """

    title: str
    conservation: Conservation
    release: Origin | None = None
    cluster_reasons: Mapping[str, int] = field(default_factory=dict)
    agreement: Mapping[str, Any] = field(default_factory=dict)
    votes: Mapping[str, int] = field(default_factory=dict)
    pairs: pa.Table = field(default_factory=lambda: tables.empty("pairs"))
    groups: pa.Table = field(default_factory=lambda: tables.empty("groups"))
    splits: pa.Table = field(default_factory=lambda: tables.empty("splits"))
    entries: pa.Table = field(default_factory=lambda: tables.empty("entries"))
    results: pa.Table = field(default_factory=lambda: tables.empty("results"))
    identities: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    selectors: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    class_names: Mapping[str, str] = field(default_factory=dict)
    simulated_raters: bool = False
    per_class_rule: pa.Table = field(default_factory=lambda: tables.empty("pairs"))
    covariates: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    caveats: Sequence[str] = ()
    examples: Sequence[ExamplePhoto] = ()
    merged: Sequence[MergedPair] = ()
    merged_left_out: Mapping[str, int] = field(default_factory=dict)
    references: Sequence[str] = ()
    training_overlap: Mapping[str, Any] = field(default_factory=dict)
    lines: Sequence[Mapping[str, Any]] = ()
    worst_groups: Mapping[tuple[str, str, str, str], Mapping[str, Any]] = field(default_factory=dict)
    asked: Mapping[str, Any] = field(default_factory=dict)
    citation: str = ""
