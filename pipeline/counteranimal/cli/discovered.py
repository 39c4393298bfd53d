"""The table of what discovery says of each class, as the terminal shows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

__all__ = ["discovery_text"]

_COLUMNS = (
    "class",
    "common > counter",
    "n select",
    "n report",
    "common %",
    "counter %",
    "drop [95 %]",
    "naive drop",
    "stamps",
)
_WIDTH = 200  # wide enough that no cell is broken; a terminal folds lines itself


def discovery_text(splits: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Return one table a split: pair, photos a fold, accuracies and drop where the pair took no part, the naive drop, stamps.

    A class without a pair keeps its row, with the reason.
    """
    console = Console(width=_WIDTH, color_system=None, force_terminal=False)
    with console.capture() as caught:
        for name, rows in splits.items():
            table = Table(*_COLUMNS, title=f"split {name}", title_justify="left", box=None, pad_edge=False)
            reasons = []
            for row in rows:
                table.add_row(*_cells(row))
                reasons += [f"  {row['class_id']}: no pair; {row['reason']}"] if row["status"] != "pair" else []
            console.print(table)
            for reason in reasons:
                console.print(reason, soft_wrap=True, markup=False, highlight=False)
    return caught.get().rstrip()


def _cells(row: Mapping[str, Any]) -> list[str]:
    folds, naive = row["folds"], row["naive"]
    own = "all classes" if row["class_id"] == "*" else row["class_id"]
    naive_text = f"{_drop(naive)} {naive['common']} > {naive['counter']}" if naive else "-"
    if row["status"] != "pair":
        return [own, "no pair", "-", "-", "-", "-", "-", naive_text, ""]
    select, estimate = folds.get("select"), folds.get("report") or folds.get("all")
    stamps = [name for name in ("confirmed", "unstable") if row[name]]
    return [
        own,
        f"{row['common']} > {row['counter']}",
        _counts(select),
        _counts(estimate),
        *(
            [f"{100 * estimate[side]:.1f}" for side in ("accuracy_common", "accuracy_counter")]
            if estimate
            else ["-", "-"]
        ),
        _drop(estimate),
        naive_text,
        ", ".join(stamps),
    ]


def _counts(fold: Mapping[str, Any] | None) -> str:
    return f"{fold['n_common']} + {fold['n_counter']}" if fold else "-"


def _drop(fold: Mapping[str, Any] | None) -> str:
    return f"{100 * fold['drop']:.1f} [{100 * fold['low']:.1f}, {100 * fold['high']:.1f}]" if fold else "-"
