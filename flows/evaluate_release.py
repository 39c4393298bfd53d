"""Evaluate: the recipe's models on a frozen release, then the report. Without Prefect: `counteranimal evaluate`."""

from __future__ import annotations

from typing import Annotated, Any

from prefect import flow
from pydantic import Field

from counteranimal.steps.publishing import evaluate, report
from flows.artifacts import show_leaderboard
from flows.step_task import Reference, as_task

__all__ = ["evaluate_release"]


@flow(name="evaluate-release", persist_result=False)
def evaluate_release(
    recipe: str, version: Annotated[str, Field(pattern=r"^\d+\.\d+\.\d+$")], home: str = ""
) -> dict[str, Any]:
    """Evaluate and report on one of the workspace's releases."""
    reference = Reference(recipe, home)
    counts = as_task(evaluate)(reference, version=version)
    show_leaderboard(as_task(report)(reference, version=version))
    return counts
