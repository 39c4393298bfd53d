"""The step behind `diff`: two releases photo by photo, and each model's figures on both where it was evaluated on both.

Decides where results are looked for: in the folders that are named, else where a workspace keeps the evaluations of its releases.
A difference of figures has no interval of its own here, since the two releases share most photos; both intervals stand beside it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from counteranimal import tables
from counteranimal.errors import UsageError
from counteranimal.release.diff import compare, tables_of
from counteranimal.release.read import Release, open_release
from counteranimal.release.withdrawn import read_withdrawn
from counteranimal.steps.run import Outcome

__all__ = ["diff"]

_FIGURE = ("split", "fold", "model", "protocol", "figure")


def diff(old: Path, new: Path, *, results: tuple[Path | None, Path | None] = (None, None)) -> Outcome:
    """Return what differs between two releases.

    Parameters
    ----------
    old, new : Path
        Release folders; each is opened, which checks every digest.
    results : tuple of Path or None
        Folders of their evaluations, that hold `results.parquet`.

    Raises
    ------
    UsageError
        If the releases are of two benchmarks, or a named folder holds no results.
    """
    before, after = open_release(old), open_release(new)
    if before.name != after.name:
        raise UsageError(
            f"{old} is a release of {before.name}, {new} one of {after.name}; compare releases of one name"
        )
    listed = read_withdrawn(new.resolve().parent)
    difference = compare(tables_of(before), tables_of(after), withdrawn=listed.withdrawn if listed else ())
    figures = _figures(*(_results(*pair) for pair in zip((before, after), results, strict=True)))
    counts = {"old": before.version, "new": after.version, **difference.record(), "figures": figures}
    lines = [f"{before.name} {before.version} to {after.version}: a {difference.change} change", *difference.lines()]
    lines += [_line(row) for row in figures]
    if not figures:
        lines.append("No model was evaluated on both, so no figures are compared.")
    return Outcome("diff", counts, "\n".join(lines))


def _results(release: Release, folder: Path | None) -> dict[tuple[str, ...], dict[str, Any]]:
    place = (folder or release.path.resolve().parents[1] / "evaluations" / release.version) / "results.parquet"
    if not place.is_file():
        if folder is not None:
            raise UsageError(f"{folder} holds no results.parquet; name the folder that `counteranimal evaluate` wrote")
        return {}
    rows = tables.read(place, "results").to_pylist()
    return {
        tuple(row[name] for name in _FIGURE): row
        for row in rows
        if row["class_id"] == "*" and row["figure"].startswith("macro_")
    }


def _figures(before: dict[tuple[str, ...], Any], after: dict[tuple[str, ...], Any]) -> list[dict[str, Any]]:
    return [
        {
            **dict(zip(_FIGURE, key, strict=True)),
            "old": _measured(before[key]),
            "new": _measured(after[key]),
            "change": _change(before[key]["value"], after[key]["value"]),
        }
        for key in sorted(before.keys() & after.keys())
    ]


def _measured(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in ("value", "low", "high", "n")}


def _change(old: float | None, new: float | None) -> float | None:
    return None if old is None or new is None else new - old


def _line(row: dict[str, Any]) -> str:
    def told(measured: dict[str, Any]) -> str:
        if measured["value"] is None:
            return "not estimable"
        interval = "" if measured["low"] is None else f" [{100 * measured['low']:.1f}, {100 * measured['high']:.1f}]"
        return f"{100 * measured['value']:.1f}{interval} (n {measured['n']})"

    moved = "" if row["change"] is None else f", {100 * row['change']:+.1f} points"
    what = f"{row['model']} {row['protocol']} {row['split']} ({row['fold']} fold) {row['figure']}"
    return f"{what}: {told(row['old'])} became {told(row['new'])}{moved}"
