"""Collects a report's context from where the pieces lie: a workspace, a release, and the files of an evaluation.

Decides which of two copies counts: what a release publishes wins over what the workspace holds. Leaves what is shown to
`numbers` and the page. A piece that does not exist yet is left empty, and the page says so.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa

from counteranimal import tables
from counteranimal.conservation import Conservation, account
from counteranimal.errors import IntegrityError
from counteranimal.ids import is_photo_id
from counteranimal.release.read import Release
from counteranimal.report.context import Origin, ReportContext
from counteranimal.report.formats import credit_text
from counteranimal.report.photos import examples_of, left_out_of, merged_of
from counteranimal.workspace import Workspace

__all__ = ["gather", "gather_evaluation"]


def gather(
    workspace: Workspace,
    *,
    title: str,
    release: Release | None = None,
    evaluation: Path | None = None,
    extra: Mapping[str, Any] | None = None,
) -> ReportContext:
    """Return the context of a report on a workspace.

    Parameters
    ----------
    workspace : Workspace
        Where the photos, the votes and the counts are.
    title : str
        Heading of the page.
    release : Release, optional
        What was frozen; without it the workspace's own tables are shown.
    evaluation : Path, optional
        Folder with `results.parquet` and `results.json`.
    extra : mapping, optional
        Fields of `ReportContext` that only the caller knows: `per_class_rule`, `caveats`, `class_names`, `agreement`.

    Raises
    ------
    IntegrityError
        If a file of the evaluation is no such file.
    """
    given = dict(extra or {})
    published = {name: _table(workspace, release, name) for name in ("entries", "pairs", "groups", "splits")}
    names = given.get("class_names") or (release.class_names if release else {})
    clusters = workspace.table_or_empty("clusters")
    pairs = {
        name: workspace.table_or_empty(name)
        for name in ("unsure_pairs", "similar_pairs", "settled_pairs", "reference_overlaps")
    }
    pairs["clusters"] = clusters
    fields: dict[str, Any] = {
        "title": title,
        **_of_release(release),
        **_of_evaluation(evaluation),
        "conservation": _conservation(workspace),
        "cluster_reasons": Counter(clusters.column("reason").to_pylist()),
        "votes": Counter(workspace.table_or_empty("votes").column("status").to_pylist()),
        "class_names": names,
        "simulated_raters": bool(workspace.journal.rows("rounds", event="simulated")),
        "examples": examples_of(
            published["splits"], published["entries"], path_of=_path_of(workspace), class_names=names
        ),
        "merged": merged_of(pairs, path_of=_path_of(workspace), credit_of=_credit_of(workspace)),
        "merged_left_out": left_out_of(pairs),
        "references": _references(workspace, release),
    }
    return ReportContext(**{**fields, **published, **given})


def gather_evaluation(release: Release, evaluation: Path, *, citation: str) -> ReportContext:
    """Return the context of an evaluation alone, for somebody who has a release and no workspace.

    Raises
    ------
    IntegrityError
        If a file of the evaluation is no such file.
    """
    return ReportContext(
        title=str(release.manifest["title"] or release.name),
        conservation=Conservation(0, {}, {}),
        **{name: getattr(release, name) for name in ("entries", "pairs", "groups", "splits")},
        class_names=release.class_names,
        references=_references(None, release),
        caveats=release.manifest["caveats"],
        citation=citation,
        **_of_release(release),
        **_of_evaluation(evaluation),
    )


def _of_release(release: Release | None) -> dict[str, Any]:
    """Return what a release says of itself; nothing while none is frozen."""
    if release is None:
        return {}
    origin = Origin(release.name, release.version, release.digest)
    return {"release": origin, "agreement": release.agreement, "selectors": release.selectors}


def _references(workspace: Workspace | None, release: Release | None) -> list[str]:
    rows: list[dict[str, Any]] = []
    if release:
        rows = release.manifest.get("references", [])
    elif workspace:
        rows = workspace.table_or_empty("references").to_pylist()
    return [row["name"] for row in rows]


def _table(workspace: Workspace, release: Release | None, name: str) -> pa.Table:
    return getattr(release, name) if release is not None else workspace.table_or_empty(name)


def _conservation(workspace: Workspace) -> Conservation:
    read = workspace.table_or_empty
    withdrawn = workspace.journal.withdrawn()
    return account(read("candidates"), read("fetches"), read("photos"), read("clusters"), withdrawn)


def _path_of(workspace: Workspace) -> Callable[[str], Path | None]:
    # A reference set's photo is named by its list and path, which must never become a path of the store.
    return lambda name: workspace.blobs.path(name) if is_photo_id(name) and workspace.blobs.has(name) else None


def _credit_of(workspace: Workspace) -> Callable[[str], str]:
    """Return photo id -> "attribution · licence" of the first candidate that brought the photo."""
    candidates = {row["candidate_id"]: row for row in workspace.table_or_empty("candidates").to_pylist()}
    first = {row["photo_id"]: row["candidate_ids"][0] for row in workspace.table_or_empty("photos").to_pylist()}

    def credit(photo_id: str) -> str:
        row = candidates.get(first.get(photo_id, ""), {})
        return credit_text(row.get("attribution") or row.get("author") or "", row.get("licence") or "")

    return credit


def _of_evaluation(evaluation: Path | None) -> dict[str, Any]:
    """Return the results of an evaluation and what it says of itself in results.json; nothing without one."""
    if evaluation is None:
        return {}
    path = evaluation / "results.json"
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        about = document["counteranimal"]
        overlap = about["training_overlap"]
        return {
            "results": tables.read(evaluation / "results.parquet", "results"),
            "identities": _identities(document),
            "training_overlap": {} if isinstance(overlap, str) else dict(overlap),
            "lines": list(about["effective_robustness"]),
            "worst_groups": _worst_groups(document),
            "asked": {name: about[name] for name in ("names", "templates", "label_space", "device", "dtype")},
        }
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise IntegrityError(f"{path} holds no results that can be read; evaluate the release again") from error


def _identities(document: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    records = [item["counteranimal"]["identity"] for item in document["results"]]
    return {str(record["spec"]): dict(record) for record in records}


def _worst_groups(document: Mapping[str, Any]) -> dict[tuple[str, str, str, str], dict[str, Any]]:
    """Return (split, fold, protocol, model) -> the group with the lowest accuracy, where there is one."""
    return {
        (split, fold, own["protocol"], own["identity"]["spec"]): found["worst_group"]
        for own in (item["counteranimal"] for item in document["results"])
        for split, figures in own["splits"].items()
        for fold, found in figures["folds"].items()
        if found["worst_group"] is not None
    }
