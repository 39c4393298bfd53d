"""What a change of the data does to each model's figures: computed from both evaluations, and silent about models of only one."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from counteranimal import tables
from counteranimal.cli import app
from counteranimal.errors import UsageError
from counteranimal.evaluate.results import results_table
from counteranimal.release.read import open_release
from counteranimal.steps.comparison import diff
from tests.fakes.small_release import Released, edited, released, rewrite, small

__all__ = ["released", "small"]


def evaluated(folder: Path, home: Path, *models: str) -> pa.Table:
    """Write the figures of a release's own predictions where a workspace keeps them, under the names of some models."""
    release = open_release(folder)
    rules = {item["name"]: item["rule"] for item in release.manifest["splits"]}
    rows = results_table(release.entries, release.splits, rules, release.predictions).to_pylist()
    found = tables.conform("results", [{**row, "model": model} for model in models for row in rows])
    place = home / "evaluations" / release.version / "results.parquet"
    place.parent.mkdir(parents=True)
    place.write_bytes(tables.parquet_bytes(found))
    return found


@pytest.fixture
def two(released: Released, tmp_path: Path) -> tuple[Path, Path]:
    """1.0.0 and a 2.0.0 in which two lions of the report fold's common group are seen wrongly."""
    old, new = (tmp_path / "releases" / version for version in ("1.0.0", "2.0.0"))
    for folder in (old, new):
        shutil.copytree(released.folder, folder)
    chosen = [
        row["photo_id"]
        for row in open_release(old).splits.to_pylist()
        if (row["class_id"], row["group"], row["fold"]) == ("lion", "common", "report")
    ][:2]
    assert chosen

    def change(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            if row["photo_id"] in chosen:
                row.update(predicted=5, rank=9, margin=-1.0, correct=False)

    rewrite(new, released.private_key, edited(new, "predictions", change), version="2.0.0")
    return old, new


def test_the_effect_on_each_model_stands_beside_both_intervals(two: tuple[Path, Path], tmp_path: Path) -> None:
    """Accuracy on common backgrounds falls, on counter ones stays, and the drop falls as much; each model of both has its rows."""
    old, new = two
    before = evaluated(old, tmp_path, "a", "b", "only-old")
    after = evaluated(new, tmp_path, "a", "b", "only-new")
    outcome = diff(old, new)
    assert outcome.counts["counts"]["repredicted"] > 0
    figures = {(row["model"], row["fold"], row["figure"]): row for row in outcome.counts["figures"]}
    assert {model for model, _, _ in figures} == {"a", "b"}
    for model in ("a", "b"):
        common, counter, drop = (
            figures[model, "report", f"macro_{name}"] for name in ("accuracy_common", "accuracy_counter", "drop")
        )
        assert common["change"] < 0 == counter["change"]
        assert drop["change"] == pytest.approx(common["change"])
    for table, side in ((before, "old"), (after, "new")):
        [row] = [
            row
            for row in table.to_pylist()
            if (row["model"], row["fold"], row["class_id"], row["figure"]) == ("a", "report", "*", "macro_drop")
        ]
        assert figures["a", "report", "macro_drop"][side] == {name: row[name] for name in ("value", "low", "high", "n")}
    line = next(
        line for line in outcome.note.splitlines() if line.startswith("a 1v1000 first (report fold) macro_drop")
    )
    shown = f"{100 * drop['change']:+.1f} points"
    assert line.endswith(shown)
    assert line.count("[") == 2


def test_figures_are_found_where_they_are_named(two: tuple[Path, Path], tmp_path: Path) -> None:
    """Without evaluations it says so; with folders by name it compares; a folder without results is refused, exit code 2."""
    old, new = two
    assert "no figures are compared" in diff(old, new).note
    for folder, name in ((old, "one"), (new, "two")):
        evaluated(folder, tmp_path / name, "a")
    places = [tmp_path / name / "evaluations" / version for name, version in (("one", "1.0.0"), ("two", "2.0.0"))]
    asked = ["diff", str(old), str(new), "--old-results", str(places[0]), "--new-results", str(places[1]), "--json"]
    result = CliRunner().invoke(app, asked)
    assert result.exit_code == 0, result.output
    assert {row["model"] for row in json.loads(result.stdout)["figures"]} == {"a"}
    with pytest.raises(UsageError, match=r"holds no results.parquet"):
        diff(old, new, results=(tmp_path, None))
