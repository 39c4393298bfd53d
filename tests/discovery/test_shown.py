"""What the verbs show stands on the workspace's own tables."""

from __future__ import annotations

from datetime import UTC, datetime

import pyarrow as pa
import pyarrow.compute as pc
import pytest

from counteranimal import tables
from counteranimal.cli.discovered import discovery_text
from counteranimal.discovery import assign, choose_pairs
from counteranimal.settings import Settings
from counteranimal.steps.discovered import balance, on_preview, on_verdicts, variations
from counteranimal.steps.run import Run
from tests.fakes.small_workspace import build


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A workspace with verdicts and the selector's answers on them."""
    made = build(tmp_path_factory.mktemp("shown"))
    return Run(made.recipe, made.workspace, Settings(), datetime(2026, 11, 2, tzinfo=UTC))


def test_verdicts_are_shown_for_every_split(run: Run) -> None:
    """Each split of the recipe has its classes, with the pairs that the table `pairs` would hold."""
    found = on_verdicts(run)
    assert list(found) == [rule.name for rule in run.recipe.splits]
    rule = run.recipe.splits[0]
    pool, predictions = run.workspace.table("pool"), run.workspace.table("predictions")
    classes = [item.id for item in run.recipe.classes]
    pairs = choose_pairs(pool, predictions, rule, run.recipe.vocabulary(), classes).to_pylist()
    assert [(row["class_id"], row["common"]) for row in found[rule.name]] == [
        (row["class_id"], row["common"]) for row in pairs
    ]
    assert f"split {rule.name}" in discovery_text(found)


def test_the_preview_is_shown_from_its_table(run: Run) -> None:
    """Machine backgrounds that equal the verdicts give the same rows as unweighted verdicts do."""
    pool, predictions = run.workspace.table("pool"), run.workspace.table("predictions")
    rule = run.recipe.splits[0]
    one = predictions.filter(pc.equal(predictions["protocol"], "1v1000"))
    joined = pool.select(["photo_id", "class_id", "background"]).join(one.select(["photo_id", "correct"]), "photo_id")
    run.workspace.write_table("preview", tables.conform("preview", joined))
    shown = on_preview(run)[rule.name]
    assert [row["class_id"] for row in shown] == [row["class_id"] for row in on_verdicts(run)[rule.name]]


def test_views_beside_the_splits_cover_every_split(run: Run) -> None:
    """Covariates and variations are there for each split, and count the photos of its groups."""
    pool, predictions = run.workspace.table("pool"), run.workspace.table("predictions")
    rule = run.recipe.splits[0]
    pairs = choose_pairs(pool, predictions, rule, run.recipe.vocabulary())
    whole = [pairs.set_column(0, "split", pa.array([each.name] * len(pairs))) for each in run.recipe.splits]
    assigned = assign(pool, pa.concat_tables(whole))
    run.workspace.write_table("splits", assigned)
    found = balance(run)
    assert list(found) == [each.name for each in run.recipe.splits]
    grouped = [row for row in assigned.to_pylist() if row["split"] == rule.name and row["group"] != "other"]
    counted = found[rule.name]["n"] + found[rule.name]["without_measures"]
    assert rule.rule == "roles"  # so that report alone estimates
    assert counted == sum(row["fold"] == "report" for row in grouped) > 0
    assert list(variations(run, predictions)) == list(found)
