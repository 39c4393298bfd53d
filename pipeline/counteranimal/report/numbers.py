"""The one source of every number that a report shows: a JSON document made from the context.

Decides what is counted and under which key. The page, the plots and the terminal read this document and nothing else, so they
cannot disagree with `report.json`.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from counteranimal.conservation import STATES
from counteranimal.report.caveats import caveats_of
from counteranimal.report.context import ReportContext
from counteranimal.report.marks import label_of
from counteranimal.report.outcomes import ALL_CLASSES, PROTOCOLS, headline, protocols_of

__all__ = ["FORMAT", "json_bytes", "report_numbers"]

FORMAT = "counteranimal-report/1"
COEFFICIENTS = ("alpha", "low", "high", "raw", "n_photos", "n_votes")
MERGED = ("dropped_id", "kept_id", "reason", "rule", "phash_distance", "dhash_distance", "pixel_difference")
IDENTITY = ("spec", "family", "architecture", "weights_sha256", "lineage", "activation", "note", "versions")


def report_numbers(context: ReportContext) -> dict[str, Any]:
    """Return the document behind a report: plain JSON values, no NaN.

    Keys: format, title, release, totals, flow, clusters, merged, merged_left_out, votes, agreement, backgrounds, classes, splits, headline (a JSON
    pointer to one model of `splits`, or null), training_overlap (null where it was not checked), models, asked (names, templates, label space),
    caveats. Fractions stay fractions; nothing is rounded.
    """
    splits = [_split(context, name) for name in _split_names(context)]
    backgrounds, classes = _counts(context)
    release = context.release
    document = {
        "format": FORMAT,
        "title": context.title,
        "release": release and {"name": release.name, "version": release.version, "digest": release.digest},
        "totals": _totals(context),
        "flow": _flow(context),
        "clusters": [{"reason": reason, "n": n} for reason, n in sorted(context.cluster_reasons.items())],
        "merged": [{key: getattr(pair, key) for key in MERGED} for pair in context.merged],
        "merged_left_out": [{"kind": kind, "n": n} for kind, n in context.merged_left_out.items()],
        "votes": [{"status": status, "n": n} for status, n in sorted(context.votes.items())],
        "agreement": _agreement(context),
        "backgrounds": backgrounds,
        "classes": classes,
        "splits": splits,
        "headline": headline(splits),
        "training_overlap": _overlap(context),
        "models": [_identity(model, record) for model, record in sorted(context.identities.items())],
        "asked": dict(context.asked),
        "caveats": caveats_of(context, splits),
    }
    return dict(_finite(document))


def json_bytes(document: Mapping[str, Any]) -> bytes:
    """Return the document as `report.json` holds it: UTF-8, two spaces, keys in order of meaning."""
    return (json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _finite(value: Any) -> Any:
    """Replace what JSON cannot say (NaN, infinities) by null, throughout."""
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def _totals(context: ReportContext) -> dict[str, int]:
    return {
        "candidates": context.conservation.discovered,
        "kept": context.conservation.states.get("stored", 0),
        "votes": sum(context.votes.values()),
        "verified": len(context.entries),
        "classes": len(set(context.entries.column("class_id").to_pylist())),
        "models": len(context.identities),
    }


def _flow(context: ReportContext) -> dict[str, Any]:
    counted = context.conservation
    reasons: list[dict[str, Any]] = []
    for key, n in sorted(counted.reasons.items()):
        state, _, reason = key.partition(" ")
        reasons.append({"state": state, "reason": reason, "n": n})
    reasons.sort(key=lambda item: (STATES.index(item["state"]) if item["state"] in STATES else 99, -item["n"]))
    return {
        "discovered": counted.discovered,
        "states": [{"state": state, "n": counted.states.get(state, 0)} for state in STATES],
        "reasons": reasons,
    }


def _agreement(context: ReportContext) -> dict[str, Any] | None:
    given = context.agreement
    if not given:
        return None
    per_class = given.get("per_class", {})
    return {
        "gate": given.get("gate"),
        "workers": len(given.get("workers", {})),
        "simulated": context.simulated_raters,
        "questions": [
            {"question": name, **{key: given[name].get(key) for key in COEFFICIENTS}}
            for name in ("background", "usable")
            if name in given
        ],
        "classes": [
            {
                "class_id": class_id,
                "name": context.class_names.get(class_id, class_id),
                **{key: figures.get(key) for key in COEFFICIENTS},
            }
            for class_id, figures in sorted(per_class.items())
        ],
    }


def _counts(context: ReportContext) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return verified photos by background, most first, and by class with one count for each of those backgrounds."""
    cells: Counter[tuple[str, str]] = Counter()
    for row in _grouped(context.entries, ["class_id", "background"]):
        cells[row["class_id"], row["background"]] += row["count_all"]
    by_background: Counter[str] = Counter()
    for (_, background), n in cells.items():
        by_background[background] += n
    order = sorted(by_background, key=lambda name: (-by_background[name], name))
    classes = [
        {
            "class_id": class_id,
            "name": context.class_names.get(class_id, class_id),
            "n": sum(n for (owner, _), n in cells.items() if owner == class_id),
            "by_background": [cells[class_id, background] for background in order],
        }
        for class_id in sorted({class_id for class_id, _ in cells})
    ]
    return [{"background": name, "n": by_background[name]} for name in order], classes


