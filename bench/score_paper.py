"""Holds the CounterAnimal paper's printed tables against one another: `python bench/score_paper.py [FOLDER]`.

Decides by rules alone, from printed accuracies, drops and counts; the notes that travel with the tables are not read. A finding
names its rule, place, what is printed and what would fit. Needs the shared folder of paper tables; exits 4 without it.
"""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from bench.measure import Figure

__all__ = ["KNOWN", "RULES", "Finding", "Tables", "check", "check_copies", "macro_means", "read_tables", "repaired"]

KNOWN = 14  # inconsistencies that people found in these tables by hand; the count alone is compared
DEFAULT = Path(__file__).resolve().parents[2] / "shared" / "paper_tables"
SIDES = ("common", "counter")
RULES = {
    "count": "no accuracy of any model in a group is k/n for the printed count n",
    "fraction": "one accuracy is k/n for no whole k, though the other models' are",
    "drop": "the printed drop is not common minus counter",
    "figure": "the figure's drop of the selecting model is not the class table's",
    "macro": "the mean over classes is not the average that another table prints",
    "copied": "a row of one protocol repeats, digit for digit, the row of another",
}
# Rounding: half a unit of each printed figure; macro means agree to 0.06 where nothing is wrong (the paper's own slack).
_DROP, _FIGURE, _MACRO = 0.0101, 0.0601, 0.06
_SETTINGS = {
    "table 9": "clip_other_checkpoints_1v1000_table9.csv",
    "table 10": "clip_1v1000_openai80prompts_table10.csv",
    "table 11": "clip_1v1000_unbalanced_table11.csv",
    "table 12": "imagenet_1v1000_unbalanced_table12.csv",
    "table 13": "clip_1v20_table13.csv",
    "table 14": "imagenet_1v20_table14.csv",
    "table 3": "clip_1v1000_table3.csv",
    "table 4": "imagenet_1v1000_table4.csv",
    "table 5": "lvlm_1v20_table5.csv",
}
# What the heading of each table promises; rows may repeat only between tables of one promise.
_PROMISES = {"table 3": "1 vs 1000", "table 5": "1 vs 20", "table 10": "80 templates", "table 13": "1 vs 20"}


@dataclass(frozen=True, slots=True)
class Finding:
    """One inconsistency: which rule found it, where, what is printed, and what would fit (None where nothing tells)."""

    rule: str
    place: str
    printed: str
    fits: str | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """A printed row: accuracies and drop in percent."""

    model: str
    common: float
    counter: float
    drop: float


@dataclass(slots=True)
class Tables:
    """The printed tables: `classwise` model -> class -> row, `counts` class -> (common, counter), `figure` class -> drop."""

    classwise: dict[str, dict[int, Row]] = field(default_factory=dict)
    counts: dict[int, dict[str, int]] = field(default_factory=dict)
    figure: dict[int, float] = field(default_factory=dict)
    settings: dict[str, list[Row]] = field(default_factory=dict)


def read_tables(folder: Path) -> Tables:
    """Read the printed figures; columns with notes and implied counts are left alone."""
    read = Tables()
    for row in _rows(folder / "classes.csv"):
        key = int(row["paper_class_id"])
        read.counts[key] = {side: int(row[f"n_{side}_fig3"]) for side in SIDES}
        read.figure[key] = float(row["drop_pp_fig4_clip_laion400m_vitb32"])
    for row in _rows(folder / "classwise_1v1000_tables15_16.csv"):
        read.classwise.setdefault(row["model"], {})[int(row["paper_class_id"])] = _row(row["model"], row)
    for name, file in _SETTINGS.items():
        read.settings[name] = [_row(_model_of(row), row) for row in _rows(folder / file)]
    return read


