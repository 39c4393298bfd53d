"""Evaluate: the recipe's models on a frozen release, then the report. Without Prefect: `counteranimal evaluate`."""

from __future__ import annotations

from typing import Any

from prefect import flow

from counteranimal.steps.publishing import evaluate, report
from flows.artifacts import show_leaderboard, show_links
from flows.parameters import Home, Models, RecipeFile, Restarts, Version
from flows.step_task import Reference, as_task

__all__ = ["evaluate_release"]


@flow(name="evaluate-release", persist_result=False)
def evaluate_release(
    recipe: RecipeFile, version: Version, home: Home = None, models: Models = (), restarts: Restarts = 0
) -> dict[str, Any]:
    """Evaluate and report on one of the workspace's releases."""
    reference = Reference.of_run(recipe, home, restarts)
    counts = as_task(evaluate)(reference, version=version, models=models)
    reported = as_task(report)(reference, version=version)
    show_leaderboard(reported)
    show_links({"leaderboard": counts["page"], "report": reported["page"], "how to cite it": counts["citation"]})
    return counts
