"""What the verbs of a round print for people: plan, pages, answers, progress, agreement.

Decides words and tables alone; every figure comes from `steps`, and `--json` prints them as they are.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from counteranimal.cli.common import as_text

__all__ = ["agreement_text", "closed_text", "plan_text", "pull_text", "push_text", "status_text"]

Figures = Mapping[str, Any]

# What a pull counts beside answers, in the words of docs/how-to/run-a-round.md.
_REPORTED = {
    "missing": "answers on record are no longer on the server; they still count",
    "missing_tasks": "tasks were deleted on the server",
    "missing_projects": "projects were deleted on the server",
    "foreign": "tasks were imported by somebody else; they bring no votes",
    "changed_pages": "projects show another page than the planned one",
    "shared_accounts": "accounts answered in more than one person's project; ask who it was",
}


def plan_text(counts: Figures) -> str:
    """Return what was drawn, who sees how much, what a plan for a drop still lacks, and the next command."""
    people = ", ".join(f"{name} {number}" for name, number in counts["workers"].items())
    gold = f"{counts['gold']} gold items beside them" if counts["gold"] else "no gold items"
    before = " (planned before, unchanged)" if counts["already"] else ""
    parts: list[Table | str] = [
        f"round {counts['round']}{before}: {counts['photos']} photos, {counts['votes_per_photo']} votes each",
        f"  votes {counts['votes']}: {counts['blind']} blind, {counts['shown']} with the machine's proposal shown; {gold}",
        f"  shares {people}; the longest takes about {counts['hours']} hours",
        f"  drawn from the seed {counts['seed']!r}; page {counts['page']}",
    ]
    if needed := counts.get("needed"):
        columns = ("class", "fullest backgrounds", "wanted in each group and fold", "fewest held", "missing")
        rows = [
            (name, " and ".join(item["backgrounds"]) or "-", item["wanted"], item["have"], item["missing"])
            for name, item in needed.items()
        ]
        parts += ["", _table(columns, rows, words=2)]
    return as_text(*parts, "", f"next: counteranimal annotate push --round {counts['round']}")


def push_text(counts: Figures) -> str:
    """Return what was made, and each person's address."""
    if not counts.get("pages"):
        return f"round {counts['round']}: nothing to settle, every photo with all its votes has a majority"
    made = f"round {counts['round']}: {counts['projects']} projects and {counts['tasks']} tasks made"
    there = {
        "found on the server": counts["found"],
        "known before": counts["known"],
        "with new links": counts["relinked"],
    }
    told = [f"{number} {what}" for what, number in there.items() if number]
    if counts["left_out"]:
        told.append(f"{counts['left_out']} left out, their photos are withdrawn or no longer kept")
    # Lines and no table: an address must stay whole however long it is.
    return "\n".join([", ".join([made, *told]), *(f"  {worker}: {page}" for worker, page in counts["pages"].items())])


def pull_text(counts: Figures) -> str:
    """Return how many answers came, what they are, and what else was found on the server."""
    if "counted" not in counts:  # recorded labellings
        keys = ("photos", "votes", "new", "edited", "known", "not_kept")
        figures = ", ".join(f"{key.replace('_', ' ')} {counts[key]}" for key in keys)
        return f"round {counts['round']}: {figures}; labellers {', '.join(counts['workers'])}"
    held = ", ".join(
        f"{name.replace('_', ' ')} {counts[name]}" for name in ("counted", "skipped", "draft", "set_aside")
    )
    lines = [
        f"round {counts['round']}: {counts['new']} new answers, {counts['edited']} corrected, {counts['known']} known before",
        f"  on the server now: {held}",
    ]
    lines += [f"  {counts[key]} {words}" for key, words in _REPORTED.items() if counts[key]]
    return "\n".join(lines)


def status_text(rounds: Figures) -> str:
    """Return a row for each person of each round."""
    columns = ("round", "", "photos", "person", "tasks", "accepted", "rejected", "skipped", "pending")
    rows = [
        (name, "closed" if item["closed"] else "open", item["photos"], worker, *_progress(counts))
        for name, item in rounds.items()
        for worker, counts in item["workers"].items()
    ]
    return as_text(_table(columns, rows, words=2))


