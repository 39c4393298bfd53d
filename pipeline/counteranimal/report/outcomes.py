"""Turns the table `results` into what the page shows: split, protocol, fold, model, and then figures with n and interval.

Decides grouping and order (report fold first, 1 vs 1000 first, models by common accuracy). Leaves every estimate to `evaluate`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from counteranimal.models.lineage import mark
from counteranimal.report.context import ReportContext
from counteranimal.report.marks import label_of, sublabel_of

__all__ = ["FOLDS", "PROTOCOLS", "headline", "protocols_of"]

PROTOCOLS = {"1v1000": "1 vs 1000", "1v20": "1 vs 20", "custom": "own label space"}
FOLDS = {
    "report": "report fold: photos that took no part in choosing the backgrounds",
    "report_without_overlap": "report fold, without the photos that hash lists hold",
    "all": "all photos",
    "all_without_overlap": "all photos but those that hash lists hold",
    "select": "select fold: photos that chose the backgrounds",
}
ALL_CLASSES = "*"
ROBUSTNESS = "effective_robustness"
KINDS = {"accuracy_common": "common", "accuracy_counter": "counter", "drop": "drop"}

Row = Mapping[str, Any]
Figures = dict[str, dict[str, Any]]


def _figure(row: Row) -> dict[str, Any]:
    return {key: row[key] for key in ("value", "low", "high", "n", "n_effective")}


def _ordered(found: Iterable[str], known: Iterable[str]) -> list[str]:
    present = set(found)
    first = [name for name in known if name in present]
    return first + sorted(present - set(first))


def protocols_of(context: ReportContext, split: str) -> list[dict[str, Any]]:
    """Return the outcomes of one split, nested protocol -> fold -> models and classes."""
    rows = [row for row in context.results.to_pylist() if row["split"] == split]
    return [
        {
            "protocol": protocol,
            "name": PROTOCOLS.get(protocol, protocol),
            "folds": [
                _fold(
                    context,
                    (split, fold, protocol),
                    [r for r in rows if r["protocol"] == protocol and r["fold"] == fold],
                )
                for fold in _ordered((r["fold"] for r in rows if r["protocol"] == protocol), FOLDS)
            ],
        }
        for protocol in _ordered((row["protocol"] for row in rows), PROTOCOLS)
    ]


def _fold(context: ReportContext, key: tuple[str, str, str], rows: list[Row]) -> dict[str, Any]:
    split, fold, _ = key
    selector = context.selectors.get(split)
    by_model: dict[str, dict[tuple[str, str], Row]] = {}
    for row in rows:
        by_model.setdefault(row["model"], {})[row["class_id"], row["figure"]] = row
    models = []
    for model, figures in by_model.items():
        identity = context.identities.get(model, {"spec": model})
        models.append(
            {
                "model": model,
                "label": label_of(model, identity),
                "sublabel": sublabel_of(model, identity),
                "mark": mark(identity, selector),
                "macro": _of(figures, "macro"),
                "micro": _of(figures, "micro"),
                "worst": _worst(context, (*key, model)),
                "robustness": _figure(figures[ALL_CLASSES, ROBUSTNESS])
                if (ALL_CLASSES, ROBUSTNESS) in figures
                else None,
            }
        )
    models.sort(key=_by_common)
    order = [str(item["model"]) for item in models]
    return {
        "fold": fold,
        "name": FOLDS.get(fold, fold),
        "models": models,
        "line": _line(context, key, models),
        "classes": _classes(context, rows, {name: by_model[name] for name in order}),
    }


def _worst(context: ReportContext, key: tuple[str, str, str, str]) -> dict[str, Any] | None:
    found = context.worst_groups.get(key)
    if found is None:
        return None
    return {**found, "name": context.class_names.get(found["class_id"], found["class_id"])}


def _line(context: ReportContext, key: tuple[str, str, str], models: list[dict[str, Any]]) -> dict[str, Any] | None:
    """Return what drew the line of effective robustness, or why none is drawn; None where an evaluation does not say."""
    named = ("split", "fold", "protocol")
    found = next((item for item in context.lines if tuple(item[name] for name in named) == key), None)
    if found is None:
        return None
    known = {model["model"]: model for model in models}
    points = [
        {**point, "label": label_of(point["model"], context.identities.get(point["model"], {}))}
        | {"mark": known.get(point["model"], {"mark": ""})["mark"]}
        for point in found.get("points", ())
    ]
    return {name: value for name, value in found.items() if name not in named} | {"points": points}


def _by_common(model: dict[str, Any]) -> tuple[float, str]:
    common = model["macro"].get("common", {}).get("value")
    return (-common if common is not None else 1.0, model["model"])


def _of(figures: Mapping[tuple[str, str], Row], average: str) -> Figures:
    return {
        kind: _figure(figures[ALL_CLASSES, f"{average}_{name}"])
        for name, kind in KINDS.items()
        if (ALL_CLASSES, f"{average}_{name}") in figures
    }


def _classes(
    context: ReportContext, rows: list[Row], by_model: Mapping[str, Mapping[tuple[str, str], Row]]
) -> list[dict[str, Any]]:
    names = sorted({row["class_id"] for row in rows} - {ALL_CLASSES})
    return [
        {
            "class_id": class_id,
            "name": context.class_names.get(class_id, class_id),
            "models": [
                {"model": model, "drop": _figure(figures[class_id, "drop"])}
                if (class_id, "drop") in figures
                else {"model": model, "drop": None}
                for model, figures in by_model.items()
            ],
        }
        for class_id in names
    ]


def headline(splits: list[dict[str, Any]]) -> str | None:
    """Return the JSON pointer of the model that the opening sentence speaks of, or None where nothing was evaluated.

    It is the most accurate model that took no part in choosing the backgrounds, on the first split's first protocol and fold;
    only if every model took part is it one of those.
    """
    for number, split in enumerate(splits):
        for protocol in split["protocols"][:1]:
            for fold in protocol["folds"][:1]:
                complete = [i for i, model in enumerate(fold["models"]) if model["macro"].keys() >= set(KINDS.values())]
                apart = [i for i in complete if not fold["models"][i]["mark"]]
                if complete:
                    return f"/splits/{number}/protocols/0/folds/0/models/{(apart or complete)[0]}"
    return None
