"""What discovery says of each class, for the verbs that show it: of the preview before a round, of verdicts after it.

Decides which tables a summary stands on. Leaves the figures to `discovery` and the printing to the command line.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa

from counteranimal import tables
from counteranimal.discovery import covariates, join, measures, pool_table, sensitivity, sides_of, summary
from counteranimal.recipe import SplitRule
from counteranimal.steps.run import Run

__all__ = ["balance", "on_preview", "on_verdicts", "variations"]


def on_preview(run: Run) -> dict[str, list[dict[str, Any]]]:
    """Return split -> classes of what the machine alone would split; needs the table `preview`."""
    workspace, rule = run.workspace, run.recipe.splits[0]
    shown = workspace.table("preview")
    number = len(shown)
    accepted = {
        "photo_id": shown.column("photo_id"),
        "background": shown.column("background"),
        "status": pa.array(["ok"] * number, pa.string()),
        "inclusion_probability": pa.array([1.0] * number, pa.float64()),
    }
    answers = {
        "photo_id": shown.column("photo_id"),
        "model": pa.array([rule.selector] * number, pa.string()),
        "protocol": pa.array(["1v1000"] * number, pa.string()),
        "correct": shown.column("correct"),
    }
    pool = pool_table(tables.conform("verdicts", pa.table(accepted)), workspace.table("photos"), seed=run.recipe.seed)
    return {rule.name: _summary(run, pool, tables.conform("predictions", pa.table(answers)), rule)}


def on_verdicts(run: Run) -> dict[str, list[dict[str, Any]]]:
    """Return split -> classes of what people's verdicts say; needs the tables of the step `splits`."""
    pool, predictions = run.workspace.table("pool"), run.workspace.table("predictions")
    return {rule.name: _summary(run, pool, predictions, rule) for rule in run.recipe.splits}


def _summary(run: Run, pool: pa.Table, predictions: pa.Table, rule: SplitRule) -> list[dict[str, Any]]:
    recipe = run.recipe
    return summary(pool, predictions, rule, recipe.vocabulary(), [item.id for item in recipe.classes])


def balance(run: Run) -> dict[str, Any]:
    """Return split -> how its two groups differ besides the background, on the photos that estimate.

    Needs the tables of the step `splits`.
    """
    pool, predictions, assigned = (run.workspace.table(name) for name in ("pool", "predictions", "splits"))
    measured = measures(run.workspace.table("photos"), run.workspace.table_or_empty("scores"))
    found = {}
    for rule in run.recipe.splits:
        outcomes, side = join(pool, predictions, rule.selector), sides_of(pool, assigned, rule.name)
        inside = outcomes.in_fold("report" if rule.rule == "roles" else "all")
        ids = pool.column("photo_id").filter(pa.array(inside))
        found[rule.name] = covariates(outcomes.where(inside), side[inside], ids, measured)
    return found


def variations(run: Run, predictions: pa.Table) -> dict[str, Any]:
    """Return split -> how its pairs and drops change with thresholds, minimum sizes, and the models and prompts of `predictions`."""
    pool = run.workspace.table("pool")
    return {rule.name: sensitivity(pool, predictions, rule, run.recipe.vocabulary()) for rule in run.recipe.splits}