def closed_text(counts: Figures) -> str:
    """Return that the round has ended, and what stays open."""
    again = "was closed before" if counts["already"] else "is closed"
    lines = [f"round {counts['round']} {again}; {counts['pending']} tasks stay without an answer"]
    lines += [f"  {worker} {own['pending']}" for worker, own in counts["workers"].items() if own["pending"]]
    return "\n".join(lines)


def agreement_text(found: Figures) -> str:
    """Return the gate, then tables: coefficients with intervals, cleaning codes, annotators, pairs of them."""
    shown = found["proposals"]
    return as_text(
        f"gate: {found['gate']}, {found['why']} (rounds {', '.join(found['rounds']) or 'none'})",
        "",
        _coefficients(found),
        "",
        *_codes(found["codes"]),
        _annotators(found["workers"]),
        "",
        *_pairs(found["pairs"]),
        f"proposals shown {shown['shown']}, taken {shown['accepted']}",
        "Intervals are 95 % bootstrap intervals over photos; - is undefined.",
        "What each figure is for: docs/how-to/run-a-round.md",
    )


def _coefficients(found: Figures) -> Table:
    columns = ("question", "coefficient", "", "95 %", "raw", "95 %", "photos", "votes")
    asked = {"background": found["background"], "usable": found["usable"]}
    asked |= {f"background, {name}": item for name, item in found["per_class"].items()}
    rows = [
        (
            name, "alpha", _number(item["alpha"]), _interval(item["low"], item["high"]),
            _number(item["raw"]), _interval(item["raw_low"], item["raw_high"]), item["n_photos"], item["n_votes"],
        )
        for name, item in asked.items()
    ]  # fmt: skip
    fleiss = found["fleiss"]
    votes = fleiss["n_photos"] * fleiss["votes_each"]
    kappa = _number(fleiss["kappa"]), _interval(fleiss["low"], fleiss["high"])
    rows.insert(1, ("background", "Fleiss' kappa", *kappa, "", "", fleiss["n_photos"], votes))
    return _table(columns, rows, words=2)


def _codes(codes: Figures) -> list[Table | str]:
    columns = ("code", "positive agreement", "95 %", "alpha", "raw", "ticked", "photos")
    rows = [
        (
            name, _number(item["positive"]), _interval(item["low"], item["high"]), _number(item["alpha"]),
            _number(item["raw"]), item["n_yes"], item["n_photos"],
        )
        for name, item in codes.items()
    ]  # fmt: skip
    return [_table(columns, rows), ""] if rows else []


def _annotators(workers: Figures) -> Table:
    columns = ("person", "votes", "set aside", "with others", "seconds", "longest run", "gold", "most common answer")
    rows = []
    for name, item in workers.items():
        common, gold = item["most_common"], item["gold"]
        rows.append(
            (
                name, item["n_votes"], item["set_aside"], _number(item["raw"]), _number(item["seconds"], 1),
                item["longest_run"], f"{gold['right']} of {gold['answered']}" if gold else "-",
                f"{common['background']} {100 * common['share']:.0f} %",
            )
        )  # fmt: skip
    return _table(columns, rows)


def _pairs(pairs: Sequence[Figures]) -> list[Table | str]:
    columns = ("two people", "Cohen's kappa", "95 %", "photos", "known", "both wrong", "by chance", "same error")
    rows = []
    for item in pairs:
        errors = item["errors"]
        rows.append(
            (
                " and ".join(item["workers"]), _number(item["kappa"]), _interval(item["low"], item["high"]), item["n"],
                errors["n"], errors["both_wrong"], _number(errors["expected"], 1), errors["same_wrong"],
            )
        )  # fmt: skip
    return [_table(columns, rows), ""] if rows else []


def _progress(counts: Mapping[str, int]) -> list[int]:
    return [counts[name] for name in ("tasks", "accepted", "rejected", "skipped", "pending")]


def _table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, words: int = 1) -> Table:
    """Return a table whose first `words` columns are read and whose others are compared, so stand right."""
    table = Table(box=None, pad_edge=False)
    for place, name in enumerate(columns):
        # A long word is broken rather than lost; figures and addresses are never broken.
        table.add_column(name, justify="left" if place < words else "right", overflow="fold", no_wrap=place >= 1)
    for row in rows:
        table.add_row(*map(str, row))
    return table


def _number(value: float | None, places: int = 3) -> str:
    return "-" if value is None else f"{value:.{places}f}"


def _interval(low: float | None, high: float | None) -> str:
    return "-" if low is None or high is None else f"{low:.3f} to {high:.3f}"
