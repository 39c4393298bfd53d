"""The file results.json: what was measured, on which release, by which model and versions, in one canonical spelling.

Decides keys only; every number comes from the tables. The keys of each result are those of CLIP_benchmark's files (dataset,
model, pretrained, task, metrics, language), with our figures under `counteranimal`. Two runs differ in the block `time` alone.
"""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from counteranimal.evaluate.engine import VIEW
from counteranimal.evaluate.predictions import Statement
from counteranimal.evaluate.protocols import ProtocolName
from counteranimal.evaluate.results import ALL_CLASSES, headline_fold, worst_group
from counteranimal.models.lineage import mark
from counteranimal.release.read import Release

__all__ = ["TIE_RULE", "json_bytes", "results_document", "rules_of", "versions"]

FORMAT = "counteranimal-results/1"
TIE_RULE = "among equal logits the lower ImageNet index wins"
_LIBRARIES = ("counteranimal", "numpy", "scipy", "pyarrow", "pillow", "torch", "torchvision", "timm", "open_clip_torch")
_INTERVALS = (
    "95 %: groups Wilson and class drops Newcombe at the weighted accuracy and effective n; macro and micro linearised over "
    "fold units, Student's t; effective robustness linearised likewise, the line included; the worst group's is Wilson's of that group, "
    "whose choice among groups it does not cover"
)


def rules_of(release: Release) -> dict[str, dict[str, Any]]:
    """Return split -> the rule that the release's manifest states."""
    return {item["name"]: dict(item["rule"]) for item in release.manifest["splits"]}


def versions() -> dict[str, str]:
    """Return the versions of everything that can change a number."""
    found = {"python": platform.python_version()}
    for name in _LIBRARIES:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "absent"
    return found


def results_document(
    release: Release,
    identities: Sequence[Mapping[str, Any]],
    tables_read: Mapping[str, pa.Table],
    *,
    origin: Statement,
) -> dict[str, Any]:
    """Return results.json without its time block and its `training_overlap`.

    Parameters
    ----------
    release : Release
        The release evaluated.
    identities : sequence of mappings
        Identity records of the models.
    tables_read : mapping
        `predictions` and `results`.
    origin : Statement
        What the models' predictions say of labels, device and versions; their identities aside, all say the same.
    """
    predictions, results = tables_read["predictions"], tables_read["results"]
    entries = [
        _result(release, identity, protocol, predictions=predictions, results=results)
        for identity in identities
        for protocol in origin.protocols
        if len(_of(predictions, identity["spec"], protocol))
    ]
    return {
        "format": FORMAT,
        "results": entries,
        "counteranimal": {
            "release": {
                "id": f"{release.name}-{release.version}",
                "name": release.name,
                "version": release.version,
                "digest": release.digest,
                "photos": len(release.entries),
                "photos_evaluated": len(release.entries),
                "seed": release.manifest.get("seed"),
                "compared_before_with": [item["name"] for item in release.manifest["references"]],
            },
            "headline": _headlines(release, identities, results),
            "protocols": list(origin.protocols),
            "not_evaluated": _not_evaluated(origin.protocols, predictions),
            "names": origin.names,
            "templates": origin.templates,
            "label_space": origin.label_space,
            "tie_rule": TIE_RULE,
            "view": VIEW,
            "intervals": _INTERVALS,
            "random_numbers": "none: nothing here is drawn",
            "device": origin.device,
            "dtype": sorted({str(identity.get("dtype", "float32")) for identity in identities}),
            "versions": origin.versions,
        },
    }