def _grouped(table: pa.Table, keys: list[str]) -> list[dict[str, Any]]:
    return list(table.select(keys).group_by(keys).aggregate([([], "count_all")]).to_pylist())


def _split_names(context: ReportContext) -> list[str]:
    names = {name: None for table in (context.pairs, context.results, context.splits) for name in _column(table)}
    return list(names)


def _column(table: pa.Table) -> list[str]:
    return list(table.column("split").to_pylist())


def _split(context: ReportContext, name: str) -> dict[str, Any]:
    pairs = [row for row in context.pairs.to_pylist() if row["split"] == name]
    for row in pairs:
        row["name"] = _pair_name(context, row["class_id"])
        del row["split"]
    selector = context.selectors.get(name, {})
    spec = str(selector.get("spec", ""))
    groups = [row for row in _grouped(context.splits, ["split", "group", "fold"]) if row["split"] == name]
    groups.sort(key=lambda row: (row["group"], row["fold"] or ""))
    return {
        "split": name,
        "unit": "pool" if any(row["class_id"] == ALL_CLASSES for row in pairs) else "class",
        "selector": spec,
        "selector_label": label_of(spec, selector) if spec else "",
        "pairs": sorted(pairs, key=lambda row: (row["status"] != "pair", row["name"])),
        "n_pairs": sum(row["status"] == "pair" for row in pairs),
        "n_without": sum(row["status"] != "pair" for row in pairs),
        "held_out": any(row["drop_report"] is not None for row in pairs),
        "n_confirmed": sum(bool(row["confirmed"]) for row in pairs),
        "groups": [{"group": row["group"], "fold": row["fold"], "n": row["count_all"]} for row in groups],
        "protocols": protocols_of(context, name),
        "balance": _balance(context.covariates.get(name)),
    }


def _balance(found: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return how a split's groups differ besides the background; None where too few photos were measured to say."""
    if not found or "differences" not in found:
        return None
    rows = [{"name": name.replace("_", " "), **ends} for name, ends in found["differences"].items()]
    return {key: found[key] for key in ("n", "without_measures", "drop", "drop_weighted", "remaining")} | {"rows": rows}


def _pair_name(context: ReportContext, class_id: str) -> str:
    return "all classes together" if class_id == ALL_CLASSES else context.class_names.get(class_id, class_id)


def _overlap(context: ReportContext) -> dict[str, Any] | None:
    """Return what an evaluation found in hash lists, with the names that the page shows; None where it was not checked."""
    found = context.training_overlap
    if not found:
        return None
    accuracy = [
        {
            **row,
            "label": label_of(row["model"], context.identities.get(row["model"], {})),
            "name": PROTOCOLS.get(row["protocol"], row["protocol"]),
        }
        for row in found["accuracy"]
    ]
    return {**found, "accuracy": accuracy}


def _identity(model: str, record: Mapping[str, Any]) -> dict[str, Any]:
    return {"model": model, "label": label_of(model, record), **{key: record.get(key) for key in IDENTITY}}
