"""Writes what an evaluation alone can show: leaderboard.html, its numbers as leaderboard.json, and a Markdown table.

Decides which part of a report needs no workspace. Numbers, plots and tables are those of the report's own modules.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from counteranimal.report.context import ReportContext
from counteranimal.report.formats import DASH, number_text
from counteranimal.report.marks import MARKS
from counteranimal.report.numbers import json_bytes, report_numbers
from counteranimal.report.page import environment, outcome_plots, shared_words
from counteranimal.workspace import write_atomically

__all__ = ["PAGE", "leaderboard_table", "write_leaderboard"]

PAGE = "leaderboard.html"
_PARTS = ("format", "title", "release", "splits", "headline", "training_overlap", "models", "asked", "caveats")
_COLUMNS = (
    "model", "common", "counter", "drop (macro)", "drop (micro)", "worst group", "effective robustness", "n"
)  # fmt: skip


def write_leaderboard(out: Path, *, context: ReportContext) -> Path:
    """Write the page, its numbers and the table into the folder of an evaluation, and return the page.

    Raises
    ------
    EnvironmentFailure
        If the folder cannot be written or the disk is full.
    """
    whole = report_numbers(replace(context, caveats=()))
    # The release's own caveats stand apart: many say in other words what follows from the data.
    numbers = {name: whole[name] for name in _PARTS} | {"stated": list(context.caveats), "citation": context.citation}
    space = context.asked.get("label_space")
    numbers["labels"] = len(space["labels"]) if space else None
    shared = shared_words(numbers) | {"plots": outcome_plots(numbers)}
    page = environment().get_template(f"{PAGE}.j2").render(shared)
    write_atomically(out / PAGE, page.encode())
    write_atomically(out / "leaderboard.json", json_bytes(numbers))
    write_atomically(out / "leaderboard.md", leaderboard_table(numbers).encode())
    return out / PAGE


def leaderboard_table(numbers: Mapping[str, Any]) -> str:
    """Return each split and protocol's first fold, which is the headline's, as Markdown with an interval beside every figure."""
    lines: list[str] = []
    for split in numbers["splits"]:
        for protocol in split["protocols"]:
            fold = protocol["folds"][0]
            lines += [f"{split['split']}, {protocol['name']}, {fold['fold']} fold", ""]
            lines += [f"| {' | '.join(_COLUMNS)} |", f"|---|{'--:|' * (len(_COLUMNS) - 1)}"]
            lines += [f"| {' | '.join(_row(model))} |" for model in fold["models"]]
            lines += ["", *_notes(fold), ""]
    return "\n".join(lines) or "No class has a pair of backgrounds, so there is no table.\n"


def _row(model: Mapping[str, Any]) -> Iterator[str]:
    macro, worst = model["macro"], model["worst"]
    yield f"{MARKS[model['mark']][0] if model['mark'] else ''} {model['label'].replace('|', '/')}".strip()
    yield _cell(macro.get("common"), "bare")
    yield _cell(macro.get("counter"), "bare")
    yield _cell(macro.get("drop"), "points")
    yield _cell(model["micro"].get("drop"), "points")
    yield f"{worst['name']}, {worst['group']}: {_cell(worst, 'bare')}, n {worst['n']}" if worst else DASH
    yield _cell(model["robustness"], "points")
    yield number_text(macro["drop"]["n"] if "drop" in macro else None, "count")


def _cell(figure: Mapping[str, Any] | None, style: str) -> str:
    if figure is None:
        return DASH
    return f"{number_text(figure['value'], style)} [{number_text(figure['low'], style)}, {number_text(figure['high'], style)}]"


def _notes(fold: Mapping[str, Any]) -> Iterator[str]:
    marks = sorted({model["mark"] for model in fold["models"]} - {""}, reverse=True)
    signs = "".join(f" {MARKS[mark][0]} {MARKS[mark][1]}." for mark in marks)
    yield f"Accuracies in %, drops and effective robustness in percentage points, 95 % intervals in brackets.{signs}"
    line = fold["line"]
    if line and line["status"] != "line":
        yield f"Effective robustness: not enough models ({line['why']})."