def _rows(path: Path) -> Iterator[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def _row(model: str, row: dict[str, str]) -> Row:
    return Row(model, float(row["common_acc"]), float(row["counter_acc"]), float(row["drop_as_printed"]))


def _model_of(row: dict[str, str]) -> str:
    if "model" in row:
        return row["model"]
    return f"CLIP-{row['pretrain_data']}-{row['backbone']}" if "pretrain_data" in row else row["backbone"]


def check(read: Tables) -> list[Finding]:
    """Return every finding of every rule, and repair nothing in `read`."""
    counts, wrong_counts = _check_counts(read)
    fractions = list(_check_fractions(read, counts))
    return [
        *wrong_counts,
        *fractions,
        *_check_drops(read),
        *_check_figure(read),
        *_check_macro(read),
        *check_copies(read.settings),
    ]


def _fits(accuracy: float, n: int) -> bool:
    """Say whether a percentage with two decimals is k/n, rounded, for some whole k."""
    k = round(accuracy * n / 100)
    return 0 <= k <= n and abs(100 * k / n - accuracy) <= 0.00501


def _check_counts(read: Tables) -> tuple[dict[int, dict[str, int]], list[Finding]]:
    counts = {key: dict(sides) for key, sides in read.counts.items()}
    findings = []
    for key, sides in read.counts.items():
        for side, n in sides.items():
            printed = [getattr(rows[key], side) for rows in read.classwise.values()]
            if any(_fits(accuracy, n) for accuracy in printed):
                continue
            found = next((m for m in range(1, 1000) if all(_fits(accuracy, m) for accuracy in printed)), None)
            if found is not None:
                counts[key][side] = found
            totals = [sum(each[key][name] for key in each for name in SIDES) for each in (read.counts, counts)]
            fits = None if found is None else f"{found}; all photos {totals[1]:,} instead of {totals[0]:,}"
            findings.append(Finding("count", f"figure 3, class {key}, {side}", str(n), fits))
    return counts, findings


def _check_fractions(read: Tables, counts: dict[int, dict[str, int]]) -> Iterator[Finding]:
    for model, rows in read.classwise.items():
        for key, row in rows.items():
            for side in SIDES:
                accuracy, n = getattr(row, side), counts[key][side]
                if not _fits(accuracy, n):
                    other = row.common - row.drop if side == "counter" else row.counter + row.drop
                    place = f"tables 15-16, {model}, class {key}, {side}"
                    fits = f"{other:.2f}" if _fits(round(other, 2), n) else _misprint(accuracy, n)
                    yield Finding("fraction", place, f"{accuracy:.2f} of {n}", fits)


def _misprint(accuracy: float, n: int) -> str | None:
    """Return the only k/n that differs from the printed figure in one digit, if there is just one."""
    text = f"{accuracy:.2f}"
    close = [
        f"{100 * k / n:.2f}"
        for k in range(n + 1)
        if len(f"{100 * k / n:.2f}") == len(text)
        and sum(a != b for a, b in zip(f"{100 * k / n:.2f}", text, strict=True)) == 1
    ]
    return close[0] if len(close) == 1 else None


def _all_rows(read: Tables) -> Iterator[tuple[str, Row, int | None]]:
    for model, rows in read.classwise.items():
        for key, row in rows.items():
            yield f"tables 15-16, {model}, class {key}", row, key
    for name, settings in read.settings.items():
        for row in settings:
            yield f"{name}, {row.model}", row, None


def _check_drops(read: Tables) -> Iterator[Finding]:
    for place, row, key in _all_rows(read):
        difference = row.common - row.counter
        if abs(difference - row.drop) > _DROP:
            fits = f"{difference:.2f}"
            if key is not None:
                repaired = [
                    f"{side} {value:.2f}" for side, value in _by_drop(row) if _fits(value, _count(read, key, side))
                ]
                fits += "".join(f", or {item}" for item in repaired)
            yield Finding("drop", place, f"{row.drop:.2f}", fits)


def _by_drop(row: Row) -> Iterable[tuple[str, float]]:
    return (("common", round(row.counter + row.drop, 2)), ("counter", round(row.common - row.drop, 2)))


def _count(read: Tables, key: int, side: str) -> int:
    return read.counts[key][side]


def _check_figure(read: Tables) -> Iterator[Finding]:
    """The figure belongs to the one model whose class drops it shows; which one that is, the drops tell."""
    off = {
        model: [key for key, row in rows.items() if abs(row.drop - read.figure[key]) > _FIGURE]
        for model, rows in read.classwise.items()
    }
    model = min(off, key=lambda name: len(off[name]))
    for key in off[model]:
        printed = read.classwise[model][key].drop
        yield Finding(
            "figure", f"figure 4 against tables 15-16, {model}, class {key}", f"{read.figure[key]}", f"{printed}"
        )


def macro_means(read: Tables) -> dict[str, tuple[Row, Row]]:
    """Return model -> (means over its classes as printed, table 3's row)."""
    table3 = {row.model: row for row in read.settings["table 3"]}
    means = {}
    for model, rows in read.classwise.items():
        common, counter = (sum(getattr(row, side) for row in rows.values()) / len(rows) for side in SIDES)
        means[model] = (Row(model, common, counter, common - counter), table3[model])
    return means


def repaired(read: Tables) -> Tables:
    """Return the class tables with those accuracies put right that other printed figures give away; the rest as printed.

    An accuracy that is no k/n gets the only k/n that differs in one digit; where a drop is not common minus counter, the one
    side that the drop would make k/n again is replaced.
    """
    counts, _ = _check_counts(read)
    classwise = {
        model: {key: _repaired_row(row, counts[key]) for key, row in rows.items()}
        for model, rows in read.classwise.items()
    }
    return replace(read, classwise=classwise, counts=counts)


def _repaired_row(row: Row, n: dict[str, int]) -> Row:
    for side in SIDES:
        accuracy = getattr(row, side)
        fits = None if _fits(accuracy, n[side]) else _misprint(accuracy, n[side])
        row = replace(row, **{side: float(fits)}) if fits else row
    if abs(row.common - row.counter - row.drop) > _DROP:
        told = [(side, value) for side, value in _by_drop(row) if _fits(value, n[side])]
        row = replace(row, **dict(told)) if len(told) == 1 else row
    return row


def _check_macro(read: Tables) -> Iterator[Finding]:
    for model, (mean, printed) in macro_means(read).items():
        for side in SIDES:
            value, given = getattr(mean, side), getattr(printed, side)
            if abs(value - given) > _MACRO:
                yield Finding("macro", f"table 3, {model}, {side}", f"{given:.2f}", f"{value:.2f} by tables 15-16")


def check_copies(settings: dict[str, Sequence[Row]]) -> Iterator[Finding]:
    """Yield rows that equal table 3's although their heading promises another protocol."""
    original = {(row.common, row.counter): row.model for row in settings["table 3"]}
    table13 = {row.model: row for row in settings.get("table 13", ())}
    for name, promise in _PROMISES.items():
        if promise == _PROMISES["table 3"]:
            continue
        for row in settings.get(name, ()):
            if (row.common, row.counter) in original:
                right = table13.get(row.model) if promise == "1 vs 20" else None
                fits = f"{right.common:.2f} / {right.counter:.2f}" if right else None
                yield Finding(
                    "copied", f"{name} ({promise}), {row.model}", f"{row.common:.2f} / {row.counter:.2f}", fits
                )


def main(arguments: Sequence[str]) -> int:
    """Print one JSON line a finding, how far the means over classes lie from table 3, and the closing figures."""
    folder = Path(arguments[0]) if arguments else DEFAULT
    if not folder.is_dir():
        print(f"error: no paper tables at {folder}; name their folder", file=sys.stderr)
        return 4
    read = read_tables(folder)
    found = check(read)
    for finding in found:
        print(json.dumps(asdict(finding), ensure_ascii=False))
    for model, (mean, printed) in macro_means(read).items():
        gaps = {side: round(getattr(mean, side) - getattr(printed, side), 3) for side in SIDES}
        print(json.dumps({"macro_mean_minus_table_3": model, **gaps}))
    worst = max(
        abs(getattr(mean, side) - getattr(printed, side))
        for mean, printed in macro_means(repaired(read)).values()
        for side in SIDES
    )
    print(Figure("paper_inconsistencies_found", len(found), None, KNOWN, "higher").line())
    print(Figure("paper_macro_means_gap_points", worst, None, _MACRO, "lower").line())
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
