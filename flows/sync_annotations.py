"""Sync: pulls the votes of every open round, hourly. Without Prefect: `counteranimal annotate pull`."""

from __future__ import annotations

from typing import Any

from prefect import flow

from counteranimal.steps.rounds import sync
from flows.artifacts import show_agreement, show_links
from flows.parameters import Home, RecipeFile, Restarts
from flows.step_task import Reference, as_task

__all__ = ["sync_annotations"]


@flow(name="sync-annotations", persist_result=False)
def sync_annotations(recipe: RecipeFile, home: Home = None, restarts: Restarts = 0) -> dict[str, Any]:
    """Pull every open round; returns what was new by round."""
    reference = Reference.of_run(recipe, home, restarts)
    counts = as_task(sync)(reference)
    if counts["open_rounds"]:
        show_agreement(reference)
        show_links(counts["pages"])
    return counts
