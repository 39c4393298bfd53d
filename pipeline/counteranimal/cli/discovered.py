"""The table of what discovery says of each class, as the terminal shows it."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from counteranimal.cli.common import as_text

__all__ = ["discovery_text"]

_COLUMNS = ("class", "common > counter", "n select", "n report", "accuracy %", "drop [95 %]", "naive drop [95 %]", "")
_WIDTH = 118  # longer names are folded inside their cell
_LEGEND = (
    "n: common+counter photos. accuracy, drop: on the photos that estimate. naive: chosen and estimated on all photos. "
    "C confirmed, U unstable."
)


def discovery_text(splits: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Return one table a split: pair, photos a fold, accuracies and drop where the pair took no part, the naive drop, stamps.

    A class without a pair keeps its row, and its reason follows the table. At most 118 columns wide, but for reasons.
    """
    parts: list[Table | str] = []
    for name, rows in splits.items():
        table = Table(*_COLUMNS, title=f"split {name}", title_justify="left", box=None, pad_edge=False)
        for row in rows:
            table.add_row(*_cells(row))
        parts += [table, *textwrap.wrap(_LEGEND, _WIDTH), *(line for row in rows for line in _remarks(row))]
    return as_text(*parts)


def _cells(row: Mapping[str, Any]) -> list[str]:
    folds, naive = row["folds"], row["naive"]
    if row["status"] != "pair":
        return [_class(row), "no pair", "-", "-", "-", "-", _drop(naive), ""]
    select, estimate = folds.get("select"), folds.get("report") or folds.get("all")
    return [
        _class(row),
        f"{row['common']} > {row['counter']}",
        _counts(select),
        _counts(estimate),
        f"{100 * estimate['accuracy_common']:.1f} > {100 * estimate['accuracy_counter']:.1f}" if estimate else "-",
        _drop(estimate),
        _drop(naive),
        " ".join(sign for sign, holds in (("C", row["confirmed"]), ("U", row["unstable"])) if holds),
    ]


def _remarks(row: Mapping[str, Any]) -> list[str]:
    naive, told = row["naive"], []
    if row["status"] != "pair":
        told.append(f"  {_class(row)}: no pair; {row['reason']}")
    if naive and (naive["common"], naive["counter"]) != (row["common"], row["counter"]):
        told.append(f"  {_class(row)}: all photos together would choose {naive['common']} > {naive['counter']}")
    return told


def _class(row: Mapping[str, Any]) -> str:
    return "all classes" if row["class_id"] == "*" else str(row["class_id"])


def _counts(fold: Mapping[str, Any] | None) -> str:
    return f"{fold['n_common']}+{fold['n_counter']}" if fold else "-"


def _drop(fold: Mapping[str, Any] | None) -> str:
    return f"{100 * fold['drop']:.1f} [{100 * fold['low']:.1f}, {100 * fold['high']:.1f}]" if fold else "-"