def json_bytes(document: Mapping[str, Any]) -> bytes:
    """Return a document in its one spelling: UTF-8, keys sorted, two spaces, no NaN."""
    text = json.dumps(document, indent=2, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return (text + "\n").encode()


def _of(table: pa.Table, model: str, protocol: str) -> pa.Table:
    return table.filter(pc.and_(pc.equal(table.column("model"), model), pc.equal(table.column("protocol"), protocol)))


def _result(
    release: Release, identity: Mapping[str, Any], protocol: ProtocolName, *, predictions: pa.Table, results: pa.Table
) -> dict[str, Any]:
    spec = str(identity["spec"])
    kind, _, name = spec.partition(":")
    model, _, pretrained = name.rpartition("/") if kind == "open_clip" else (spec, "", "")
    judged = _of(predictions, spec, protocol)
    return {
        "dataset": f"{release.name}-{release.version}",
        "model": model,
        "pretrained": pretrained,
        "task": "zeroshot_classification" if identity.get("family") != "imagenet" else "classification",
        "metrics": _metrics(release, judged),
        "language": "en",
        "counteranimal": {
            "protocol": protocol,
            "identity": dict(identity),
            "n": len(judged),
            "tied": pc.sum(judged.column("tied")).as_py() or 0,
            "splits": {
                split: {
                    "mark": mark(identity, release.selectors.get(split)),
                    "selecting_family": (release.selectors.get(split) or {}).get("family"),
                    "headline_fold": headline_fold(rule),
                    "folds": _folds(_of(results, spec, protocol), split, rule),
                }
                for split, rule in sorted(rules_of(release).items())
            },
        },
    }


def _metrics(release: Release, judged: pa.Table) -> dict[str, float]:
    """Return what CLIP_benchmark reports, over every judged photo of the release, unweighted."""
    classes = dict(zip(release.entries["photo_id"].to_pylist(), release.entries["class_id"].to_pylist(), strict=True))
    correct, rank = judged.column("correct").to_pylist(), judged.column("rank").to_pylist()
    by_class: dict[str, list[bool]] = {}
    for photo_id, right in zip(judged.column("photo_id").to_pylist(), correct, strict=True):
        by_class.setdefault(classes[photo_id], []).append(right)
    return {
        "acc1": sum(correct) / len(correct),
        "acc5": sum(place is not None and place <= 5 for place in rank) / len(rank),
        "mean_per_class_recall": sum(sum(part) / len(part) for part in by_class.values()) / len(by_class),
    }


def _folds(results: pa.Table, split: str, rule: Mapping[str, Any]) -> dict[str, Any]:
    """Return fold -> figure -> value, low, high, n for the figures over all classes, the number of classes, and the worst group."""
    rows = results.filter(pc.equal(results.column("split"), split)).to_pylist()
    found: dict[str, Any] = {}
    for row in rows:
        fold = found.setdefault(row["fold"], {"classes": 0, "figures": {}})
        if row["class_id"] != ALL_CLASSES:
            fold["classes"] += row["figure"] == "drop"
            continue
        fold["figures"][row["figure"]] = {key: row[key] for key in ("value", "low", "high", "n", "n_effective")}
    for name, fold in found.items():
        fold["worst_group"] = worst_group([row for row in rows if row["fold"] == name], int(rule.get("n_min", 1)))
    return found


def _headlines(
    release: Release, identities: Sequence[Mapping[str, Any]], results: pa.Table
) -> dict[str, list[dict[str, Any]]]:
    """Return split -> macro drops on the headline fold at 1 vs 1000, models that took no part in the choice first."""
    found: dict[str, list[dict[str, Any]]] = {}
    for split, rule in sorted(rules_of(release).items()):
        rows = []
        for identity in identities:
            figures = _folds(_of(results, str(identity["spec"]), "1v1000"), split, rule)
            drop = figures.get(headline_fold(rule), {}).get("figures", {}).get("macro_drop")
            if drop is not None:
                stands = mark(identity, release.selectors.get(split))
                rows.append({"model": identity["spec"], "mark": stands, "fold": headline_fold(rule), **drop})
        found[split] = sorted(rows, key=lambda row: (row["mark"] != "", row["model"]))
    return found


def _not_evaluated(protocols: Sequence[str], predictions: pa.Table) -> dict[str, str]:
    present = set(pc.unique(predictions.column("protocol")).to_pylist())
    return {
        name: "the release lists no candidates for it" for name in protocols if name not in present and len(predictions)
    }
