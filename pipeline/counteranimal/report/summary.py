"""The table that a run ends with on the terminal: what came in, what was kept and why not, what people said, what models did.

Decides which figures a newcomer sees first. Reads the same document as the page, so the two cannot differ.
"""

from __future__ import annotations

from collections.abc import Iterator
from io import StringIO
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from counteranimal.report.context import ReportContext
from counteranimal.report.formats import number_text
from counteranimal.report.marks import MARKS
from counteranimal.report.numbers import report_numbers

__all__ = ["summary_table", "summary_text"]

CAVEATS_SHOWN = 8


def summary_table(context: ReportContext) -> RenderableType:
    """Return the summary for a terminal: the flow of photos, the groups, and one line a model."""
    numbers = report_numbers(context)
    return Group(_flow(numbers), *_models(numbers), *_caveats(numbers))


def summary_text(context: ReportContext, *, width: int = 80) -> str:
    """Return the same as plain text, without colour, for logs and files."""
    sink = StringIO()
    Console(file=sink, width=width, color_system=None, legacy_windows=False).print(summary_table(context))
    return "\n".join(line.rstrip() for line in sink.getvalue().splitlines()) + "\n"


def _flow(numbers: dict[str, Any]) -> Table:
    table = Table(title=numbers["title"], title_justify="left", title_style="bold", show_header=False, box=None)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", style="bold")
    table.add_column(style="dim")
    for label, value, note in _flow_rows(numbers):
        table.add_row(label, value, note)
    return table


def _flow_rows(numbers: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    totals, flow = numbers["totals"], numbers["flow"]
    yield "candidates", number_text(totals["candidates"], "count"), ""
    for item in flow["states"]:
        if item["n"]:
            name = "kept" if item["state"] == "stored" else item["state"]
            reasons = [
                f"{reason['reason']} {number_text(reason['n'], 'count')}"
                for reason in flow["reasons"]
                if reason["state"] == item["state"]
            ]
            yield f"  {name}", number_text(item["n"], "count"), ", ".join(reasons)
    raters = "by simulated raters" if (numbers["agreement"] or {}).get("simulated") else ""
    yield "votes", number_text(totals["votes"], "count"), raters
    yield from _agreement_rows(numbers["agreement"])
    yield "verified photos", number_text(totals["verified"], "count"), f"{totals['classes']} classes"
    for split in numbers["splits"]:
        yield from _group_rows(split)


def _agreement_rows(agreement: dict[str, Any] | None) -> Iterator[tuple[str, str, str]]:
    for item in (agreement or {"questions": []})["questions"][:1]:
        low, high = number_text(item["low"], "coefficient"), number_text(item["high"], "coefficient")
        note = f"{low} to {high}, {number_text(item['n_photos'], 'count')} photos"
        yield f"alpha ({item['question']})", number_text(item["alpha"], "coefficient"), note


def _group_rows(split: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    for group in ("common", "counter"):
        count = sum(item["n"] for item in split["groups"] if item["group"] == group)
        pooled = [pair[group] for pair in split["pairs"] if pair["class_id"] == "*" and pair["status"] == "pair"]
        note = ", ".join(pooled) or f"{split['n_pairs']} of {len(split['pairs'])} classes have a pair"
        yield f"{group} group", number_text(count, "count"), f"{note}; split {split['split']}"


def _models(numbers: dict[str, Any]) -> Iterator[RenderableType]:
    """Yield the first protocol and fold of every split, which is where its headline stands."""
    for split in numbers["splits"]:
        for protocol in split["protocols"][:1]:
            for fold in protocol["folds"][:1]:
                yield Text()
                yield _model_table(f"{split['split']}: {protocol['name']}, {fold['fold']} fold", fold["models"])
                yield from _signs(fold["models"])
    if not any(split["protocols"] for split in numbers["splits"]):
        yield Text("\nNo model has been evaluated yet.")


def _model_table(title: str, models: list[dict[str, Any]]) -> Table:
    table = Table(title=title, caption="95 % intervals; drop in percentage points", box=None, header_style="dim")
    table.title_justify = table.caption_justify = "left"
    table.title_style, table.caption_style = "bold", "dim"
    table.add_column("model", no_wrap=True)
    for name in ("common", "counter", "drop"):
        table.add_column(name, justify="right", no_wrap=True)
    for model in models:
        sign = MARKS[model["mark"]][0] if model["mark"] else " "
        table.add_row(
            f"{sign} {model['label']}",
            *(_cell(model["macro"].get(kind), kind) for kind in ("common", "counter", "drop")),
        )
    return table


def _cell(figure: dict[str, Any] | None, kind: str) -> Text:
    """Return a figure, its interval and its n on two lines, so that the table fits eighty columns."""
    if figure is None:
        return Text("–")
    style, bare = ("points", "points") if kind == "drop" else ("percent", "bare")
    text = Text(number_text(figure["value"], style), style="bold")
    interval = f"{number_text(figure['low'], bare)} to {number_text(figure['high'], bare)}"
    return text.append(f" n {number_text(figure['n'], 'count')}\n{interval}", style="not bold dim")


def _signs(models: list[dict[str, Any]]) -> Iterator[Text]:
    for mark in sorted({model["mark"] for model in models} - {""}, reverse=True):
        yield Text(f"{MARKS[mark][0]} {MARKS[mark][1]}", style="dim")


def _caveats(numbers: dict[str, Any]) -> Iterator[Text]:
    if numbers["caveats"]:
        yield Text("\nBefore you believe a number", style="bold")
    for sentence in numbers["caveats"][:CAVEATS_SHOWN]:
        yield Text(f"· {sentence}", style="dim")
