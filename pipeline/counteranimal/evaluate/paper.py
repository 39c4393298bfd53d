"""The figures that the paper printed, and how a run on the imported original stands beside them.

Decides how far from the paper a figure may lie. The tables themselves are data (data_manifest/paper).
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from counteranimal.errors import UsageError
from counteranimal.evaluate.results import ALL_CLASSES
from counteranimal.resources import resource

__all__ = ["BANDS", "compare_with_paper", "paper_models", "printed_models"]

BANDS = {"1v1000": 0.3, "1v20": 1.0}
"""Percentage points by which a group's macro accuracy may differ from the paper's: what an independent reproduction reached
for 12 of 15 CLIP checkpoints; the paper's lists of 20 are not published, hence the wider band."""


def compare_with_paper(results: pa.Table, splits: Sequence[str]) -> list[dict[str, Any]]:
    """Return macro accuracies beside those of the paper's tables 3, 4, 13 and 14, in percent.

    Parameters
    ----------
    results : pa.Table
        Table `results`.
    splits : sequence of str
        Splits made by the paper's rule; no other is comparable.

    Returns
    -------
    list of dict
        One row a split, model, protocol and group: `table`, `ours`, `paper`, `difference`, `band` and whether it is `within`.

    Raises
    ------
    UsageError
        If no split is the paper's, or none of the models is in its tables.
    """
    if not splits:
        raise UsageError(
            "no split here is made by the paper's rule; evaluate the imported original to compare with the paper"
        )
    printed = {(row["model"], row["protocol"]): row for row in _printed()}
    rows = []
    for row in results.to_pylist():
        stated = printed.get((row["model"].removesuffix("/IMAGENET1K_V1"), row["protocol"]))
        group = row["figure"].removeprefix("macro_accuracy_")
        if stated is None or row["class_id"] != ALL_CLASSES or row["split"] not in splits or row["fold"] != "all":
            continue
        if group in {"common", "counter"}:
            ours, paper, band = 100.0 * row["value"], float(stated[group]), BANDS[row["protocol"]]
            rows.append(
                {name: row[name] for name in ("split", "model", "protocol")}
                | {"table": int(stated["table"]), "group": group, "ours": ours, "paper": paper}
                # Printed figures have two places, so a difference of the band itself must not fail by floating point.
                | {"difference": ours - paper, "band": band, "within": abs(ours - paper) <= band + 1e-9}
            )
    if not rows:
        raise UsageError("none of these models is in the paper's tables; data_manifest/paper/macro.csv lists them")
    return rows


def paper_models() -> list[str]:
    """Return the specs of the paper's 43 models, in the order of its tables 3 and 4."""
    return [row["model"] for row in _printed() if row["protocol"] == "1v1000"]


def printed_models(kind: str, protocol: str = "1v1000") -> dict[str, tuple[float, float]]:
    """Return spec -> printed macro accuracies on common and counter, as fractions, of the models whose spec begins with `kind`."""
    return {
        row["model"]: (float(row["common"]) / 100.0, float(row["counter"]) / 100.0)
        for row in _printed()
        if row["protocol"] == protocol and row["model"].startswith(kind)
    }


def _printed() -> Iterator[dict[str, str]]:
    with resource("data_manifest/paper/macro.csv").open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)
